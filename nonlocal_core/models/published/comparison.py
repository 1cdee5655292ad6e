"""The activations of a network's parts compared with another implementation's, to find where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import nn

from nonlocal_core.evaluation import views
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published.pickled import Array


class Difference(NamedTuple):
    """The difference of two activations of one name."""

    name: str
    relative: float
    """greatest difference over the greatest value; infinite where the shapes differ"""
    shapes: str


def activations(net: I3D, clip_NCTHW: ms.Tensor) -> dict[str, Array]:
    """The output of each named part for a clip, in the order of computing: `stem.conv`, …, `res3.nl1.theta`, …,
    `features`, `logits`.

    The outputs of `stem` and of a block's `a` and `b` are those before the ReLU.  Runs outside graph mode.
    """
    outputs: dict[str, Array] = {}

    def keep(name: str) -> Callable[[nn.Cell, Any, Any], None]:
        def hook(cell: nn.Cell, inputs: Any, output: Any) -> None:
            outputs[name] = output.asnumpy()

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
    return {**outputs, "features": net.pooled(ms.Tensor(outputs["res5"])).asnumpy(), "logits": logits}


def differences(network_outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> list[Difference]:
    """The differences of the activations that the network and a reference both have, in the network's order.

    `features` of a whole map are averaged first; `probs` are compared with the softmax of the network's logits.
    """
    differences = []
    for name, array in {**network_outputs, "probs": views.softmax(network_outputs["logits"])}.items():
        if name not in reference:
            continue
        other = np.asarray(reference[name], np.float64)
        if name == "features" and other.ndim == 5:
            other = other.mean((2, 3, 4))
        shapes = f"{array.shape} and {other.shape}"
        if array.shape[:2] != other.shape[:2] or array.size != other.size:
            differences.append(Difference(name, float("inf"), shapes))
            continue
        apart = np.abs(array - other.reshape(array.shape)).max() / max(np.abs(other).max(), 1e-30)
        differences.append(Difference(name, float(apart), shapes))
    return differences
