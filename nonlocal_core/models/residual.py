"""The residual blocks of ResNets for clips, and their stages.

Shapes: N batch, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from collections import OrderedDict

import mindspore as ms
from mindspore import nn, ops

from nonlocal_core.config.model import ModelConfig, looks_over_time
from nonlocal_core.models.conv_norm import ConvNorm, batch_norm
from nonlocal_core.models.convolution import Convolution, Triple
from nonlocal_core.models.nonlocal_block import NonlocalBlock


class Bottleneck(nn.Cell):
    """A residual block of three convolutions; one of the first two may be 3 frames wide, the second may stride."""

    def __init__(self, in_channels: int, channels: int, inflate: str, stride: int, model: ModelConfig) -> None:
        super().__init__()
        frozen = model.norm == "frozen"
        out_channels = 4 * channels
        self.a = conv_norm(in_channels, channels, (3 if inflate == "3x1x1" else 1, 1, 1), frozen=frozen)
        kernel = (3 if inflate == "3x3x3" else 1, 3, 3)
        self.b = conv_norm(channels, channels, kernel, (1, stride, stride), frozen=frozen)
        self.c = conv_norm(channels, out_channels, (1, 1, 1), frozen=frozen, zero_gamma=model.zero_gamma)
        self.proj = _projection(in_channels, out_channels, stride, frozen)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The input, projected where its shape changes, plus its residual, rectified.

        Shape: (N, 4 * channels, T, H / stride, W / stride).
        """
        y_NCTHW = ops.relu(self.a(x_NCTHW))
        y_NCTHW = ops.relu(self.b(y_NCTHW))
        return ops.relu(self.proj(x_NCTHW) + self.c(y_NCTHW))


class BasicBlock(nn.Cell):
    """A residual block of two convolutions; both may be 3 frames wide, the first one may stride.

    Source: ResNet-18 and -34 of He et al. 2016; inflated as mmaction2 does.
    """

    def __init__(self, in_channels: int, channels: int, inflate: str, stride: int, model: ModelConfig) -> None:
        super().__init__()
        frozen = model.norm == "frozen"
        kernel = (3 if inflate == "3x3x3" else 1, 3, 3)
        self.a = conv_norm(in_channels, channels, kernel, (1, stride, stride), frozen=frozen)
        self.b = conv_norm(channels, channels, kernel, frozen=frozen, zero_gamma=model.zero_gamma)
        self.proj = _projection(in_channels, channels, stride, frozen)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The input, projected where its shape changes, plus its residual, rectified.

        Shape: (N, channels, T, H / stride, W / stride).
        """
        return ops.relu(self.proj(x_NCTHW) + self.b(ops.relu(self.a(x_NCTHW))))


def stage(number: int, model: ModelConfig) -> nn.SequentialCell:
    """The blocks `0`, `1`, … of one stage, each followed by a non-local block (`nl0`, …) if settings say so."""
    make = Bottleneck if model.block == "bottleneck" else BasicBlock
    cells: OrderedDict[str, nn.Cell] = OrderedDict()
    in_channels = model.width if number == 2 else model.channels(number - 1)
    for block in range(model.stage_blocks[number - 2]):
        cells[str(block)] = make(
            in_channels,
            model.width << (number - 2),
            inflate=model.inflate if looks_over_time(model, number, block) else "none",
            stride=2 if block == 0 and number > 2 else 1,
            model=model,
        )
        in_channels = model.channels(number)
        if block in model.nl_blocks(number):
            cells[f"nl{block}"] = NonlocalBlock(in_channels, model, model.nl_group_frames[number - 2])
    return nn.SequentialCell(cells)


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel: Triple,
    stride: Triple = (1, 1, 1),
    frozen: bool = False,
    zero_gamma: bool = False,
) -> ConvNorm:
    """A convolution that is padded by half its kernel, and its batch norm."""
    return ConvNorm(
        Convolution(in_channels, out_channels, kernel, stride), batch_norm(out_channels, frozen, zero_gamma)
    )


def _projection(in_channels: int, out_channels: int, stride: int, frozen: bool) -> nn.Cell:
    """The projection of a residual block's input to the shape of its output."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return conv_norm(in_channels, out_channels, (1, 1, 1), (1, stride, stride), frozen=frozen)
