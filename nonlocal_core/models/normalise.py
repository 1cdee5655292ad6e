"""Normalisation of frames: from bytes to the numbers that the network takes."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import ops

from nonlocal_core.config.model import ModelConfig


def normalise(clip_NCTHW: ms.Tensor, model: ModelConfig) -> ms.Tensor:
    """The clip as the network takes it: float32, minus the mean, divided by the deviation; runs on the device.

    The 256 values of a byte are looked up in a table.  On CPUs, computing them with one mean and one deviation a
    channel would keep 32 bytes for every number of the clip as long as the graph lives.

    Shape:  (N, 3, T, H, W), as the uint8 input.
    """
    channels = ops.split(clip_NCTHW.astype(ms.int32), 1, 1)
    parts: tuple[ms.Tensor, ...] = ()
    for i in range(3):
        parts += (ops.gather(_values(model.input_mean[i], model.input_std[i]), channels[i], 0),)
    return ops.cat(parts, 1)


@ops.constexpr  # type: ignore[untyped-decorator]
def _values(mean: float, std: float) -> ms.Tensor:
    """The table of the value of each byte; MindSpore evaluates this while it compiles."""
    return ms.Tensor((np.arange(256, dtype=np.float32) - np.float32(mean)) / np.float32(std))
