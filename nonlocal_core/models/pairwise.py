"""What every position gathers from all positions, for each of the paper's four pairwise functions.

Shapes: N batch, C channels (of theta and phi, and those of g and y), P query positions, Q key positions.

Source: Wang, Girshick, Gupta, He 2018, section 3.2.
"""

from __future__ import annotations

from typing import Literal

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal

Pairwise = Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"]


class Response(nn.Cell):
    """y_i = sum over j of f(theta_i, phi_j) g_j, divided by a normaliser."""

    def __init__(self, pairwise: Pairwise, channels: int, scale: bool) -> None:
        super().__init__()
        if pairwise == "concatenation":
            self.f = nn.Dense(2 * channels, 1, weight_init=Normal(0.01), has_bias=False)
        self.temperature = channels**0.5 if scale else 1.0
        self.affinity = {
            "gaussian": self._softmax,
            "embedded_gaussian": self._softmax,
            "dot_product": self._dot_product,
            "concatenation": self._concatenation,
        }[pairwise]
        self.respond = self._linear_response if pairwise == "dot_product" else self._response

    def construct(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor, g_NQC: ms.Tensor) -> ms.Tensor:
        """What every query position gathers.

        Shape: (N, P, C), the channels of g.
        """
        return self.respond(theta_NPC, phi_NCQ, g_NQC)

    def weights(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """How much each query position takes from each key position: f over its normaliser.

        Shape: (N, P, Q).
        """
        return self.affinity(theta_NPC, phi_NCQ)

    def _softmax(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """exp(theta_i . phi_j) over its sum (equations 2 and 3)."""
        return ops.softmax(ops.bmm(theta_NPC / self.temperature, phi_NCQ), -1)

    def _dot_product(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """theta_i . phi_j over the number of key positions (equation 4)."""
        return ops.bmm(theta_NPC, phi_NCQ) / phi_NCQ.shape[2]

    def _concatenation(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """ReLU(w_f . [theta_i, phi_j]) over the number of key positions (equation 5).

        The weights of theta and phi act alone, so that the pairs are sums of two vectors.
        """
        inner = phi_NCQ.shape[1]
        a_NP1 = ops.matmul(theta_NPC, self.f.weight[0, :inner].reshape(inner, 1))
        b_N1Q = ops.matmul(self.f.weight[:, inner:], phi_NCQ)
        return ops.relu(a_NP1 + b_N1Q) / phi_NCQ.shape[2]

    def _response(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor, g_NQC: ms.Tensor) -> ms.Tensor:
        return ops.bmm(self.affinity(theta_NPC, phi_NCQ), g_NQC)

    def _linear_response(self, theta_NPC: ms.Tensor, phi_NCQ: ms.Tensor, g_NQC: ms.Tensor) -> ms.Tensor:
        """The dot product's response by the order that multiplies less: theta(phi g) or (theta phi)g."""
        P, C, Q = theta_NPC.shape[1], phi_NCQ.shape[1], phi_NCQ.shape[2]
        if (P + Q) * C < 2 * P * Q:
            return ops.bmm(theta_NPC, ops.bmm(phi_NCQ, g_NQC) / Q)
        return ops.bmm(self._dot_product(theta_NPC, phi_NCQ), g_NQC)
