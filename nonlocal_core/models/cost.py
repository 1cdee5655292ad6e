"""What a network costs: the shapes, parameters and multiply-adds of each of its parts."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import NamedTuple

from mindspore import nn
from mindspore.nn.utils import no_init_parameters

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.models.conv_norm import ConvNorm
from nonlocal_core.models.convolution import Convolution
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.inception import Mixed
from nonlocal_core.models.nonlocal_block import NonlocalBlock
from nonlocal_core.models.residual import BasicBlock, Bottleneck

Shape = tuple[int, ...]

PARTS = ("stem", "pool1", "res2", "pool2", "res3", "res4", "res5")


class Cost(NamedTuple):
    """The output shape of a cell and what computing it costs."""

    shape: Shape
    """shape of the output, without the batch"""
    plain: int = 0
    """multiply-adds as the paper's formulas are written"""
    used: int = 0
    """multiply-adds as the non-local blocks compute them"""


class Part(NamedTuple):
    """A part of the network, a row of the table of costs."""

    name: str
    shape: Shape
    parameters: int
    plain: int
    used: int


def parts(config: Config, num_classes: int) -> list[Part]:
    """The parts of the network in order, with the cost of one test view in each; the last one is the head.

    Raises: ConfigError if the settings do not go together.
    """
    crop = config.evaluate.crop_size
    return parts_for(config.model, num_classes, (3, config.clip.clip_len, crop, crop))


def parts_for(model: ModelConfig, num_classes: int, shape: Shape) -> list[Part]:
    """As `parts`, for a clip of this shape (C, T, H, W)."""
    with no_init_parameters():
        net = I3D(model, num_classes)
    rows = []
    for name in PARTS:
        cell = getattr(net, name)
        cost = cost_of(cell, shape)
        rows.append(Part(name, cost.shape, parameters(cell), cost.plain, cost.used))
        shape = cost.shape
    places = math.prod(_sizes(shape[1:], net.window, (0, 0, 0))) if net.fully_conv else 1
    cost = places * net.head.fc.weight.size
    return [*rows, Part("head", (num_classes,), parameters(net.head), cost, cost)]


def parameters(cell: nn.Cell) -> int:
    """Number of values that learn."""
    return sum(parameter.size for parameter in cell.trainable_params())


@singledispatch
def cost_of(cell: nn.Cell, shape: Shape) -> Cost:
    """The output shape and the cost of a cell for an input of this shape.

    Shape: (C, T, H, W) to (C, T, H, W)
    """
    raise TypeError(f"no function computes the cost of a {type(cell).__name__}")


@cost_of.register(nn.Identity)
@cost_of.register(nn.ReLU)
def _(cell: nn.Cell, shape: Shape) -> Cost:
    return Cost(shape)


@cost_of.register
def _(cell: Convolution, shape: Shape) -> Cost:
    sizes = _sizes(shape[1:], cell, cell.padding)
    cost = cell.weight.size * math.prod(sizes)
    return Cost((cell.out_channels, *sizes), cost, cost)


@cost_of.register
def _(cell: nn.Conv3d, shape: Shape) -> Cost:
    """Those of the non-local blocks, whose kernels are single positions."""
    cost = cell.weight.size * math.prod(shape[1:])
    return Cost((cell.out_channels, *shape[1:]), cost, cost)


@cost_of.register
def _(cell: nn.MaxPool3d, shape: Shape) -> Cost:
    if cell.pad_mode.upper() == "SAME":
        return Cost((shape[0], *(-(-size // step) for size, step in zip(shape[1:], cell.stride, strict=True))))
    return Cost((shape[0], *_sizes(shape[1:], cell, cell.max_pool.pad_list[::2])))


@cost_of.register
def _(cell: ConvNorm, shape: Shape) -> Cost:
    return cost_of(cell.conv, shape)


@cost_of.register
def _(cell: nn.SequentialCell, shape: Shape) -> Cost:
    return _chain(shape, *cell.cell_list)


@cost_of.register
def _(cell: Bottleneck, shape: Shape) -> Cost:
    return _sum(_chain(shape, cell.a, cell.b, cell.c), cost_of(cell.proj, shape))


@cost_of.register
def _(cell: BasicBlock, shape: Shape) -> Cost:
    return _sum(_chain(shape, cell.a, cell.b), cost_of(cell.proj, shape))


@cost_of.register
def _(cell: Mixed, shape: Shape) -> Cost:
    branches = [
        _chain(shape, *cells)
        for cells in ((cell.b0,), (cell.b1_reduce, cell.b1), (cell.b2_reduce, cell.b2), (cell.pool, cell.b3))
    ]
    channels = sum(branch.shape[0] for branch in branches)
    return _sum(Cost((channels, *shape[1:])), *branches)


@cost_of.register
def _(cell: NonlocalBlock, shape: Shape) -> Cost:
    pooled = cost_of(cell.pool_before, shape).shape
    theta = cost_of(cell.theta, shape)
    phi = _chain(pooled, cell.phi, cell.pool_after)
    g = _chain(pooled, cell.g, cell.pool_after)
    frames = cell.group_frames or shape[1]
    groups = shape[1] // frames * (shape[2] * shape[3] if cell.own_pixel else 1)
    num_queries, num_keys = math.prod(shape[1:]) // groups, math.prod(phi.shape[1:]) // groups
    plain, used = _response(cell.pairwise, num_queries, num_keys, theta.shape[0], g.shape[0])
    response = Cost(shape, groups * plain, groups * used)
    return _sum(cost_of(cell.out, (g.shape[0], *shape[1:])), theta, phi, g, response)


def _response(pairwise: str, num_queries: int, num_keys: int, compared: int, gathered: int) -> tuple[int, int]:
    """Multiply-adds of f and of its products with g: as the paper writes them, and as they are computed.

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
    """The size of a map after a kernel."""
    stride = cell.stride if isinstance(cell.stride, tuple) else (cell.stride,) * 3
    return tuple(
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(sizes, cell.kernel_size, stride, padding, strict=True)
    )


def _chain(shape: Shape, *cells: nn.Cell) -> Cost:
    """The cost of cells one after the other."""
    cost = Cost(shape)
    for cell in cells:
        step = cost_of(cell, cost.shape)
        cost = Cost(step.shape, cost.plain + step.plain, cost.used + step.used)
    return cost


def _sum(first: Cost, *others: Cost) -> Cost:
    """The sum of several costs, with the shape of the first."""
    costs = (first, *others)
    return Cost(first.shape, sum(cost.plain for cost in costs), sum(cost.used for cost in costs))
