"""Print the shapes, parameters and multiply-adds of a network for one test view.

python -m nonlocal_core.describe nl_i3d_r50_32x2 model.pairwise=gaussian --classes 10

The network is built, without drawing its weights, and walked cell by cell with the shape of one test view; nothing
is computed.  Counted are the multiplications of convolutions, matrix products and the classifier, each with the
addition that goes with it: multiply-adds.  Batch norms, pools and softmaxes are left out.

Shapes: C channels, T frames, H W pixels.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator

from mindspore import nn

from nonlocal_core import command
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.models.conv_norm import ConvNorm
from nonlocal_core.models.convolution import Convolution
from nonlocal_core.models.cost import Cost, Part, Shape, _chain, _response, _sizes, _sum, cost_of, parts
from nonlocal_core.models.inception import Mixed
from nonlocal_core.models.nonlocal_block import NonlocalBlock
from nonlocal_core.models.residual import BasicBlock, Bottleneck


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


def table(name: str, config: Config, num_classes: int) -> str:
    """The table of a network."""
    rows = parts(config, num_classes)
    side = config.evaluate.crop_size
    lines = [
        f"{name}: one view of {config.clip.clip_len} frames of {side} x {side} pixels, {num_classes} classes",
        "",
        f"{'part':<6} {'C x T x H x W':<20} {'parameters':>12} {'G multiply-adds':>16} {'G as done':>10}",
    ]
    sums = (sum(column) for column in zip(*(row[2:] for row in rows), strict=True))
    total = Part("total", (), *sums)
    for row in (*rows, total):
        shape = " x ".join(str(size) for size in row.shape)
        lines.append(
            f"{row.name:<6} {shape:<20} {row.parameters:>12,} {row.plain / 1e9:>16.3f} {row.used / 1e9:>10.3f}"
        )
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Print the table that a command line asks for; gives the exit status."""
    parser = command.parser("nonlocal_core.describe", __doc__)
    parser.add_argument(
        "preset", metavar="PRESET", help="named settings; python flows/full.py --help presets lists them"
    )
    parser.add_argument(
        "settings", nargs="*", default=[], metavar="key=value", help="what differs from the preset"
    )
    parser.add_argument("--classes", type=int, default=400, help="classes of the head; default: 400")
    return command.show(_lines(parser.parse_intermixed_args(words)))


def _lines(given: argparse.Namespace) -> Iterator[str]:
    overrides = key_value.pairs(given.settings, "; a preset comes first")
    if given.classes < 1:
        raise ConfigError(f"--classes {given.classes}: a network has at least one class")
    yield from table(given.preset, resolve(given.preset, overrides), given.classes).split("\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
