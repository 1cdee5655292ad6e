"""C2D, I3D and Non-local I3D: one network, with inflated kernels and non-local blocks as settings say.

Shapes: N batch, C channels, T frames, H W pixels, L positions of the head's window, K classes.

Source: Wang, Girshick, Gupta, He 2018, table 1; strides, pools and the inflated convolutions are those of
mmaction2, video-nonlocal-net or SlowFast, as the settings say.  With `backbone=inception`, the stages hold the
network of Carreira and Zisserman 2017, each the part with maps of its size.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.models import inception, residual
from nonlocal_core.models.convolution import Triple


class I3D(nn.Cell):
    """The network from normalised clips to logits; dropout between `features` and `classify` is the caller's."""

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.model = model
        stage = residual.stage
        if model.backbone == "inception":
            stage = inception.stage
            self.stem = inception.unit(3, model.width, inception.STEM[0], model, inception.STEM[1])
            self.pool1 = inception.max_pool(*inception.POOL)
            self.pool2 = inception.max_pool(*inception.POOL)
        else:
            kernel, stride = (model.stem_kernel_t, 7, 7), (model.stem_stride_t, 2, 2)
            self.stem = residual.conv_norm(3, model.width, kernel, stride, frozen=model.norm == "frozen")
            self.pool1 = _max_pool((model.pool1_kernel_t, 3, 3), (model.pool1_stride_t, 2, 2), model.pool1_pad)
            self.pool2 = _max_pool((model.pool2_kernel_t, 1, 1), (model.pool2_stride_t, 1, 1), 0)
        self.res2 = stage(2, model)
        self.res3 = stage(3, model)
        self.res4 = stage(4, model)
        self.res5 = stage(5, model)
        fc = nn.Dense(model.num_features, num_classes, weight_init=Normal(0.01), bias_init="zeros")
        self.head = nn.SequentialCell(OrderedDict(fc=fc))
        self.head_window = model.head_window
        self.window = nn.AvgPool3d(model.head_window, stride=1)
        self.fully_conv, self.two_frames = model.head == "fully_conv", model.head == "two_frames"

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
        return self.pooled(self.feature_map(clip_NCTHW))

    def pooled(self, map_NCTHW: ms.Tensor) -> ms.Tensor:
        """The mean of a map; with `two_frames`, of all its pairs of neighbouring frames.

        The classifier is linear, so this gives the mean of the logits of all pairs.

        Shape: (N, C) of (N, C, T, H, W).
        """
        if self.two_frames and map_NCTHW.shape[2] > 1:
            map_NCTHW = (map_NCTHW[:, :, 1:] + map_NCTHW[:, :, :-1]) * 0.5
        return ops.mean(map_NCTHW, (2, 3, 4))

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
        return self.logits(self.feature_map(clip_NCTHW))

    def logits(self, map_NCTHW: ms.Tensor) -> ms.Tensor:
        """What `construct` gives, from the feature map of the clips.

        Shape: (N, K) of (N, C, T, H, W).
        """
        if self.training or not self.fully_conv:
            return self.classify(self.pooled(map_NCTHW))
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


def _max_pool(kernel: Triple, stride: Triple, pad: int) -> nn.MaxPool3d:
    """A max pool with some padding in space; in time, a kernel of 3 is padded by 1."""
    return nn.MaxPool3d(kernel, stride, pad_mode="pad", padding=((kernel[0] - 1) // 2, pad, pad))
