"""The forms of a convolution against MindSpore's own, and that none falls to oneDNN's reference code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from nonlocal_core.models import convolution, stem
from nonlocal_core.models.convolution import Convolution
from nonlocal_core.models.stem import StemProduct

ONE, HALF = (1, 1, 1), (1, 2, 2)
CASES = [  # kernel, stride, frames, rows, columns
    ((1, 1, 1), ONE, 4, 5, 6),
    ((1, 1, 1), HALF, 4, 5, 6),
    ((3, 1, 1), ONE, 4, 5, 6),
    ((3, 1, 1), ONE, 1, 5, 6),
    ((5, 1, 1), ONE, 2, 5, 6),
    ((1, 3, 3), ONE, 4, 5, 6),
    ((1, 3, 3), HALF, 4, 6, 5),
    ((1, 3, 3), HALF, 4, 5, 6),
    ((3, 3, 3), ONE, 4, 5, 6),
    ((3, 3, 3), HALF, 3, 7, 7),
    ((3, 3, 3), (2, 2, 2), 5, 6, 3),
    ((1, 7, 7), HALF, 4, 9, 8),
    ((3, 7, 7), HALF, 2, 7, 7),
    ((5, 7, 7), HALF, 4, 10, 13),
    ((5, 7, 7), (2, 2, 2), 5, 9, 8),
    ((5, 7, 7), (4, 2, 2), 1, 8, 9),
]


class Weighed(nn.Cell):
    """A number whose gradient is known: the outputs times some weights."""

    def __init__(self, product):
        super().__init__()
        self.product = product

    def construct(self, x, weight, dy):
        return (self.product(x, weight) * dy).sum()


@pytest.mark.parametrize("parts", ["whole", "parts"])
@pytest.mark.parametrize(("kernel", "stride", "frames", "rows", "columns"), CASES)
def test_function_and_gradients_are_the_convolutions(monkeypatch, kernel, stride, frames, rows, columns, parts):
    if parts == "parts":
        monkeypatch.setattr(convolution, "MAX_COLUMNS", 500)
        monkeypatch.setattr(stem, "MAX_COLUMNS", 500)
        monkeypatch.setattr(stem, "MAX_UNFOLDED", 500)
        monkeypatch.setattr(stem, "MAX_SUM", 200)
    rng = np.random.default_rng(0)
    ours = Convolution(3, 4, kernel, stride)
    pad = tuple(k // 2 for k in kernel for _ in range(2))
    theirs = ops.Conv3D(4, kernel, pad_mode="pad", pad=pad, stride=stride)
    x = ms.Tensor(rng.normal(size=(2, 3, frames, rows, columns)).astype(np.float32))
    y = theirs(x, ours.weight)
    dy = ms.Tensor(rng.normal(size=y.shape).astype(np.float32))
    np.testing.assert_allclose(ours(x).asnumpy(), y.asnumpy(), rtol=1e-5, atol=1e-5)
    found = ms.jit(ms.grad(Weighed(ours.product), (0, 1)))(x, ours.weight, dy)
    expected = ms.grad(Weighed(theirs), (0, 1))(x, ours.weight, dy)
    for ours_, theirs_ in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours_.asnumpy(), theirs_.asnumpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("parts", ["whole", "parts"])
@pytest.mark.parametrize(("frames", "rows", "columns"), [(8, 12, 14), (7, 9, 11), (1, 2, 13), (5, 8, 9)])
def test_the_padding_of_tensorflow(monkeypatch, frames, rows, columns, parts):
    """Function and gradient of a stem that is padded as SAME, against padding by hand."""
    if parts == "parts":
        monkeypatch.setattr(stem, "MAX_COLUMNS", 500)
        monkeypatch.setattr(stem, "MAX_UNFOLDED", 500)
    rng, size = np.random.default_rng(0), (frames, rows, columns)
    ours = Convolution(3, 4, (7, 7, 7), (2, 2, 2), same=True)
    total = [max((-(-n // 2) - 1) * 2 + 7 - n, 0) for n in size]
    x = rng.normal(size=(2, 3, *size)).astype(np.float32)
    padded = ms.Tensor(np.pad(x, ((0, 0), (0, 0), *((n // 2, n - n // 2) for n in total))))
    theirs = ops.Conv3D(4, (7, 7, 7), pad_mode="valid", stride=(2, 2, 2))
    y = theirs(padded, ours.weight)
    for product in (ours.product, ours.operator):
        np.testing.assert_allclose(product(ms.Tensor(x), ours.weight).asnumpy(), y.asnumpy(), rtol=1e-5, atol=1e-5)
    dy = ms.Tensor(rng.normal(size=y.shape).astype(np.float32))
    found = ms.jit(ms.grad(Weighed(ours.product), 1))(ms.Tensor(x), ours.weight, dy)
    expected = ms.grad(Weighed(theirs), 1)(padded, ours.weight, dy)
    np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=1e-5, atol=1e-4)


def test_the_stem_adds_one_product_after_the_other():
    """In the order frame, row, column, channel, rounded each time, as PyTorch does with AVX-512."""
    if "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("on this CPU the products add in another order")
    rng = np.random.default_rng(0)
    x_NCTHW = rng.normal(size=(2, 3, 4, 24, 32)).astype(np.float32)
    weight_DCFHW = rng.normal(size=(8, 3, 5, 7, 7)).astype(np.float32)
    padded = np.pad(x_NCTHW, ((0, 0), (0, 0), (2, 2), (3, 3), (3, 3))).astype(np.float64)
    view: Any = np.lib.stride_tricks.sliding_window_view  # its types know one axis only
    windows = view(padded, (5, 7, 7), (2, 3, 4))[:, :, ::2, ::2, ::2]
    expected = np.zeros((2, 8, 2, 12, 16), np.float32)
    for frame, row, column, channel in np.ndindex(5, 7, 7, 3):
        weight_D111 = weight_DCFHW[:, channel, frame, row, column].reshape(8, 1, 1, 1).astype(np.float64)
        product = windows[:, None, channel, ..., frame, row, column] * weight_D111  # exact
        expected = (expected + product).astype(np.float32)
    found = StemProduct(3, 8, (5, 7, 7), (2, 2, 2))(ms.Tensor(x_NCTHW), ms.Tensor(weight_DCFHW)).asnumpy()
    assert np.mean(found == expected) > 0.999  # the sum in float64 here rounds twice


STEP = """
import numpy as np
from nonlocal_core.config.tree import resolve
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models import device
from nonlocal_core.training import optimizers
from nonlocal_core.training.step import Inputs
from nonlocal_core.training.step import make_step
config = resolve("tiny", {"runtime.device": "CPU"})
device.use(config.runtime)
net = I3D(config.model, 4)
step = make_step(net, optimizers.make_optimizer(net, np.full(2, 0.01, np.float32), config.train), config.train)
clip = np.zeros((2, 3, 8, 56, 56), np.uint8)
keep = np.ones((2, config.model.num_features), np.float32)
step(Inputs(clip, np.arange(2, dtype=np.int32), keep, np.arange(2, dtype=np.int32), np.array(1, np.float32)))
"""


def test_no_kernel_of_a_training_step_is_reference_code():
    done = subprocess.run(
        [sys.executable, "-c", STEP],
        env={**os.environ, "ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    kernels = [line.split(",") for line in done.stdout.splitlines() if ",primitive,exec,cpu," in line]
    assert {kernel[5] for kernel in kernels} >= {"convolution", "matmul", "batch_normalization"}
    assert [kernel[5:8] for kernel in kernels if kernel[6].endswith("ref:any")] == []
