"""A step in parts: gradients are added up over micro batches, and in fp16 looked at, before the weights move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops
from numpy.typing import NDArray

from nonlocal_core.training.collectives import Ranks
from nonlocal_core.training.compiled import Graph
from nonlocal_core.training.loss_scale import LossScale

Step = Callable[[tuple[NDArray[np.generic], ...]], tuple[float, NDArray[np.float32]]]
"""takes the arrays of a step, cut along their first axis, and last the share of mixup, which is one number"""


class Overflow(NamedTuple):
    """What becomes of a step in fp16 whose gradients overflow."""

    scale: LossScale
    ranks: Ranks


class Sums(NamedTuple):
    """The graphs that add gradients up and use them."""

    add: Graph
    finish: Graph
    norm: Graph
    clear: Graph


def make_sums(
    gradients: Callable[..., Any],
    update: Callable[[Any], Tensor],
    parameters: ms.ParameterTuple,
    identity: tuple[object, ...],
) -> Sums:
    """The graphs of these gradients and this update; each is compiled when it is first run."""
    sums = ms.ParameterTuple(
        [ms.Parameter(ops.zeros_like(parameter), name=f"sum.{parameter.name}") for parameter in parameters]
    )

    def add(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        """Add gradients to the sums.

        The first argument is 0 for the first part, which starts new sums, else 1; the second the part's share.
        """
        (loss, logits_NK), grads = gradients(*arguments[2:])
        for total, grad in zip(sums, grads):  # noqa: B905 (graphs know no strict)
            ops.assign(total, arguments[0] * total + grad * arguments[1])
        return loss, logits_NK

    def finish() -> Tensor:
        return update(sums)

    def norm() -> Tensor:
        return ops.sqrt(ops.addn(ops.HyperMap()(_square_sum, sums)))

    def clear() -> bool:
        for total in sums:
            ops.assign(total, ops.zeros_like(total))
        return True

    return Sums(
        Graph(add, "the training step", *identity),
        Graph(finish, "the update of the weights", *identity),
        Graph(norm, "the norm of the gradients", *identity),
        Graph(clear, "what follows an overflow", *identity),
    )


def accumulating(sums: Sums, num_parts: int, overflow: Overflow | None = None) -> Step:
    """A function that takes a step in equal parts of its batch; in fp16 with what becomes of an overflow."""

    def take_step(step_inputs: tuple[NDArray[np.generic], ...]) -> tuple[float, NDArray[np.float32]]:
        *arrays, share = step_inputs
        scale = np.float32(overflow.scale.factor) if overflow else np.float32(1.0)
        ends = (share, scale) if overflow else (share,)
        losses, logits = [], []
        for number, part in enumerate(zip(*(np.split(array, num_parts) for array in arrays), strict=True)):
            begins = np.float32(number > 0), np.float32(1.0 / (scale * num_parts))
            loss, logits_NK = sums.add.run(*(Tensor(array) for array in (*begins, *part, *ends)))
            losses.append(float(loss.asnumpy()) / float(scale))
            logits.append(logits_NK.asnumpy())
        if overflow is None or overflow.scale.follow(*overflow.ranks.mean(float(sums.norm.run().asnumpy()))):
            sums.finish.run()
        else:
            sums.clear.run()  # zero times infinity is no number
        return float(np.mean(losses)), np.concatenate(logits)

    return take_step


def clipped(grads: Any, limit: float) -> Any:
    """The gradients, scaled down where the norm of all of them together exceeds a limit.

    On CPUs a division keeps 16 bytes for every number that it divides; a product with one number keeps none.
    """
    map_all = ops.HyperMap()
    norm = ops.sqrt(ops.addn(map_all(_square_sum, grads)))
    return map_all(ops.partial(ops.mul, limit / ops.maximum(norm, limit)), grads)


def _square_sum(grad: Tensor) -> Tensor:
    return 2.0 * ops.L2Loss()(grad)
