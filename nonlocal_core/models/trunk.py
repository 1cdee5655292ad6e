"""A network cut in two: the trunk, which does not learn, and the rest, which learns from the trunk's maps.

Shapes: N batch, C channels, T frames, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable

from mindspore import Tensor, ops

from nonlocal_core.models import checkpoint, parts
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise

Forward = Callable[[Tensor], Tensor]


def trunk(net: I3D, last: str) -> Forward:
    """The parts of a network up to `last`, as a function from uint8 clips to its map; of res5 its pooled features.

    Shape:  (N, C, T, H, W), or (N, C) of res5, of (N, 3, T, H, W).
    """

    def forward(clip_NCTHW: Tensor) -> Tensor:
        x = ops.relu(net.stem(normalise(clip_NCTHW, net.model)))
        if last == "stem":
            return x
        x = net.res2(net.pool1(x))
        if last == "res2":
            return x
        x = net.res3(net.pool2(x))
        if last == "res3":
            return x
        x = net.res4(x)
        return x if last == "res4" else net.pooled(net.res5(x))

    return forward


def features(net: I3D, last: str = "") -> Forward:
    """The pooled features of a network, as a function of uint8 clips, or of what the trunk up to `last` gives.

    Shape:  (N, C) of (N, 3, T, H, W), or of what `trunk` gives.
    """

    def whole(clip_NCTHW: Tensor) -> Tensor:
        return net.features(normalise(clip_NCTHW, net.model))

    def rest(x: Tensor) -> Tensor:
        if last == "stem":
            x = net.res2(net.pool1(x))
        if last in ("stem", "res2"):
            x = net.res3(net.pool2(x))
        if last in ("stem", "res2", "res3"):
            x = net.res4(x)
        return x if last == "res5" else net.pooled(net.res5(x))

    return rest if last else whole


def digest(net: I3D, last: str) -> str:
    """A digest of the weights and statistics of the trunk."""
    return parts.trunk_digest(checkpoint.weights_of_network(net), last)
