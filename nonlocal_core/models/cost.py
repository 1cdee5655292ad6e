"""What a network costs: the shapes, parameters and multiply-adds of each of its parts."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import NamedTuple

from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from nonlocal_core.config.tree import Config
from nonlocal_core.models.i3d import I3D

Shape = tuple[int, ...]


PARTS = ("stem", "pool1", "res2", "pool2", "res3", "res4", "res5")


class Cost(NamedTuple):
    """What one cell makes of its input."""

    shape: Shape
    """of the output, without the batch"""
    plain: int = 0
    """multiply-adds of the paper's formulas"""
    used: int = 0
    """multiply-adds in the order that the non-local blocks choose"""


class Part(NamedTuple):
    """A row of the table."""

    name: str
    shape: Shape
    parameters: int
    plain: int
    used: int


def parts(config: Config, num_classes: int) -> list[Part]:
    """The parts of the network in order, with what one test view costs in each; the last one is the head.

    Raises: ConfigError if the settings do not go together.
    """
    with no_init_parameters():
        net = I3D(config.model, num_classes)
    shape: Shape = (3, config.clip.clip_len, config.evaluate.crop_size, config.evaluate.crop_size)
    found = []
    for name in PARTS:
        cell = getattr(net, name)
        cost = walk(cell, shape)
        found.append(Part(name, cost.shape, parameters(cell), cost.plain, cost.used))
        shape = cost.shape
    places = math.prod(_sizes(shape[1:], net.window, (0, 0, 0))) if net.fully_conv else 1
    cost = places * net.head.fc.weight.size
    return [*found, Part("head", (num_classes,), parameters(net.head), cost, cost)]


def parameters(cell: nn.Cell) -> int:
    """Number of values that learn."""
    return sum(parameter.size for parameter in cell.trainable_params())


@singledispatch
def walk(cell: nn.Cell, shape: Shape) -> Cost:
    """What a cell makes of an input of this shape.

    Shape: (C, T, H, W) to (C, T, H, W)
    """
    raise TypeError(f"nobody knows what a {type(cell).__name__} costs")


@walk.register
def _(cell: nn.Identity, shape: Shape) -> Cost:
    return Cost(shape)


def _response(pairwise: str, num_queries: int, num_keys: int, compared: int, gathered: int) -> tuple[int, int]:
    """Multiply-adds of f and of its products with g: as the paper writes them, and as they are done.

    Theta and phi have `compared` channels, g has `gathered`.
    """
    pairs = num_queries * num_keys
    if pairwise == "concatenation":
        plain = pairs * (2 * compared + gathered)
        return plain, (num_queries + num_keys) * (compared + gathered)
    plain = pairs * (compared + gathered)
    if pairwise == "dot_product":
        return plain, min(plain, (num_queries + num_keys) * compared * gathered)
    return plain, plain


def _sizes(sizes: Shape, cell: nn.Cell, padding: Shape) -> Shape:
    """What a kernel leaves of a map."""
    stride = cell.stride if isinstance(cell.stride, tuple) else (cell.stride,) * 3
    return tuple(
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(sizes, cell.kernel_size, stride, padding, strict=True)
    )


def _chain(shape: Shape, *cells: nn.Cell) -> Cost:
    """Cells one after the other."""
    cost = Cost(shape)
    for cell in cells:
        step = walk(cell, cost.shape)
        cost = Cost(step.shape, cost.plain + step.plain, cost.used + step.used)
    return cost


def _sum(first: Cost, *others: Cost) -> Cost:
    """The first one's shape, and the cost of all."""
    costs = (first, *others)
    return Cost(first.shape, sum(cost.plain for cost in costs), sum(cost.used for cost in costs))
