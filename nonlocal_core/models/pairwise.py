"""The response of a non-local block, for each of the paper's four pairwise functions.

Shapes: N batch, C channels (of theta and phi, and those of g and y), P query positions, Q key positions.

`Response.weights` is the paper's formula.  The response itself never needs all P x Q weights at once:
docs/explanation/nonlocal_block.md says why the shorter ways below give the same values and the same gradients.

Source: Wang, Girshick, Gupta, He 2018, section 3.2.
"""

from __future__ import annotations

from typing import Literal

import mindspore as ms
from mindspore import nn, ops
from mindspore.common.initializer import Normal

Pairwise = Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"]


def keep_in_float32(net: nn.Cell) -> None:
    """Keep what non-local blocks compute of all pairs of positions out of half precision.

    theta_i . phi_j sums up to 1024 products and soon exceeds 65504, the greatest number of fp16, and exp makes
    rounding errors large.
    """
    for _, cell in net.cells_and_names():
        if isinstance(cell, Response):
            cell.to_float(ms.float32)


class Response(nn.Cell):
    """y_i = sum over j of f(theta_i, phi_j) g_j, divided by a normaliser.

    Positions lie along the last axis everywhere, as a convolution leaves them: on CPUs a transpose keeps 8 bytes a
    number until the end, while a matrix product takes transposed factors at no cost.

    Where the network takes half precision, all of it stays in float32 (`keep_in_float32`).
    """

    def __init__(self, pairwise: Pairwise, channels: int, scale: bool) -> None:
        super().__init__()
        if pairwise == "concatenation":
            self.f = nn.Dense(2 * channels, 1, weight_init=Normal(0.01), has_bias=False)
        self.temperature = channels**0.5 if scale else 1.0
        self.softmax_in_blocks = _SoftmaxInBlocks()
        self.bmm_ta = ops.BatchMatMul(transpose_a=True)
        self.bmm_tb = ops.BatchMatMul(transpose_b=True)
        self.weights_of, self.respond = {
            "gaussian": (self._softmax, self._softmax_response),
            "embedded_gaussian": (self._softmax, self._softmax_response),
            "dot_product": (self._dot_product, self._dot_product_response),
            "concatenation": (self._concatenation, self._concatenation_response),
        }[pairwise]

    def construct(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor) -> ms.Tensor:
        """What every query position gathers.

        Shape: (N, C, P), the channels of g.
        """
        return self.respond(theta_NCP, phi_NCQ, g_NCQ)

    def weights(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """How much each query position takes from each key position: f over its normaliser.

        Shape: (N, P, Q).
        """
        return self.weights_of(theta_NCP, phi_NCQ)

    def use_formula(self) -> None:
        """Compute the response from all P x Q weights at once, with operators that every framework has."""
        self.respond = self._formula

    def _formula(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor) -> ms.Tensor:
        """The response as the paper writes it."""
        return self.bmm_tb(g_NCQ, self.weights_of(theta_NCP, phi_NCQ))

    def _softmax(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """exp(theta_i . phi_j) over its sum (equations 2 and 3)."""
        return ops.softmax(self.bmm_ta(theta_NCP, self._scaled(phi_NCQ)), -1)

    def _dot_product(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """theta_i . phi_j over the number of key positions (equation 4)."""
        return self.bmm_ta(theta_NCP, phi_NCQ / (phi_NCQ.shape[2] * self.temperature))

    def _concatenation(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor) -> ms.Tensor:
        """ReLU(w_f . [theta_i, phi_j]) over the number of key positions (equation 5)."""
        a_NP, b_NQ = self._halves(theta_NCP, phi_NCQ)
        return ops.relu(a_NP.expand_dims(2) + b_NQ.expand_dims(1)) / phi_NCQ.shape[2]

    def _scaled(self, phi_NCQ: ms.Tensor) -> ms.Tensor:
        return phi_NCQ if self.temperature == 1.0 else phi_NCQ / self.temperature

    def _halves(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """a and b of w_f . [theta_i, phi_j] = a_i + b_j: theta and phi have weights of their own."""
        C = theta_NCP.shape[1]
        weight_1C = self.f.weight / self.temperature
        a_N1P = ops.matmul(weight_1C[:, :C], theta_NCP)
        b_N1Q = ops.matmul(weight_1C[:, C:], phi_NCQ)
        return a_N1P.squeeze(1), b_N1Q.squeeze(1)

    def _softmax_response(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor) -> ms.Tensor:
        """The response in blocks of queries, or at once if one block is enough: keeping its weights is faster."""
        if _num_blocks(theta_NCP, phi_NCQ, BLOCK_WEIGHTS) == 1:
            return self._formula(theta_NCP, phi_NCQ, g_NCQ)
        return self.softmax_in_blocks(theta_NCP, self._scaled(phi_NCQ), g_NCQ)

    def _dot_product_response(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor) -> ms.Tensor:
        """The response, in the order that multiplies less: (g phi)theta or g(phi theta)."""
        (C, P), Q = theta_NCP.shape[1:], phi_NCQ.shape[2]
        if (P + Q) * C < 2 * P * Q:
            return ops.bmm(self.bmm_tb(g_NCQ, phi_NCQ) / (Q * self.temperature), theta_NCP)
        return self._formula(theta_NCP, phi_NCQ, g_NCQ)

    def _concatenation_response(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor) -> ms.Tensor:
        """The response, by prefix sums over the keys in the order of falling b.

        In that order the keys with a_i + b_j > 0 come first, so that only their number k depends on i:
        y_i = (a_i (g_1 + ... + g_k) + (b_1 g_1 + ... + b_k g_k)) / Q.
        """
        a_NP, b_NQ = self._halves(theta_NCP, phi_NCQ)
        C, Q = g_NCQ.shape[1:]
        minus_b_NQ, order_NQ = ops.sort(ops.stop_gradient(-b_NQ), -1)
        k_NP = ops.searchsorted(minus_b_NQ, ops.stop_gradient(a_NP))
        g_NQC = _rows(g_NCQ.swapaxes(1, 2) / Q, order_NQ)
        bg_NQC = _repeat(_rows(b_NQ.expand_dims(2), order_NQ), C) * g_NQC
        g_NPC = _rows(_prefix_sums(g_NQC), k_NP)
        bg_NPC = _rows(_prefix_sums(bg_NQC), k_NP)
        return (_repeat(a_NP.expand_dims(2), C) * g_NPC + bg_NPC).swapaxes(1, 2)


class _SoftmaxInBlocks(nn.Cell):
    """softmax(theta phi) g, for some queries at a time; the gradient computes their weights again.

    `depend` makes a block wait for the one before: otherwise the runtime would hold the weights of all blocks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.softmax = ops.Softmax(-1)
        self.bmm_ta = ops.BatchMatMul(transpose_a=True)
        self.bmm_tb = ops.BatchMatMul(transpose_b=True)

    def construct(self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor) -> ms.Tensor:
        """What every query position gathers.

        Shape: (N, C, P).
        """
        y: tuple[ms.Tensor, ...] = ()
        for theta in ops.Split(2, _num_blocks(theta_NCP, phi_NCQ, 2 * BLOCK_WEIGHTS))(theta_NCP):
            if len(y) > 0:
                theta = ops.depend(theta, y[-1])
            y += (self.bmm_tb(g_NCQ, self.softmax(self.bmm_ta(theta, phi_NCQ))),)
        return ops.concat(y, 2)

    def bprop(
        self, theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, g_NCQ: ms.Tensor, y_NCP: ms.Tensor, dy_NCP: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """Gradients of theta, phi and g; that of the products s = theta phi is ds = w (dy g - dy y)."""
        N, C, Q = g_NCQ.shape
        ones_N1C = ops.ones((N, 1, C), g_NCQ.dtype)
        g1_NCQ = ops.concat((g_NCQ, ops.ones((N, 1, Q), g_NCQ.dtype)), 1)
        # one more channel: a product subtracts what a broadcast would
        dy1_NCP = ops.concat((dy_NCP, -ops.bmm(ones_N1C, dy_NCP * y_NCP)), 1)
        dphi_NCQ, dg1_NCQ = ops.zeros_like(phi_NCQ), ops.zeros_like(g1_NCQ)
        dtheta: tuple[ms.Tensor, ...] = ()
        split = ops.Split(2, _num_blocks(theta_NCP, phi_NCQ, BLOCK_WEIGHTS))
        thetas, dy1s = split(theta_NCP), split(dy1_NCP)
        for number in range(len(thetas)):
            theta, dy1 = thetas[number], dy1s[number]
            if number > 0:
                theta = ops.depend(theta, dphi_NCQ)
            w = self.softmax(self.bmm_ta(theta, phi_NCQ))
            dg1_NCQ = dg1_NCQ + ops.bmm(dy1, w)
            ds = w * self.bmm_ta(ops.depend(dy1, dg1_NCQ), g1_NCQ)
            dtheta += (self.bmm_tb(phi_NCQ, ds),)
            dphi_NCQ = dphi_NCQ + ops.bmm(theta, ds)
        return ops.concat(dtheta, 2), dphi_NCQ, dg1_NCQ[:, :C]


BLOCK_WEIGHTS = 2**22
"""most weights at a time: 16 MiB in float32; twice as many forward, which holds fewer matrices of this size"""
MAX_BLOCKS = 32
"""so that the compiled graph stays short"""


def _num_blocks(theta_NCP: ms.Tensor, phi_NCQ: ms.Tensor, most_weights: int) -> int:
    """The number of blocks, a divisor of the queries, for `Split`: it keeps no memory, while slices do."""
    N, _, P = theta_NCP.shape
    blocks = 1
    for divisor in range(1, MAX_BLOCKS + 1):
        if P % divisor == 0 and N * P * phi_NCQ.shape[2] > most_weights * blocks:
            blocks = divisor
    return blocks


def _rows(x_NQC: ms.Tensor, index_NP: ms.Tensor) -> ms.Tensor:
    """Rows of each batch element, (N, P, C)."""
    N, Q, C = x_NQC.shape
    return ops.gather(x_NQC.reshape(N * Q, C), index_NP + Q * ops.arange(N).reshape(N, 1), 0)


def _repeat(x_NP1: ms.Tensor, C: int) -> ms.Tensor:
    """A column repeated C times, (N, P, C): on CPUs an operation that broadcasts keeps 16 bytes an element."""
    return ops.bmm(x_NP1, ops.ones((x_NP1.shape[0], 1, C), x_NP1.dtype))


SUM_ROWS = 64
"""number of rows that one product sums"""


def _prefix_sums(x_NQC: ms.Tensor) -> ms.Tensor:
    """Sums of the first 0, 1, ..., Q rows, and some more rows.

    Two levels of products with triangles of ones are faster than `cumsum`, and rounding errors stay smaller.
    """
    N, Q, C = x_NQC.shape
    parts = Q // SUM_ROWS + 1
    padding = ops.zeros((N, parts * SUM_ROWS - Q, C), x_NQC.dtype)
    x = ops.concat((x_NQC, padding), 1).reshape(N * parts, SUM_ROWS, C)
    sums = x.sum(1).reshape(N, parts, C)
    before = ops.bmm(_below(N, parts, x.dtype), sums).reshape(N * parts, 1, C)
    within = ops.concat((ops.ones((N * parts, SUM_ROWS, 1), x.dtype), _below(N * parts, SUM_ROWS, x.dtype)), 2)
    return ops.bmm(within, ops.concat((before, x), 1)).reshape(N, parts * SUM_ROWS, C)


def _below(N: int, rows: int, dtype: ms.Type) -> ms.Tensor:
    """Ones below the diagonal, (N, rows, rows)."""
    return ops.tril(ops.ones((N, rows, rows), dtype), -1)
