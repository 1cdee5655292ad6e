"""The first I3D (Inception-v1 over time) in PyTorch, for benchmarks/train_step.py to stand beside ours.

Padded as TensorFlow's SAME: where both ends are padded alike, by the convolution itself.
Source: Carreira, Zisserman 2017, figure 3; channels and pools as DeepMind's kinetics-i3d.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

MIXED = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
POOL_BEFORE = {"4b": ((3, 3, 3), (2, 2, 2)), "5b": ((2, 2, 2), (2, 2, 2))}
FEATURES = 1024


def _padding(size: Any, kernel: tuple[int, ...], stride: tuple[int, ...]) -> list[int]:
    """What `functional.pad` takes, from the last axis to the first."""
    sums = [max(k - (s if n % s == 0 else n % s), 0) for n, k, s in zip(size, kernel, stride, strict=True)]
    return [pad for total in reversed(sums) for pad in (total // 2, total - total // 2)]


class Unit(nn.Module):
    """A convolution, its batch norm without scale, and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...] = (1, 1, 1)):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        pad = tuple(k // 2 for k in kernel) if max(stride) == 1 else 0
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, pad, bias=False)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3)
        self.norm.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: (N, outputs, T, H, W), strided."""
        if max(self.stride) > 1:
            x = functional.pad(x, _padding(x.shape[2:], self.kernel, self.stride))
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class Pool(nn.Module):
    """A max pool of numbers that are not negative."""

    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...]):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: that of the input, strided."""
        x = functional.pad(x, _padding(x.shape[2:], self.kernel, self.stride))
        return functional.max_pool3d(x, self.kernel, self.stride)


class Mixed(nn.Module):
    """Four branches over the same input."""

    def __init__(self, inputs: int, channels: tuple[int, ...]):
        super().__init__()
        c0, c1_reduce, c1, c2_reduce, c2, c3 = channels
        one, three = (1, 1, 1), (3, 3, 3)
        self.b0 = Unit(inputs, c0, one)
        self.b1 = nn.Sequential(Unit(inputs, c1_reduce, one), Unit(c1_reduce, c1, three))
        self.b2 = nn.Sequential(Unit(inputs, c2_reduce, one), Unit(c2_reduce, c2, three))
        self.b3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), Unit(inputs, c3, one))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: (N, sum of the branches' channels, T, H, W)."""
        return torch.cat((self.b0(x), self.b1(x), self.b2(x), self.b3(x)), 1)


def network() -> nn.Module:
    """From clips (N, 3, T, H, W) to the map (N, 1024, T / 8, H / 32, W / 32)."""
    rows, one = (1, 3, 3), (1, 2, 2)
    parts: list[nn.Module] = [
        *(Unit(3, 64, (7, 7, 7), (2, 2, 2)), Pool(rows, one), Unit(64, 64, (1, 1, 1)), Unit(64, 192, (3, 3, 3))),
        Pool(rows, one),
    ]
    inputs = 192
    for name, channels in MIXED.items():
        if name in POOL_BEFORE:
            parts.append(Pool(*POOL_BEFORE[name]))
        parts.append(Mixed(inputs, channels))
        inputs = channels[0] + channels[2] + channels[4] + channels[5]
    return nn.Sequential(*parts)
