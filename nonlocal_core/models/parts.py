"""The trunk and the classifier of a network by the names of their tensors, for which no network is built.

Shapes: N views, C features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.references import Features
from nonlocal_core.errors import InputError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.checkpoint import Tensors

Classifier = Callable[[NDArray[np.float32]], NDArray[np.float32]]

WEIGHT, BIAS = "head.fc.weight", "head.fc.bias"
PARTS = ("stem", "res2", "res3", "res4", "res5")
"""the parts of the network from the clip to the features; the classifier follows them"""


def parts(last: str) -> tuple[str, ...]:
    """The parts up to `last`; none if it is none of them."""
    return PARTS[: PARTS.index(last) + 1] if last in PARTS else ()


def prefixes(last: str) -> tuple[str, ...]:
    """What the names of all tensors of the parts up to `last` begin with."""
    return tuple(f"{part}." for part in parts(last))


def trunk_digest(weights: Tensors, last: str) -> str:
    """A digest of the weights and statistics of the parts up to `last`."""
    return checkpoint.tensors_digest({name: weights[name] for name in weights if name.startswith(prefixes(last))})


def load_classifier(path: Path, labels: list[str], stored: Features) -> Classifier:
    """The classifier of a checkpoint as a function from pooled features (N, C) to logits (N, K).

    Raises: DamagedError if the checkpoint is not whole; InputError if it was trained on other labels, or the
            features are not those of its trunk.
    """
    described, weights = checkpoint.read_weights(path)
    label_ids.check_same(described.labels, labels, str(path))
    if stored.trunk_digest != trunk_digest(weights, stored.last):
        raise InputError(f"{path} has another trunk than the one whose features are in {stored.path}")
    weight_KC, bias_K = (weights[name].astype(np.float32) for name in (WEIGHT, BIAS))

    def classify(features_NC: NDArray[np.float32]) -> NDArray[np.float32]:
        logits_NK: NDArray[np.float32] = features_NC @ weight_KC.T + bias_K
        return logits_NK

    return classify
