"""Checkpoint files: weights, the optimizer's state, and a description of settings, labels and step.

The file is safetensors: it holds no code, and other frameworks read it.  Tensors of the optimizer begin with
`optimizer/`, those of the average of the weights with `average/`; the description is JSON in the header.

    step-00000100.safetensors   everything that a killed training needs to go on
    best-00000100.safetensors   the weights of the best validation so far
    weights.safetensors         the final weights of a training
"""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from nonlocal_core.artifacts import tensors
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Checkpoint, Frozen
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.sections import CacheConfig, ClipConfig
from nonlocal_core.config.train import TrainConfig
from nonlocal_core.errors import ConfigError, DamagedError, InputError, few

if TYPE_CHECKING:  # what is read and written needs no MindSpore, which takes seconds to import
    import mindspore as ms

    from nonlocal_core.models.i3d import I3D

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
AVERAGE = "average/"
MOST_BLOCKS = 100
"""of a stage; ResNet-152 has 36"""

Tensors = dict[str, NDArray[np.generic]]


class Validation(Frozen):
    """Top-1 and loss on the val split after a step."""

    step: int
    top1: float
    loss: float


class Description(Frozen):
    """The description in a checkpoint: settings, labels, step, validations and digests."""

    step: int
    labels: tuple[str, ...]
    model: ModelConfig
    clip: ClipConfig
    cache: CacheConfig
    train: TrainConfig
    cache_digest: str
    manifest_digest: str
    validations: tuple[Validation, ...] = ()
    """all up to this step"""
    imported_from: str = ""
    """profile and digest of a published file, if the weights are from one"""
    weights_digest: str = ""
    content_digest: str = ""
    """digest of everything else in the file, to detect damage"""


def save_weights(
    path: Path, weights: Tensors, description: Description, others: Tensors | None = None
) -> Description:
    """Write weights and `others`, a training's further tensors; gives the description with its digests.

    Raises: InputError if a number is not finite.
    """
    if names := not_finite({**weights, **(others or {})}):
        raise InputError(f"numbers are not finite in {few(names)}: {path.name} is not written")
    described = description.model_copy(update={"weights_digest": tensors_digest(weights)})
    arrays = {**weights, **(others or {})}
    described = described.model_copy(update={"content_digest": _content_digest(described, arrays)})
    data = safetensors.numpy.save(arrays, metadata={"description": described.model_dump_json()})
    write_atomically(path, data)
    return described


def read(path: Path) -> tuple[Description, Tensors]:
    """A checkpoint's description and tensors.

    Raises: DamagedError if the file is not whole or does not match its digest.
    """
    try:
        texts, arrays = tensors.read(path)
        description = Description.model_validate_json(texts["description"])
    except (OSError, ValueError, KeyError, ConfigError, DamagedError):
        raise DamagedError(f"{path} is not a whole checkpoint") from None
    if _content_digest(description, arrays) != description.content_digest:
        raise DamagedError(f"{path} does not match its digest")
    if names := not_finite(arrays):
        raise DamagedError(f"{path} cannot be used: numbers are not finite in {few(names)}")
    return description, arrays


def read_weights(path: Path) -> tuple[Description, Tensors]:
    """A checkpoint's description and the weights to use: the average, if it holds one.

    Raises: DamagedError if the file is not whole or does not match its digest.
    """
    description, arrays = read(path)
    weights = {name: array for name, array in arrays.items() if "/" not in name}
    return description, {**weights, **part(arrays, AVERAGE)}


def read_whole(path: Path) -> tuple[Description, Tensors]:
    """As `read_weights`, of a file that a run has made and another run can make again."""
    try:
        return read_weights(path)
    except DamagedError as error:
        raise DamagedError(f"{error}: delete the file and run again") from None


def read_user_file(path: Path, setting: str) -> tuple[Description, Tensors]:
    """The description and weights, as `read_weights`, of a file that a person named with a setting.

    Raises: InputError if it is not a whole checkpoint of this project.
    """
    try:
        return read_weights(path)
    except DamagedError as error:
        raise InputError(
            f"{setting}: {error}; a published file becomes one by `python -m nonlocal_core.import_weights`"
        ) from None


def reference(key: str, described: Description, final_loss: float, step_clips: int = 0) -> Checkpoint:
    """The reference of the weights that lie as Checkpoint.WEIGHTS in the artifact of a key.

    `step_clips` clips were seen in each step; 0 means a batch.
    """
    return Checkpoint(
        key=key,
        digest=digest_of(described.weights_digest, described.model.model_dump_json()),
        path=f"{Checkpoint.stage}/{key}",
        file=Checkpoint.WEIGHTS,
        num_steps=described.step,
        num_clips=described.step * (step_clips or described.train.batch_size),
        final_loss=final_loss,
    )


def load_network(path: Path) -> tuple[I3D, Description]:
    """The network of a checkpoint, in inference mode, and the checkpoint's description."""
    from nonlocal_core.models.i3d import I3D

    description, weights = read_whole(path)
    check_size(description.model, len(description.labels), weights, path)
    net = I3D(description.model, len(description.labels))
    assign(net, weights, path)
    net.set_train(False)
    return net, description


def weights_of_network(net: I3D) -> Tensors:
    """All parameters of a network, BN's statistics too, by their names."""
    return {name: parameter.asnumpy() for name, parameter in net.parameters_and_names()}


def assign(net: I3D, weights: Tensors, path: Path) -> None:
    """Put weights into a network.

    Raises: DamagedError that names tensors, if they are not those of the network.
    """
    assign_arrays(dict(net.parameters_and_names()), weights, path)


def not_finite(tensors: Tensors) -> list[str]:
    """The names of the tensors that hold NaN or infinity."""
    return sorted(name for name, array in tensors.items() if not np.isfinite(array).all())


def is_too_large(model: ModelConfig, num_classes: int, tensors: Tensors) -> bool:
    """Whether a network must have more weights than there are numbers: to build it could take all memory.

    Only the classifier is counted, and one kernel of 3x3 of each block.
    """
    blocks = [(model.num_blocks(stage), model.channels(stage)) for stage in (2, 3, 4, 5)]
    widen = 1 if model.block == "basic" else 4
    least = sum(count * 9 * (channels // widen) ** 2 for count, channels in blocks)
    least += num_classes * model.num_features
    return least > sum(array.size for array in tensors.values()) or max(blocks)[0] > MOST_BLOCKS


def check_size(model: ModelConfig, num_classes: int, tensors: Tensors, path: Path) -> None:
    """Raise DamagedError if a file describes a network that is larger than itself."""
    if is_too_large(model, num_classes, tensors):
        raise DamagedError(f"{path} cannot be used: it describes a network that is larger than the file")


def tensors_digest(tensors: Tensors) -> str:
    """A digest of named tensors."""
    parts = ((name, array.dtype, array.shape, array.tobytes()) for name, array in sorted(tensors.items()))
    return digest_of(*itertools.chain.from_iterable(parts))


def _content_digest(description: Description, tensors: Tensors) -> str:
    description_json = description.model_copy(update={"content_digest": ""}).model_dump_json()
    return digest_of(description_json, tensors_digest(tensors))


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def assign_arrays(parameters: dict[str, ms.Parameter], arrays: Tensors, path: Path) -> None:
    """Put arrays into the parameters of the same names.

    Raises: DamagedError that names tensors, if they are not those of the parameters.
    """
    import mindspore as ms

    odd = sorted(parameters.keys() ^ arrays.keys())
    both = sorted(parameters.keys() & arrays.keys())
    odd += [name for name in both if parameters[name].shape != arrays[name].shape]
    if odd:
        raise DamagedError(f"{path} does not fit the network: {', '.join(odd[:5])}")
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(arrays[name]))
