"""The non-local block: z = x + BN(out(y)), y_i = sum over j of f(x_i, x_j) g(x_j), divided by a normaliser.

Shapes: N batch, C channels (of theta, phi, g and y: the inner channels, half of the block's), T frames,
H W pixels, P query positions (T*H*W), Q key positions (P, or a fourth of it with sub-sampling).

Source: Wang, Girshick, Gupta, He 2018, section 3; parameter shapes and the place of the pool as mmaction2.
"""

from __future__ import annotations

import mindspore as ms
from mindspore import nn
from mindspore.common.initializer import HeNormal, Normal

from nonlocal_core.models.pairwise import Pairwise, Response


class NonlocalBlock(nn.Cell):
    """One non-local block that starts as the identity: the last BN's gamma is 0."""

    def __init__(self, channels: int, pairwise: Pairwise, sub_sample: bool, scale: bool) -> None:
        super().__init__()
        embedded = pairwise != "gaussian"
        inner = channels // 2
        self.theta = _embedding(channels, inner) if embedded else nn.Identity()
        self.phi = _embedding(channels, inner) if embedded else nn.Identity()
        self.g = _embedding(channels, inner)
        response = Response(pairwise, inner if embedded else channels, scale)
        if pairwise == "concatenation":
            self.f = response.f
        self.insert_child_to_cell("response", response)  # unlike an assignment, leaves the name `f.weight`
        self.out = nn.Conv3d(inner, channels, 1, weight_init=HeNormal(mode="fan_out", nonlinearity="relu"))
        self.norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.9, gamma_init="zeros")
        self.pool = nn.MaxPool3d((1, 2, 2), (1, 2, 2)) if sub_sample else nn.Identity()

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The input plus what every position gathers from all positions.

        Shape: (N, C, T, H, W), as the input; H and W of 2 or more with sub-sampling.
        Source: paper, equations 1 and 6, figure 2.
        """
        N, C, T, H, W = x_NCTHW.shape
        theta_NPC, phi_NCQ, g_NQC = self.embed(x_NCTHW)
        y_NPC = self.response(theta_NPC, phi_NCQ, g_NQC)
        y_NCTHW = y_NPC.swapaxes(1, 2).reshape(N, -1, T, H, W)
        z_NCTHW = self.norm(self.out(y_NCTHW).reshape(N, C, T * H, W)).reshape(N, C, T, H, W)
        return x_NCTHW + z_NCTHW

    def weights(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """How much each query position takes from each key position: f(x_i, x_j) over its normaliser.

        Shape: (N, P, Q).
        """
        theta_NPC, phi_NCQ, _ = self.embed(x_NCTHW)
        return self.response.weights(theta_NPC, phi_NCQ)

    def embed(self, x_NCTHW: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """theta, phi and g of all positions.

        Shape: (N, P, C), (N, C, Q), (N, Q, C).
        """
        N = x_NCTHW.shape[0]
        theta_NCTHW = self.theta(x_NCTHW)
        phi_NCTHW = self.pool(self.phi(x_NCTHW))
        g_NCTHW = self.pool(self.g(x_NCTHW))
        theta_NPC = theta_NCTHW.reshape(N, theta_NCTHW.shape[1], -1).swapaxes(1, 2)
        phi_NCQ = phi_NCTHW.reshape(N, phi_NCTHW.shape[1], -1)
        g_NQC = g_NCTHW.reshape(N, g_NCTHW.shape[1], -1).swapaxes(1, 2)
        return theta_NPC, phi_NCQ, g_NQC


def _embedding(channels: int, inner: int) -> nn.Conv3d:
    return nn.Conv3d(channels, inner, 1, has_bias=True, weight_init=Normal(0.01), bias_init="zeros")
