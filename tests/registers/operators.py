"""Each operator of our graphs alone, with small inputs: for a device on which nothing was run yet.

A case has the names of its operators, as the graphs have them, and a function that computes with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

TYPES = {"fp32": ms.float32, "fp16": ms.float16, "bf16": ms.bfloat16}
Case = tuple[str, Callable[[str], Sequence[Tensor]]]


def drawn(*shape: int, precision: str = "fp32") -> Tensor:
    """Normal numbers."""
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32)).astype(TYPES[precision])


def both_ways(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """What a function gives, and the gradients of its sum, in one compiled graph."""

    def summed(*given: Tensor) -> tuple[Tensor, Tensor]:
        result = function(*given)
        return ops.cast(result, ms.float32).sum(), result

    gradients = ms.value_and_grad(summed, tuple(range(len(inputs))), has_aux=True)
    (_, result), grads = ms.jit(gradients)(*inputs)
    return [result, *(grads if isinstance(grads, tuple) else (grads,))]


def _conv(precision: str) -> list[Tensor]:
    conv = ops.Conv3D(4, (3, 3, 3), pad_mode="pad", pad=(1,) * 6, stride=(1, 2, 2))
    return both_ways(conv, drawn(2, 3, 4, 16, 16, precision=precision), drawn(4, 3, 3, 3, 3, precision=precision))


def _pool(precision: str) -> list[Tensor]:
    pool = nn.MaxPool3d((3, 3, 3), (1, 2, 2), pad_mode="pad", padding=1)
    return both_ways(pool, drawn(2, 3, 4, 16, 16))


def _mean_pool(precision: str) -> list[Tensor]:
    return [nn.AvgPool3d((2, 3, 3), stride=1)(drawn(2, 3, 4, 8, 8))]


def _norm(precision: str) -> list[Tensor]:
    norm = nn.BatchNorm2d(3).set_train(True)
    trained = both_ways(norm, drawn(4, 3, 8, 8))
    return [*trained, norm.set_train(False)(drawn(4, 3, 8, 8)), norm.moving_variance.value()]


def _dense(precision: str) -> list[Tensor]:
    dense = nn.Dense(8, 4)
    found = both_ways(dense, drawn(2, 8))
    return [*found, *both_ways(ops.matmul, *(drawn(4, 4, precision=precision) for _ in range(2)))]


def _products(precision: str) -> list[Tensor]:
    ta, tb = ops.BatchMatMul(transpose_a=True), ops.BatchMatMul(transpose_b=True)
    x_NCP = drawn(2, 4, 6)
    transposed = [*both_ways(ta, x_NCP, x_NCP), *both_ways(tb, x_NCP, x_NCP)]
    return [*transposed, *both_ways(ops.bmm, drawn(2, 3, 3), drawn(2, 3, 3))]


def _loss(precision: str) -> list[Tensor]:
    label_N = Tensor([0, 2, 1], ms.int32)

    def loss(logits_NK: Tensor) -> Tensor:
        plain = ops.cross_entropy(logits_NK, label_N, label_smoothing=0.1)
        return plain + ops.cross_entropy(logits_NK, label_N, reduction="none", label_smoothing=0.0).mean()

    windows = ops.logsumexp(ops.log_softmax(drawn(2, 3, 4), -1), 1)
    return [*both_ways(loss, drawn(3, 4)), windows]


def _order(precision: str) -> list[Tensor]:
    values, order = ops.sort(drawn(2, 8), -1)
    places = ops.searchsorted(values, drawn(2, 5))

    def rows(table: Tensor) -> Tensor:
        return ops.gather(table, Tensor([0, 2, 1, 1], ms.int32), 0)

    return [values, order, places, *both_ways(rows, drawn(4, 3)), ops.tril(ops.ones((2, 4, 4)), -1)]


def _shapes(precision: str) -> list[Tensor]:
    x = drawn(2, 4, 6, precision=precision)

    def join(a: Tensor, b: Tensor) -> Tensor:
        return ops.cat((a, b), 2) * 2.0

    def move(a: Tensor) -> Tensor:
        return a.swapaxes(1, 2).reshape(2, -1).expand_dims(1).squeeze(1) / 3.0

    made = [*both_ways(join, drawn(2, 4, 3), drawn(2, 4, 3)), *both_ways(move, drawn(2, 4, 6))]
    return [*ops.split(x, 2, 1), *made, x.reshape(-1), ops.zeros_like(x), ops.tile(drawn(1, 3), (2, 2))]


def _casts(precision: str) -> list[Tensor]:
    pixels = Tensor(np.arange(12, dtype=np.uint8)).astype(ms.int32)
    there_and_back = drawn(5).astype(TYPES[precision]).astype(ms.float32)
    return [pixels, there_and_back, ops.equal(pixels, 3).astype(ms.float32)]


def _arithmetic(precision: str) -> list[Tensor]:
    x = drawn(3, 4)

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        rest = ops.softmax(a, -1) - ops.mean(-b, (0, 1)) + ops.exp(a).sum()
        return ops.relu(a + b * 2.0 - a / (1.0 + b * b)) + rest

    norm = ops.sqrt(ops.addn([2.0 * ops.L2Loss()(x), 2.0 * ops.L2Loss()(x)]))
    return [*both_ways(mixed, x, drawn(3, 4)), norm, ops.maximum(norm, 1.0), ops.log(ops.abs(x) + 1.0)]


def _updates(precision: str) -> list[Tensor]:
    parameters = [ms.Parameter(drawn(3, 4), name="a"), ms.Parameter(drawn(4), name="b")]
    grads = (drawn(3, 4), drawn(4))
    nn.Momentum(parameters, [0.1, 0.1], momentum=0.9, weight_decay=0.1)(grads)
    nn.SGD(parameters, [0.1, 0.1], momentum=0.9, weight_decay=0.1, nesterov=True)(grads)
    total = ms.Parameter(drawn(4), name="c")
    ops.assign(total, 0.5 * total + drawn(4))
    return [*(parameter.value() for parameter in parameters), total.value()]


CASES: tuple[Case, ...] = (
    ("Conv3D Conv3DBackpropInput Conv3DBackpropFilter", _conv),
    ("MaxPool3D MaxPool3DGrad", _pool),
    ("AvgPool3D", _mean_pool),
    ("BatchNorm BatchNormGrad", _norm),
    ("MatMul BiasAdd BiasAddGrad", _dense),
    ("BatchMatMul", _products),
    ("cross-entropy and soft-max", _loss),
    ("Sort SearchSorted Gather", _order),
    ("Split Concat Reshape Transpose", _shapes),
    ("Cast", _casts),
    ("ReLU Softmax Exp and arithmetic", _arithmetic),
    ("ApplyMomentum SGD Assign", _updates),
)
