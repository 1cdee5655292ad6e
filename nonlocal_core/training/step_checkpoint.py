"""Step checkpoints: the whole state of a training, so that it resumes with the same result, bit for bit on CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
from mindspore import nn

from nonlocal_core.errors import DamagedError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.checkpoint import AVERAGE, SUFFIX, Description, Tensors, Validation
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training.loss_scale import LossScale

log = logging.getLogger(__name__)

OPTIMIZER = "optimizer/"
LOSS_SCALE = "loss_scale/"


class State(NamedTuple):
    """Everything that a step changes."""

    net: I3D
    optimizer: nn.Optimizer
    average: tuple[ms.Parameter, ...] = ()
    """the average of the weights, if one is kept; named `ema.NAME`"""
    loss_scale: LossScale | None = None
    """in fp16"""


def step_path(folder: Path, step: int) -> Path:
    """The file of a step's checkpoint."""
    return folder / f"step-{step:08d}{SUFFIX}"


def best_path(folder: Path, step: int) -> Path:
    """The file of the weights that a step's validation found the best so far."""
    return folder / f"best-{step:08d}{SUFFIX}"


def save(path: Path, state: State, description: Description) -> Description:
    """Write a checkpoint atomically; gives its description with the digests."""
    others = {
        **{OPTIMIZER + parameter.name: parameter.asnumpy() for parameter in _optimizer_state(state.optimizer)},
        **{AVERAGE + name: array for name, array in _average(state).items()},
    }
    if state.loss_scale:
        others |= {LOSS_SCALE + name: array for name, array in state.loss_scale.tensors().items()}
    return checkpoint.save_weights(path, checkpoint.weights_of_network(state.net), description, others)


def best(validations: Iterable[Validation]) -> Validation | None:
    """The first validation with the greatest top-1."""
    return max(validations, key=lambda validation: validation.top1, default=None)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint of a folder that can be read together with its best weights.

    Damaged ones are skipped with a warning.
    """
    for path in sorted(folder.glob(f"step-*{SUFFIX}"), reverse=True):
        try:
            described, _ = checkpoint.read(path)
            if best_validation := best(described.validations):
                checkpoint.read(best_path(folder, best_validation.step))
        except DamagedError as error:
            log.warning("%s; taking the one before", error)
        else:
            return path
    return None


def keep_last(folder: Path, num_steps: int, num_best: int, is_permanent: Callable[[int], bool]) -> None:
    """Delete all but the newest `num_steps` checkpoints, permanent ones, and the newest `num_best` best weights.

    A training that resumes from an older checkpoint needs the best weights of that time.
    """
    for path in _all_but_last(folder.glob(f"step-*{SUFFIX}"), num_steps):
        if not is_permanent(int(path.stem.removeprefix("step-"))):
            path.unlink()
    for path in _all_but_last(folder.glob(f"best-*{SUFFIX}"), num_best):
        path.unlink()


def _all_but_last(paths: Iterable[Path], count: int) -> list[Path]:
    ordered = sorted(paths)
    return ordered[: max(len(ordered) - count, 0)]


def restore(path: Path, state: State) -> Description:
    """Put a checkpoint's state into the network, the optimizer and the average; gives its description."""
    description, tensors = checkpoint.read(path)
    average, optimizer = (checkpoint.part(tensors, prefix) for prefix in (AVERAGE, OPTIMIZER))
    checkpoint.assign(state.net, {name: array for name, array in tensors.items() if "/" not in name}, path)
    checkpoint.assign_arrays({p.name: p for p in _optimizer_state(state.optimizer)}, optimizer, path)
    checkpoint.assign_arrays({p.name.removeprefix("ema."): p for p in state.average}, average, path)
    if state.loss_scale:
        stored = checkpoint.part(tensors, LOSS_SCALE)
        if stored.keys() != state.loss_scale.tensors().keys():
            raise DamagedError(f"{path} has no loss scale, which a training in fp16 needs to go on")
        state.loss_scale.restore(stored)
    return description


def weights_of(state: State) -> Tensors:
    """The weights to use: the average, if one is kept."""
    return {**checkpoint.weights_of_network(state.net), **_average(state)}


def _average(state: State) -> Tensors:
    return {parameter.name.removeprefix("ema."): parameter.asnumpy() for parameter in state.average}


def _optimizer_state(optimizer: nn.Optimizer) -> list[ms.Parameter]:
    trained = {parameter.name for parameter in optimizer.parameters}
    return [parameter for parameter in optimizer.get_parameters() if parameter.name not in trained]
