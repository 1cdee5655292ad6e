"""C2D, I3D and Non-local I3D: one residual network, with inflated kernels and non-local blocks as settings say.

Shapes: N batch, C channels, T frames, H W pixels, L positions of the head's window, K classes.

Source: Wang, Girshick, Gupta, He 2018, table 1; strides, pools and the inflated convolutions are those of
mmaction2, video-nonlocal-net or SlowFast, as the settings say.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal

from nonlocal_core.config.model import ModelConfig, looks_over_time
from nonlocal_core.models.convolution import Convolution, Triple
from nonlocal_core.models.nonlocal_block import NonlocalBlock, batch_norm


class ConvNorm(nn.Cell):
    """A convolution without bias and its batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        frozen: bool = False,
        zero_gamma: bool = False,
    ) -> None:
        super().__init__()
        self.conv = Convolution(in_channels, out_channels, kernel, stride)
        self.norm = batch_norm(out_channels, frozen, zero_gamma)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The convolution after its batch norm, which sees time and height as one axis.

        Shape: (N, C, T, H, W), strided.
        """
        x_NCTHW = self.conv(x_NCTHW)
        N, C, T, H, W = x_NCTHW.shape
        return self.norm(x_NCTHW.reshape(N, C, T * H, W)).reshape(N, C, T, H, W)


class Bottleneck(nn.Cell):
    """A residual block of three convolutions; one of the first two may be 3 frames wide, the second may stride."""

    def __init__(self, in_channels: int, channels: int, inflate: str, stride: int, model: ModelConfig) -> None:
        super().__init__()
        frozen = model.norm == "frozen"
        out_channels = 4 * channels
        self.a = ConvNorm(in_channels, channels, (3 if inflate == "3x1x1" else 1, 1, 1), frozen=frozen)
        kernel = (3 if inflate == "3x3x3" else 1, 3, 3)
        self.b = ConvNorm(channels, channels, kernel, (1, stride, stride), frozen=frozen)
        self.c = ConvNorm(channels, out_channels, (1, 1, 1), frozen=frozen, zero_gamma=model.zero_gamma)
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
        self.a = ConvNorm(in_channels, channels, kernel, (1, stride, stride), frozen=frozen)
        self.b = ConvNorm(channels, channels, kernel, frozen=frozen, zero_gamma=model.zero_gamma)
        self.proj = _projection(in_channels, channels, stride, frozen)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The input, projected where its shape changes, plus its residual, rectified.

        Shape: (N, channels, T, H / stride, W / stride).
        """
        return ops.relu(self.proj(x_NCTHW) + self.b(ops.relu(self.a(x_NCTHW))))


class I3D(nn.Cell):
    """The network from normalised clips to logits; dropout between `features` and `classify` is the caller's."""

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.model = model
        kernel, stride = (model.stem_kernel_t, 7, 7), (model.stem_stride_t, 2, 2)
        self.stem = ConvNorm(3, model.width, kernel, stride, frozen=model.norm == "frozen")
        self.pool1 = _max_pool((model.pool1_kernel_t, 3, 3), (model.pool1_stride_t, 2, 2), model.pool1_pad)
        self.res2 = _stage(2, model)
        self.pool2 = _max_pool((model.pool2_kernel_t, 1, 1), (model.pool2_stride_t, 1, 1), 0)
        self.res3 = _stage(3, model)
        self.res4 = _stage(4, model)
        self.res5 = _stage(5, model)
        fc = nn.Dense(model.num_features, num_classes, weight_init=Normal(0.01), bias_init="zeros")
        self.head = nn.SequentialCell(OrderedDict(fc=fc))
        self.head_window = model.head_window
        self.window = nn.AvgPool3d(model.head_window, stride=1)
        self.fully_conv = model.head == "fully_conv"

    def feature_map(self, clip_NCTHW: ms.Tensor) -> ms.Tensor:
        """Features of every position of a clip; the comments are table 1 (default settings, 32x2, without N).

        Shape: (N, C, T, H, W) of (N, 3, T, H, W); C is 32 * width with bottlenecks.
        Units: RGB, normalised by the mean and deviation of the settings.
        """
        x = ops.relu(self.stem(clip_NCTHW))  # 64 x 16 x 112 x 112
        x = self.pool1(x)  # 64 x 8 x 56 x 56
        x = self.res2(x)  # 256 x 8 x 56 x 56
        x = self.pool2(x)  # 256 x 4 x 56 x 56
        x = self.res3(x)  # 512 x 4 x 28 x 28
        x = self.res4(x)  # 1024 x 4 x 14 x 14
        return self.res5(x)  # 2048 x 4 x 7 x 7

    def features(self, clip_NCTHW: ms.Tensor) -> ms.Tensor:
        """Features of whole clips, averaged over time and space.

        Shape: (N, C) of (N, 3, T, H, W).
        """
        return ops.mean(self.feature_map(clip_NCTHW), (2, 3, 4))

    def classify(self, features_NC: ms.Tensor) -> ms.Tensor:
        """Logits of pooled features.

        Shape: (N, K), or (N, L, K) of (N, L, C).
        """
        return self.head(features_NC)

    def construct(self, clip_NCTHW: ms.Tensor) -> ms.Tensor:
        """Logits of clips; if a fully convolutional head has several windows, the log of their mean probabilities.

        A softmax of both gives probabilities, so that views are averaged in the same way.

        Shape: (N, K) of (N, 3, T, H, W).
        """
        if self.training or not self.fully_conv:
            return self.classify(self.features(clip_NCTHW))
        map_NCTHW = self.feature_map(clip_NCTHW)
        N, C, T, H, W = map_NCTHW.shape
        t, h, w = self.head_window
        if t > T or h > H or w > W:  # a window larger than the map is cut to it
            map_NCTHW = ops.avg_pool3d(map_NCTHW, (min(t, T), min(h, H), min(w, W)), 1)
        else:
            map_NCTHW = self.window(map_NCTHW)
        map_NLC = map_NCTHW.reshape(N, C, -1).swapaxes(1, 2)
        logits_NLK = self.classify(map_NLC)
        if map_NLC.shape[1] == 1:
            return logits_NLK[:, 0]
        return ops.logsumexp(ops.log_softmax(logits_NLK, -1), 1) - math.log(map_NLC.shape[1])


def _stage(stage: int, model: ModelConfig) -> nn.SequentialCell:
    """The blocks `0`, `1`, … of one stage, each followed by a non-local block (`nl0`, …) if settings say so."""
    make = Bottleneck if model.block == "bottleneck" else BasicBlock
    cells: OrderedDict[str, nn.Cell] = OrderedDict()
    in_channels = model.width if stage == 2 else model.channels(stage - 1)
    for block in range(model.stage_blocks[stage - 2]):
        cells[str(block)] = make(
            in_channels,
            model.width << (stage - 2),
            inflate=model.inflate if looks_over_time(model, stage, block) else "none",
            stride=2 if block == 0 and stage > 2 else 1,
            model=model,
        )
        in_channels = model.channels(stage)
        if block in model.nl_blocks(stage):
            cells[f"nl{block}"] = NonlocalBlock(in_channels, model, model.nl_group_frames[stage - 2])
    return nn.SequentialCell(cells)


def _projection(in_channels: int, out_channels: int, stride: int, frozen: bool) -> nn.Cell:
    """The projection of a residual block's input to the shape of its output."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, (1, 1, 1), (1, stride, stride), frozen=frozen)


def _max_pool(kernel: Triple, stride: Triple, pad: int) -> nn.MaxPool3d:
    """A max pool with some padding in space; in time, a kernel of 3 is padded by 1."""
    return nn.MaxPool3d(kernel, stride, pad_mode="pad", padding=((kernel[0] - 1) // 2, pad, pad))
