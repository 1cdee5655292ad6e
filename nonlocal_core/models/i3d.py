"""C2D, I3D and Non-local I3D: one residual network that inflates some kernels and adds some blocks.

Shapes: N batch, C channels, T frames, H W pixels, K classes.

Source: Wang, Girshick, Gupta, He 2018, table 1; strides, pools and the inflated convolutions as mmaction2.
"""

from __future__ import annotations

from collections import OrderedDict

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, Normal

from nonlocal_core.models.nonlocal_block import NonlocalBlock
from nonlocal_core.sections import ModelConfig

Triple = tuple[int, int, int]


class ConvNorm(nn.Cell):
    """A convolution without bias and its batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        gamma_init: str = "ones",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            in_channels,
            out_channels,
            kernel,
            stride,
            pad_mode="pad",
            padding=tuple(k // 2 for k in kernel for _ in range(2)),
            weight_init=HeNormal(mode="fan_out", nonlinearity="relu"),
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-5, momentum=0.9, gamma_init=gamma_init)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The normalised convolution; the batch norm sees time and height as one axis.

        Shape: (N, C, T, H, W), strided.
        """
        x_NCTHW = self.conv(x_NCTHW)
        N, C, T, H, W = x_NCTHW.shape
        return self.norm(x_NCTHW.reshape(N, C, T * H, W)).reshape(N, C, T, H, W)


class Bottleneck(nn.Cell):
    """A residual block of three convolutions; the first one may look 3 frames wide, the second one may stride."""

    def __init__(self, in_channels: int, channels: int, kernel_t: int, stride: int, project: bool) -> None:
        super().__init__()
        out_channels = 4 * channels
        self.a = ConvNorm(in_channels, channels, (kernel_t, 1, 1))
        self.b = ConvNorm(channels, channels, (1, 3, 3), (1, stride, stride))
        self.c = ConvNorm(channels, out_channels, (1, 1, 1), gamma_init="zeros")
        self.proj = (
            ConvNorm(in_channels, out_channels, (1, 1, 1), (1, stride, stride)) if project else nn.Identity()
        )

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The input, projected where its shape changes, plus its residual, rectified.

        Shape: (N, 4 * channels, T, H / stride, W / stride).
        """
        y_NCTHW = ops.relu(self.a(x_NCTHW))
        y_NCTHW = ops.relu(self.b(y_NCTHW))
        return ops.relu(self.proj(x_NCTHW) + self.c(y_NCTHW))


class I3D(nn.Cell):
    """The network from normalised clips to logits; dropout between `features` and `classify` is the caller's."""

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.model = model
        width = model.width
        self.stem = ConvNorm(3, width, (model.stem_kernel_t, 7, 7), (model.stem_stride_t, 2, 2))
        self.pool1 = nn.MaxPool3d((1, 3, 3), (model.pool1_stride_t, 2, 2), pad_mode="pad", padding=(0, 1, 1))
        self.res2 = _stage(2, model, nl_blocks=())
        self.pool2 = nn.MaxPool3d((model.pool2_stride_t, 1, 1), (model.pool2_stride_t, 1, 1))
        self.res3 = _stage(3, model, nl_blocks=model.nl_res3)
        self.res4 = _stage(4, model, nl_blocks=model.nl_res4)
        self.res5 = _stage(5, model, nl_blocks=())
        fc = nn.Dense(32 * width, num_classes, weight_init=Normal(0.01), bias_init="zeros")
        self.head = nn.SequentialCell(OrderedDict(fc=fc))

    def features(self, clip_NCTHW: ms.Tensor) -> ms.Tensor:
        """Features of whole clips, averaged over time and space; table 1 in comments (without N, for 32x2).

        Shape: (N, 32 * width) of (N, 3, T, H, W).
        Units: RGB, normalised by the ImageNet mean and deviation.
        """
        x = ops.relu(self.stem(clip_NCTHW))  # 64 x 16 x 112 x 112
        x = self.pool1(x)  # 64 x 8 x 56 x 56
        x = self.res2(x)  # 256 x 8 x 56 x 56
        x = self.pool2(x)  # 256 x 4 x 56 x 56
        x = self.res3(x)  # 512 x 4 x 28 x 28
        x = self.res4(x)  # 1024 x 4 x 14 x 14
        x = self.res5(x)  # 2048 x 4 x 7 x 7
        return ops.mean(x, (2, 3, 4))  # 2048

    def classify(self, features_NC: ms.Tensor) -> ms.Tensor:
        """Logits of pooled features.

        Shape: (N, K).
        """
        return self.head(features_NC)

    def construct(self, clip_NCTHW: ms.Tensor) -> ms.Tensor:
        """Logits of whole clips.

        Shape: (N, K) of (N, 3, T, H, W).
        """
        return self.classify(self.features(clip_NCTHW))


def _stage(stage: int, model: ModelConfig, nl_blocks: tuple[int, ...]) -> nn.SequentialCell:
    """The blocks `0`, `1`, ... of one stage, each followed by `nl0`, `nl1`, ... where one is asked for."""
    channels = model.width * 2 ** (stage - 2)
    cells: OrderedDict[str, nn.Cell] = OrderedDict()
    for block in range(model.stage_blocks[stage - 2]):
        first = block == 0
        in_channels = 4 * channels if not first else model.width if stage == 2 else 2 * channels
        cells[str(block)] = Bottleneck(
            in_channels,
            channels,
            kernel_t=3 if model.inflate == "3x1x1" and _inflated(stage, block) else 1,
            stride=2 if first and stage > 2 else 1,
            project=first,
        )
        if block in nl_blocks:
            cells[f"nl{block}"] = NonlocalBlock(4 * channels, model.pairwise, model.nl_sub_sample, model.nl_scale)
    return nn.SequentialCell(cells)


def _inflated(stage: int, block: int) -> bool:
    """Whether a block's first convolution looks over time: all of res2, then every second block."""
    return stage == 2 or block % 2 == (1 if stage == 5 else 0)
