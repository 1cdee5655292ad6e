"""Inception-v1 inflated over time, the first I3D, in four stages.

    res2   Conv3d_2b_1x1, Conv3d_2c_3x3
    res3   Mixed_3b, Mixed_3c
    res4   MaxPool3d_4a_3x3, Mixed_4b … Mixed_4f
    res5   MaxPool3d_5a_2x2, Mixed_5b, Mixed_5c

Everything is padded as TensorFlow's SAME: a map has the size of its input over the stride, rounded up, and of odd
padding the end has one more.

Shapes: N batch, C channels, T frames, H W pixels.

Source: Carreira, Zisserman 2017, figure 3; channels and pools as DeepMind's kinetics-i3d.
"""

from __future__ import annotations

from collections import OrderedDict

import mindspore as ms
from mindspore import nn, ops

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.models.conv_norm import ConvNorm, shift_norm
from nonlocal_core.models.convolution import Convolution, Triple
from nonlocal_core.models.nonlocal_block import NonlocalBlock

Six = tuple[int, int, int, int, int, int]

STEM: tuple[Triple, Triple] = ((7, 7, 7), (2, 2, 2))
"""kernel and stride of the first convolution"""
POOL: tuple[Triple, Triple] = ((1, 3, 3), (1, 2, 2))
"""kernel and stride of the pools before and after res2"""
POOLS: dict[int, tuple[Triple, Triple]] = {4: ((3, 3, 3), (2, 2, 2)), 5: ((2, 2, 2), (2, 2, 2))}
"""kernel and stride of the pool that a stage begins with"""
MIXED: dict[int, tuple[Six, ...]] = {
    3: ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    4: (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    5: ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
}
"""channels of b0, b1_reduce, b1, b2_reduce, b2 and b3 of each mixed block, where the stem has 64"""


class Mixed(nn.Cell):
    """Four branches over the same input: a convolution of one position, two of 3x3x3, and a pool."""

    def __init__(self, in_channels: int, channels: Six, model: ModelConfig) -> None:
        super().__init__()
        size_1, size_3 = (1, 1, 1), (3, 3, 3)
        self.b0 = unit(in_channels, channels[0], size_1, model)
        self.b1_reduce = unit(in_channels, channels[1], size_1, model)
        self.b1 = unit(channels[1], channels[2], size_3, model)
        self.b2_reduce = unit(in_channels, channels[3], size_1, model)
        self.b2 = unit(channels[3], channels[4], size_3, model)
        self.pool = max_pool(size_3, size_1)
        self.b3 = unit(in_channels, channels[5], size_1, model)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The rectified branches, one after the other.

        Shape: (N, sum of the branches' channels, T, H, W).
        """
        y0_NCTHW = self.b0(x_NCTHW)
        y1_NCTHW = self.b1(ops.relu(self.b1_reduce(x_NCTHW)))
        y2_NCTHW = self.b2(ops.relu(self.b2_reduce(x_NCTHW)))
        y3_NCTHW = self.b3(self.pool(x_NCTHW))
        return ops.relu(ops.cat((y0_NCTHW, y1_NCTHW, y2_NCTHW, y3_NCTHW), 1))


def stage(number: int, model: ModelConfig) -> nn.SequentialCell:
    """The blocks `0`, `1`, … of one stage, each followed by a non-local block (`nl0`, …) if settings say so."""
    cells: OrderedDict[str, nn.Cell] = OrderedDict()
    if number in POOLS:
        cells["pool"] = max_pool(*POOLS[number])
    in_channels = model.width if number == 2 else model.channels(number - 1)
    for block in range(model.num_blocks(number)):
        if number == 2:
            out_channels = (model.width, model.channels(2))[block]
            cells[str(block)] = unit(in_channels, out_channels, ((1, 1, 1), (3, 3, 3))[block], model)
            cells[f"relu{block}"] = nn.ReLU()
        else:
            c0, c1_reduce, c1, c2_reduce, c2, c3 = (c * model.width // 64 for c in MIXED[number][block])
            cells[str(block)] = Mixed(in_channels, (c0, c1_reduce, c1, c2_reduce, c2, c3), model)
            out_channels = c0 + c1 + c2 + c3
        if block in model.nl_blocks(number):
            cells[f"nl{block}"] = NonlocalBlock(out_channels, model, model.nl_group_frames[number - 2])
        in_channels = out_channels
    return nn.SequentialCell(cells)


def strided_layers(number: int) -> list[tuple[Triple, Triple]]:
    """Kernel and stride of the layers with strides up to a stage."""
    return [STEM, POOL, *([POOL] if number > 2 else []), *(POOLS[stage] for stage in POOLS if stage <= number)]


def unit(
    in_channels: int, out_channels: int, kernel: Triple, model: ModelConfig, stride: Triple = (1, 1, 1)
) -> ConvNorm:
    """A convolution, padded as SAME, and its batch norm without scale."""
    conv = Convolution(in_channels, out_channels, kernel, stride, same=True)
    return ConvNorm(conv, shift_norm(out_channels, model.norm == "frozen"))


def max_pool(kernel: Triple, stride: Triple) -> nn.MaxPool3d:
    """A max pool, padded as SAME."""
    return nn.MaxPool3d(kernel, stride, pad_mode="same")
