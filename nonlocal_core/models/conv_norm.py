"""A convolution with its batch norm: the unit that all networks here are made of."""

from __future__ import annotations

import mindspore as ms
from mindspore import nn, ops

from nonlocal_core.models.convolution import Convolution


class ConvNorm(nn.Cell):
    """A convolution without bias and its batch norm."""

    def __init__(self, conv: Convolution, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The batch norm of the convolution; it sees time and height as one axis.

        Shape: (N, C, T, H, W), strided.
        """
        x_NCTHW = self.conv(x_NCTHW)
        N, C, T, H, W = x_NCTHW.shape
        return self.norm(x_NCTHW.reshape(N, C, T * H, W)).reshape(N, C, T, H, W)


def batch_norm(channels: int, frozen: bool, zero_gamma: bool) -> nn.BatchNorm2d:
    """A batch norm whose statistics are never updated if it is frozen; gamma and beta learn either way.

    Source: Caffe2's AffineNd and mmaction2's norm_eval train gamma and beta too.
    """
    return nn.BatchNorm2d(
        channels,
        eps=1e-5,
        momentum=0.9,
        gamma_init="zeros" if zero_gamma else "ones",
        use_batch_statistics=False if frozen else None,
    )


def shift_norm(channels: int, frozen: bool) -> nn.BatchNorm2d:
    """A batch norm without scale: beta learns, and gamma is no parameter but always 1.

    Source: Sonnet's BatchNorm, which the original I3D uses.
    """
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.9, use_batch_statistics=False if frozen else None)
    del norm.gamma
    norm.gamma = ops.ones((channels,), ms.float32)
    return norm
