"""What every named part of a network gives, beside what another implementation gave: where two networks part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import nn

from nonlocal_core.evaluation import views
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published.pickles import Array


class Difference(NamedTuple):
    """How far apart two activations of one name are."""

    name: str
    relative: float
    """greatest difference over the greatest value; infinite where the shapes differ"""
    shapes: str


def activations(net: I3D, clip_NCTHW: ms.Tensor) -> dict[str, Array]:
    """What each named part gives for a clip, in the order of computing: `stem.conv`, …, `res3.nl1.theta`, …,
    `features`, `logits`.

    A part's output is taken where it leaves the part: that of `stem` and of a block's `a` and `b` before its ReLU.
    Runs outside graph mode.
    """
    made: dict[str, Array] = {}

    def keep(name: str) -> Callable[[nn.Cell, Any, Any], None]:
        def hook(cell: nn.Cell, inputs: Any, output: Any) -> None:
            made[name] = output.asnumpy()

        return hook

    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    handles = [cell.register_forward_hook(keep(name)) for name, cell in net.cells_and_names() if name]
    try:
        logits = net(clip_NCTHW).asnumpy()
    finally:
        for handle in handles:
            handle.remove()
        ms.set_context(mode=mode)
    return {**made, "features": made["res5"].mean((2, 3, 4)), "logits": logits}


def differences(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> list[Difference]:
    """How far apart the activations are that both have, in our order.

    `features` of a whole map are averaged first; `probs` are compared with the softmax of our logits.
    """
    found = []
    for name, array in {**ours, "probs": views.softmax(ours["logits"])}.items():
        if name not in theirs:
            continue
        other = np.asarray(theirs[name], np.float64)
        if name == "features" and other.ndim == 5:
            other = other.mean((2, 3, 4))
        shapes = f"{array.shape} and {other.shape}"
        if array.shape[:2] != other.shape[:2] or array.size != other.size:
            found.append(Difference(name, float("inf"), shapes))
            continue
        apart = np.abs(array - other.reshape(array.shape)).max() / max(np.abs(other).max(), 1e-30)
        found.append(Difference(name, float(apart), shapes))
    return found
