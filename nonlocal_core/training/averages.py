"""The moving average of weights and BN statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mindspore as ms
from mindspore import Tensor, ops

from nonlocal_core.models.i3d import I3D
from nonlocal_core.training.compiled import Graph


class Average(NamedTuple):
    """The moving average of all weights and BN statistics, and a function that updates it after a step."""

    parameters: tuple[ms.Parameter, ...]
    """named `ema.NAME`, in the order of the network's; empty if no average is kept"""
    take: Callable[[int], None]
    """its argument: the number of steps before this one"""


def make_average(net: I3D, decay: float) -> Average:
    """The moving average of a network's weights, which starts with their present values.

    In the first steps the decay is at most (1 + step) / (10 + step), so that the first weights fade quickly.
    """
    if not decay:
        return Average((), lambda step: None)
    live = list(net.get_parameters())
    means = ms.ParameterTuple([ms.Parameter(p.value().copy(), name=f"ema.{p.name}") for p in live])

    def follow(keep: Tensor) -> Tensor:
        for mean, parameter in zip(means, live):  # noqa: B905
            ops.assign(mean, keep * mean + (1.0 - keep) * parameter)
        return keep

    average = Graph(follow, "the average of the weights", net.model)

    def take(step: int) -> None:
        average.run(Tensor(min(decay, (1 + step) / (10 + step)), ms.float32))

    return Average(tuple(means), take)
