"""What an engine computes: a network or a part of it, described without building it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import NotFiniteError

if TYPE_CHECKING:  # MindSpore takes seconds to import
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.models.trunk import Forward

Array = NDArray[np.generic]
Run = Callable[[Array], NDArray[np.float32]]


class Graph(NamedTuple):
    """A network or a part of it: from clips or what its trunk gives, to logits or what its trunk gives."""

    path: Path
    """of the checkpoint"""
    model: ModelConfig
    identity: tuple[str, ...]
    """what tells it from others of the same settings: the digest of its weights, and which part it is"""
    clip_shape: tuple[int, ...]
    """of one clip (C, T, H, W), from which the input is computed where it is no clip"""
    input_shape: tuple[int, ...]
    """of one input"""
    build: Callable[[], tuple[I3D, Forward]]
    """the network in MindSpore, and the function of it that is this part"""
    num_logits: int | None = None
    """of the outputs, the first ones are logits; None: all are alike"""


class Engine(NamedTuple):
    """What computes a graph."""

    run: Run
    """from any number of inputs up to a batch"""
    name: str
    """with version, and how far it is from MindSpore if it is another"""


def padded(inputs: Array, size: int) -> Array:
    """Inputs filled up with zeros to the number that a graph is compiled for."""
    return np.concatenate([inputs, np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)])


def check_finite(outputs: NDArray[np.float32], graph: Graph) -> None:
    """Check what a graph gives.

    Raises: NotFiniteError that names the checkpoint, if numbers are not finite.
    """
    if not np.isfinite(outputs).all():
        raise NotFiniteError(
            f"{graph.path} gives scores that are not finite: its training has diverged, take another"
        )
