"""The first weights of a training that starts from a checkpoint instead of random weights."""

from __future__ import annotations

import logging
from collections.abc import KeysView
from pathlib import Path
from typing import Any, Literal

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import InputError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training import compatibility

log = logging.getLogger(__name__)

Head = Literal["keep", "match", "new", "fitted"]
"""what becomes of the classifier; a fitted one is drawn here, and fitted by classifier.fit"""


def load(net: I3D, path: Path, labels: tuple[str, ...], head: Head) -> None:
    """Put a checkpoint's weights into a network.

    What the checkpoint lacks stays random: a new classifier, the classifier's rows of labels that it does not
    know, and non-local blocks that it does not have.

    Raises: InputError if the checkpoint has another network or other labels, or cannot be read.
    """
    described, tensors = checkpoint.read_user_file(path, "train.init")
    compatibility.check_network(net.model, described.model, path)
    if head == "keep":
        compatibility.check_labels(labels, described.labels, path)
    is_new = head in ("new", "fitted")
    arrays = {name: array for name, array in tensors.items() if not (is_new and name.startswith("head."))}
    params = dict(net.parameters_and_names())
    if head == "match":
        arrays = {
            name: _match_rows(array, params[name].asnumpy(), described.labels, labels)
            if name.startswith("head.")
            else array
            for name, array in arrays.items()
        }
    new = [name for name in params if _is_new(name, arrays.keys(), head)]
    odd = sorted((params.keys() ^ arrays.keys()) - set(new))
    odd += [name for name in params.keys() & arrays.keys() if params[name].shape != arrays[name].shape]
    if odd:
        raise InputError(f"train.init={path} does not fit the network: {', '.join(odd[:5])}")
    for name, array in arrays.items():
        params[name].set_data(ms.Tensor(array))
    unknown = [label for label in labels if label not in described.labels] if head == "match" else []
    rows = f", and the classifier's rows of {len(unknown)} of {len(labels)} labels" if unknown else ""
    log.info("starting from %s, %d of %d tensors drawn anew%s", path, len(new), len(params), rows)


def _match_rows(
    stored: NDArray[Any], drawn: NDArray[Any], stored_labels: tuple[str, ...], labels: tuple[str, ...]
) -> NDArray[Any]:
    """A tensor of the classifier, one row a label: stored where the checkpoint knows the label, else drawn."""
    rows = {label: row for row, label in enumerate(stored_labels)}
    return np.stack([stored[rows[label]] if label in rows else drawn[row] for row, label in enumerate(labels)])


def _is_new(name: str, stored_names: KeysView[str], head: str) -> bool:
    """Whether a parameter belongs to a new classifier, or to a block that the checkpoint lacks as a whole."""
    if name.startswith("head."):
        return head in ("new", "fitted")
    stage, part = name.split(".")[:2]
    return part.startswith("nl") and f"{stage}.{part}.g.weight" not in stored_names
