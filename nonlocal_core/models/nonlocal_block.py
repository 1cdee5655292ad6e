"""The non-local block: z = x + BN(out(y)), y_i = sum over j of f(x_i, x_j) g(x_j), divided by a normaliser.

Shapes: N batch, C channels (of theta, phi, g and y: the inner channels, half of the block's), T frames,
H W pixels, G groups that do not see each other (of frames, or of pixels; N * G is one axis), P query positions of
a group (T*H*W if there is one group), Q key positions (P, or a quarter of it with sub-sampling).

Source: Wang, Girshick, Gupta, He 2018, section 3; parameter shapes as mmaction2; groups of frames as Caffe2's
video-nonlocal-net.
"""

from __future__ import annotations

from typing import Literal

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import HeNormal, Initializer, Normal, Zero

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.models.conv_norm import batch_norm
from nonlocal_core.models.pairwise import Response


class NonlocalBlock(nn.Cell):
    """One non-local block; with `group_frames`, positions see only their own group of that many frames."""

    def __init__(self, channels: int, model: ModelConfig, group_frames: int = 0) -> None:
        super().__init__()
        pairwise = model.pairwise
        embedded = pairwise != "gaussian"
        inner = channels // 2
        self.theta = _embedding(channels, inner, model) if embedded else nn.Identity()
        self.phi = _embedding(channels, inner, model) if embedded else nn.Identity()
        self.g = _embedding(channels, inner, model)
        response = Response(pairwise, inner if embedded else channels, model.nl_scale)
        if pairwise == "concatenation":
            self.f = response.f
        self.insert_child_to_cell("response", response)  # unlike an assignment, leaves the name `f.weight`
        initial = _initializer(model.nl_out_init)
        self.out = nn.Conv3d(
            inner, channels, 1, has_bias=model.nl_out_bias, weight_init=initial, bias_init="zeros"
        )
        has_norm, frozen = model.nl_norm != "none", model.nl_norm == "frozen"
        self.norm = batch_norm(channels, frozen, model.nl_zero_gamma) if has_norm else nn.Identity()
        before, after = model.nl_sub_sample == "before_conv", model.nl_sub_sample == "after_conv"
        self.pool_before = nn.MaxPool3d((1, 2, 2), (1, 2, 2)) if before else nn.Identity()
        self.pool_after = nn.MaxPool3d((1, 2, 2), (1, 2, 2)) if after else nn.Identity()
        self.pairwise = pairwise
        self.group_frames = 1 if model.nl_axes == "space" else group_frames
        self.own_pixel = model.nl_axes == "time"
        self.one_group = not self.group_frames and not self.own_pixel

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The input plus what every position gathers from all positions of its group.

        Shape: (N, C, T, H, W), as the input; H and W of 2 or more with sub-sampling, T a multiple of group_frames.
        Source: paper, equations 1 and 6, figure 2.
        """
        N, C, T, H, W = x_NCTHW.shape
        theta_NCP, phi_NCQ, g_NCQ = self.embed(x_NCTHW)
        y_NCP = self.response(theta_NCP, phi_NCQ, g_NCQ)
        y_NCTHW = self._ungrouped(y_NCP, T, H, W)
        z_NCTHW = self.norm(self.out(y_NCTHW).reshape(N, C, T * H, W)).reshape(N, C, T, H, W)
        return x_NCTHW + z_NCTHW

    def weights(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """How much each query position takes from each key position: f(x_i, x_j) over its normaliser.

        Shape: (N * G, P, Q).
        """
        theta_NCP, phi_NCQ, _ = self.embed(x_NCTHW)
        return self.response.weights(theta_NCP, phi_NCQ)

    def embed(self, x_NCTHW: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """theta, phi and g of all positions.

        Shape: (N * G, C, P), (N * G, C, Q), (N * G, C, Q).
        """
        pooled_NCTHW = self.pool_before(x_NCTHW)
        theta_NCP = self._grouped(self.theta(x_NCTHW))
        phi_NCQ = self._grouped(self.pool_after(self.phi(pooled_NCTHW)))
        g_NCQ = self._grouped(self.pool_after(self.g(pooled_NCTHW)))
        return theta_NCP, phi_NCQ, g_NCQ

    def _grouped(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The positions of each group, with the groups of a clip one after the other: (N * G, C, P)."""
        N, C, T, H, W = x_NCTHW.shape
        if self.one_group:
            return x_NCTHW.reshape(N, C, T * H * W)
        frames = self.group_frames or T
        x_NCGTHW = x_NCTHW.reshape(N, C, T // frames, frames, H, W)
        if self.own_pixel:
            return x_NCGTHW.transpose(0, 2, 4, 5, 1, 3).reshape(-1, C, frames)
        return x_NCGTHW.swapaxes(1, 2).reshape(-1, C, frames * H * W)

    def _ungrouped(self, y_NCP: ms.Tensor, T: int, H: int, W: int) -> ms.Tensor:
        """The positions in the order before `_grouped`: (N, C, T, H, W)."""
        C = y_NCP.shape[1]
        if self.one_group:
            return y_NCP.reshape(-1, C, T, H, W)
        frames = self.group_frames or T
        if self.own_pixel:
            y_NGHWCT = y_NCP.reshape(-1, T // frames, H, W, C, frames)
            return y_NGHWCT.transpose(0, 4, 1, 5, 2, 3).reshape(-1, C, T, H, W)
        y_NGCP = y_NCP.reshape(-1, T // frames, C, frames * H * W)
        return y_NGCP.swapaxes(1, 2).reshape(-1, C, T, H, W)


def _embedding(channels: int, inner: int, model: ModelConfig) -> nn.Conv3d:
    return nn.Conv3d(channels, inner, 1, has_bias=True, weight_init=_initializer(model.nl_init), bias_init="zeros")


def _initializer(name: Literal["normal", "msra", "zeros"]) -> Initializer:
    msra = HeNormal(mode="fan_out", nonlinearity="relu")
    return {"normal": Normal(0.01), "msra": msra, "zeros": Zero()}[name]
