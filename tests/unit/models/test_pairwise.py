"""The shorter ways to a response against the plain formulas and their gradients, written out in NumPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.models import pairwise
from nonlocal_core.models.pairwise import Response

KINDS = ["embedded_gaussian", "dot_product", "concatenation"]
SHAPES = [  # N, P, Q, C; MindSpore rounds a scale to float32, so C are squares
    pytest.param((1, 6, 5, 4), id="small"),
    pytest.param((2, 37, 11, 4), id="last block shorter"),
    pytest.param((2, 9, 1, 4), id="one key"),
    pytest.param((1, 1, 7, 4), id="one query"),
    pytest.param((2, 5, 63, 16), id="sums end with a product"),
    pytest.param((2, 40, 150, 9), id="sums of three products"),
    pytest.param((1, 33, 64, 256), id="many channels"),
]


def plain(kind, scale, theta, phi, g, dy, f):
    """y and the gradients of theta, phi, g and f where dy is that of y, positions along the last axis."""
    theta, g, dy = (x.swapaxes(1, 2) for x in (theta, g, dy))
    Q, C = phi.shape[2], phi.shape[1]
    root = C**0.5 if scale else 1.0
    if kind == "concatenation":
        f = f / root
        pair = (theta @ f[0, :C])[:, :, None] + (f[0, C:] @ phi)[:, None, :]
        weights = np.maximum(pair, 0) / Q
        dpair = (pair > 0) * (dy @ g.swapaxes(1, 2)) / Q
        da, db = dpair.sum(2), dpair.sum(1)
        dtheta, dphi = da[:, :, None] * f[0, :C], f[0, C:, None] * db[:, None, :]
        df = np.concatenate([np.einsum("np,npc->c", da, theta), np.einsum("nq,ncq->c", db, phi)])[None] / root
    else:
        scores, dweights = theta @ phi / root, dy @ g.swapaxes(1, 2)
        if kind == "dot_product":
            weights, dscores = scores / Q, dweights / Q
        else:
            weights = np.exp(scores - scores.max(2, keepdims=True))
            weights /= weights.sum(2, keepdims=True)
            dscores = weights * (dweights - (weights * dweights).sum(2, keepdims=True))
        dtheta, dphi = dscores @ phi.swapaxes(1, 2) / root, theta.swapaxes(1, 2) @ dscores / root
        df = None
    y, dg = weights @ g, weights.swapaxes(1, 2) @ dy
    return y.swapaxes(1, 2), dtheta.swapaxes(1, 2), dphi, dg.swapaxes(1, 2), df


def drawn(shape, kind, scale, dtype, numbers="normal"):
    """A response and theta, phi, g and dy, in `dtype`; the concatenation's f too."""
    N, P, Q, C = shape
    rng = np.random.default_rng(0)
    if numbers == "normal":
        theta, phi, g, dy = (rng.normal(size=size) for size in ((N, C, P), (N, C, Q), (N, C, Q), (N, C, P)))
        f = rng.normal(size=(1, 2 * C))
    else:  # small whole numbers: many pairs are equal, and many are 0
        theta, phi, g, dy = (
            rng.integers(-2, 3, size).astype(float) for size in ((N, C, P), (N, C, Q), (N, C, Q), (N, C, P))
        )
        f = rng.integers(-1, 2, (1, 2 * C)).astype(float)
    response = Response(kind, C, scale)
    if kind == "concatenation":
        response.f.weight.set_dtype(ms.float64 if dtype == np.float64 else ms.float32)
        response.f.weight.set_data(ms.Tensor(f.astype(dtype)))
    return response, tuple(x.astype(dtype) for x in (theta, phi, g, dy)), f.astype(dtype)


def differentiated(response, inputs, jit):
    """y and the gradients of theta, phi, g and, for the concatenation, f."""
    weights = response.trainable_params()

    def loss(theta, phi, g, dy):
        y = response(theta, phi, g)
        return (y * dy).sum(), y

    both = ms.value_and_grad(loss, (0, 1, 2), weights or None, has_aux=True)
    (_, y), found = (ms.jit(both) if jit else both)(*map(ms.Tensor, inputs))
    found = (*found[0], *found[1]) if weights else found
    return [x.asnumpy() for x in (y, *found)]


def assert_as_plain(shape, kind, scale, dtype, tolerance, numbers="normal", jit=True):
    response, inputs, f = drawn(shape, kind, scale, dtype, numbers)
    found = differentiated(response, inputs, jit)
    expected = plain(kind, scale, *(x.astype(np.float64) for x in [*inputs, f]))
    for name, ours, theirs in zip(("y", "theta", "phi", "g", "f"), found, expected, strict=False):
        assert ours.dtype == dtype
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=tolerance * max(np.abs(theirs).max(), 1.0), err_msg=name
        )
    weights = response.weights(*map(ms.Tensor, inputs[:2])).asnumpy()
    y = inputs[2] @ weights.swapaxes(1, 2)
    np.testing.assert_allclose(y, expected[0], rtol=tolerance, atol=20 * tolerance)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK_WEIGHTS", 100)
    monkeypatch.setattr(pairwise, "MAX_BLOCKS", 3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_function_and_gradients_are_the_plain_ones(kind, shape, small_blocks):
    assert_as_plain(shape, kind, True, np.float64, 1e-10)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind, jit, small_blocks):
    assert_as_plain((2, 70, 150, 20), kind, True, np.float32, 3e-6, jit=jit)


@pytest.mark.parametrize("queries", [20, 23])
def test_one_block_forward_and_two_for_the_gradient_or_queries_that_no_block_divides(queries, monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK_WEIGHTS", queries * 30 - 100)
    assert_as_plain((1, queries, 30, 9), "embedded_gaussian", True, np.float64, 1e-10)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_scale(kind, scale, small_blocks):
    assert_as_plain((1, 20, 30, 9), kind, scale, np.float64, 1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_and_zero_pairs(shape):
    """Where a_i + b_j is 0 the ReLU passes no gradient, and the order of equal keys does not matter."""
    assert_as_plain(shape, "concatenation", False, np.float64, 1e-10, numbers="whole", jit=False)


def resident_mib(field):
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


def print_peaks():
    """Of each kind in turn, what a step holds at most above what the process held before."""
    P, C = 6144, 8
    inputs = [ms.Tensor(np.ones(shape, np.float32)) for shape in [(1, C, P)] * 4]
    for kind in ("dot_product", "concatenation", "embedded_gaussian"):
        before = resident_mib("VmRSS")
        differentiated(Response(kind, C, False), [x.asnumpy() for x in inputs], jit=True)
        print(kind, resident_mib("VmHWM") - before)


def test_the_weights_are_never_held_as_a_whole():
    """The plain formula and its gradient hold some four times the weights, of 144 MiB here, at a time."""
    done = subprocess.run(
        [sys.executable, "-c", "import nonlocal_core, test_pairwise; test_pairwise.print_peaks()"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    peaks = {kind: float(mib) for kind, mib in map(str.split, done.stdout.splitlines())}
    assert max(peaks.values()) < 144, peaks
