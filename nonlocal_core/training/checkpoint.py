"""Checkpoints that describe themselves: weights, optimizer, settings, labels and step in one file.

The file is safetensors: it holds no code, and other frameworks read it.  Tensors of the optimizer begin with
`optimizer/`; the description is JSON in the header.
"""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import mindspore as ms
import numpy as np
import safetensors
import safetensors.numpy
from mindspore import nn
from numpy.typing import NDArray

from nonlocal_core.artifacts import Frozen, digest_of, write_atomically
from nonlocal_core.errors import DamagedError
from nonlocal_core.model_section import ModelConfig
from nonlocal_core.models.i3d import I3D
from nonlocal_core.sections import CacheConfig, ClipConfig, TrainConfig

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
OPTIMIZER = "optimizer/"

Tensors = dict[str, NDArray[np.generic]]


class Description(Frozen):
    """What a checkpoint says of itself."""

    step: int
    labels: tuple[str, ...]
    model: ModelConfig
    clip: ClipConfig
    cache: CacheConfig
    train: TrainConfig
    cache_digest: str
    manifest_digest: str
    weights_digest: str = ""
    content_digest: str = ""
    """of everything else in the file, to tell damage"""


def step_path(folder: Path, step: int) -> Path:
    """The file of a step's checkpoint."""
    return folder / f"step-{step:08d}{SUFFIX}"


def save(path: Path, net: I3D, optimizer: nn.Optimizer, description: Description) -> Description:
    """Write a checkpoint atomically; what comes back also names the digest of the weights."""
    weights = _arrays(net)
    tensors = {**weights, **{OPTIMIZER + name: array for name, array in _optimizer_arrays(optimizer).items()}}
    described = description.model_copy(update={"weights_digest": tensors_digest(weights)})
    described = described.model_copy(update={"content_digest": _content_digest(described, tensors)})
    data = safetensors.numpy.save(tensors, metadata={"description": described.model_dump_json()})
    write_atomically(path, data)
    return described


def latest(folder: Path) -> Path | None:
    """The newest checkpoint of a folder that can be read; a damaged one is passed over with a warning."""
    for path in sorted(folder.glob(f"step-*{SUFFIX}"), reverse=True):
        try:
            read(path)
        except DamagedError as error:
            log.warning("%s; taking the one before", error)
        else:
            return path
    return None


def keep_last(folder: Path, count: int) -> None:
    """Delete all but the newest checkpoints."""
    for path in sorted(folder.glob(f"step-*{SUFFIX}"))[:-count]:
        path.unlink()


def read(path: Path) -> tuple[Description, Tensors]:
    """A checkpoint's description and tensors.

    Raises: DamagedError if the file is not whole or does not match its digest.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            description = Description.model_validate_json(file.metadata()["description"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, ValueError, TypeError, KeyError, safetensors.SafetensorError):
        raise DamagedError(f"{path} is not a whole checkpoint") from None
    if _content_digest(description, tensors) != description.content_digest:
        raise DamagedError(f"{path} does not match its digest")
    return description, tensors


def restore(path: Path, net: I3D, optimizer: nn.Optimizer) -> Description:
    """Put a checkpoint's state back into a network and its optimizer."""
    description, tensors = read(path)
    _assign(net.parameters_and_names(), {k: v for k, v in tensors.items() if not k.startswith(OPTIMIZER)}, path)
    state = {k.removeprefix(OPTIMIZER): v for k, v in tensors.items() if k.startswith(OPTIMIZER)}
    _assign([(parameter.name, parameter) for parameter in _state(optimizer)], state, path)
    return description


def load_network(path: Path) -> tuple[I3D, Description]:
    """The network of a checkpoint, in inference mode, and the checkpoint's description."""
    try:
        description, tensors = read(path)
    except DamagedError as error:
        raise DamagedError(f"{error}: delete the file and run again") from None
    net = I3D(description.model, len(description.labels))
    _assign(net.parameters_and_names(), {k: v for k, v in tensors.items() if not k.startswith(OPTIMIZER)}, path)
    net.set_train(False)
    return net, description


def tensors_digest(tensors: Tensors) -> str:
    """A digest of named tensors."""
    parts = ((name, array.dtype, array.shape, array.tobytes()) for name, array in sorted(tensors.items()))
    return digest_of(*itertools.chain.from_iterable(parts))


def _content_digest(description: Description, tensors: Tensors) -> str:
    said = description.model_copy(update={"content_digest": ""}).model_dump_json()
    return digest_of(said, tensors_digest(tensors))


def _arrays(net: I3D) -> Tensors:
    return {name: parameter.asnumpy() for name, parameter in net.parameters_and_names()}


def _state(optimizer: nn.Optimizer) -> list[ms.Parameter]:
    trained = {parameter.name for parameter in optimizer.parameters}
    return [parameter for parameter in optimizer.get_parameters() if parameter.name not in trained]


def _optimizer_arrays(optimizer: nn.Optimizer) -> Tensors:
    return {parameter.name: parameter.asnumpy() for parameter in _state(optimizer)}


def _assign(named: object, arrays: Tensors, path: Path) -> None:
    parameters = dict(named)  # type: ignore[call-overload]
    odd = sorted(parameters.keys() ^ arrays.keys())
    both = sorted(parameters.keys() & arrays.keys())
    odd += [name for name in both if parameters[name].shape != arrays[name].shape]
    if odd:
        raise DamagedError(f"{path} does not fit the network: {', '.join(odd[:5])}")
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(arrays[name]))
