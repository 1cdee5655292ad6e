"""The non-local block against the paper's equations, written out pair by pair in float64."""

from __future__ import annotations

import math
from itertools import product

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.model_section import ModelConfig
from nonlocal_core.models.nonlocal_block import NonlocalBlock

PAIRWISE = ["gaussian", "embedded_gaussian", "dot_product", "concatenation"]


def paper_block(x, param, pairwise, sub_sample, scale):
    """(z, f over its normaliser) of equations 1 to 6; `param` holds float64 arrays by our names."""
    num, _, frames, height, width = x.shape
    positions = list(product(range(frames), range(height), range(width)))
    windows = [[position] for position in positions]
    if sub_sample:
        windows = [
            [(t, 2 * h + dh, 2 * w + dw) for dh in (0, 1) for dw in (0, 1)]
            for t, h, w in product(range(frames), range(height // 2), range(width // 2))
        ]

    def embed(name, n, position):
        vector = x[(n, slice(None), *position)]
        if pairwise == "gaussian" and name != "g":
            return vector
        weight = param[f"{name}.weight"]
        return weight.reshape(weight.shape[:2]) @ vector + param[f"{name}.bias"]

    def pooled(name, n, window):
        return np.max([embed(name, n, position) for position in window], axis=0)

    z = np.empty_like(x)
    shares = np.empty((num, len(positions), len(windows)))
    for n in range(num):
        phi = [pooled("phi", n, window) for window in windows]
        g = [pooled("g", n, window) for window in windows]
        for i, position in enumerate(positions):
            theta = embed("theta", n, position)
            if pairwise in ("gaussian", "embedded_gaussian"):
                root = math.sqrt(len(theta)) if scale else 1.0
                f = [math.exp(sum(theta * phi_j) / root) for phi_j in phi]
                normaliser = sum(f)
            elif pairwise == "dot_product":
                f = [sum(theta * phi_j) for phi_j in phi]
                normaliser = len(windows)
            else:
                f = [max(0.0, float(param["f.weight"][0] @ np.concatenate([theta, phi_j]))) for phi_j in phi]
                normaliser = len(windows)
            shares[n, i] = np.array(f) / normaliser
            y = sum(f_j * g_j for f_j, g_j in zip(f, g, strict=True)) / normaliser
            out = param["out.weight"].reshape(param["out.weight"].shape[:2]) @ y
            out = (out - param["norm.moving_mean"]) / np.sqrt(param["norm.moving_variance"] + 1e-5)
            at = (n, slice(None), *position)
            z[at] = param["norm.gamma"] * out + param["norm.beta"] + x[at]
    return z, shares


def drawn_block(channels, pairwise, sub_sample, scale, seed=0):
    """A block whose every parameter, the batch norm's too, is drawn so that it matters."""
    rng = np.random.default_rng(seed)
    sub_sample = "after_conv" if sub_sample else "none"
    block = NonlocalBlock(channels, ModelConfig(pairwise=pairwise, nl_sub_sample=sub_sample, nl_scale=scale))
    for param in block.get_parameters():
        value = rng.normal(0.0, channels**-0.5, param.shape)
        if param.name in ("norm.gamma", "norm.moving_variance"):
            value = rng.uniform(0.5, 2.0, param.shape)
        param.set_data(ms.Tensor(value.astype(np.float32)))
    block.set_train(False)
    return block


def drawn_clip(channels, seed=1):
    return np.random.default_rng(seed).normal(size=(2, channels, 2, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("sub_sample", [False, True])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_is_the_papers(pairwise, sub_sample, scale):
    block = drawn_block(8, pairwise, sub_sample, scale)
    x = drawn_clip(8)
    param = {p.name: p.asnumpy().astype(np.float64) for p in block.get_parameters()}
    z, shares = paper_block(x.astype(np.float64), param, pairwise, sub_sample, scale)
    assert np.abs(z - x).max() > 0.5  # the block matters
    np.testing.assert_allclose(block(ms.Tensor(x)).asnumpy(), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(block.weights(ms.Tensor(x)).asnumpy(), shares, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [8, 128])
def test_dot_product_in_both_orders(channels):
    positions, keys, inner = 40, 8, channels // 2
    assert ((positions + keys) * inner < 2 * positions * keys) == (channels == 8)
    block = drawn_block(channels, "dot_product", True, False)
    x = drawn_clip(channels)
    param = {p.name: p.asnumpy().astype(np.float64) for p in block.get_parameters()}
    z, _ = paper_block(x.astype(np.float64), param, "dot_product", True, False)
    np.testing.assert_allclose(block(ms.Tensor(x)).asnumpy(), z, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_compiled_block_and_its_gradient(pairwise):
    """A compiled graph gives what single operations give, and every parameter learns."""
    block = drawn_block(8, pairwise, True, True)
    x = ms.Tensor(drawn_clip(8))
    expected = block(x).asnumpy()
    params = block.trainable_params()

    def loss(clip):
        z = block(clip)
        return (z * z).sum(), z

    (_, z), gradients = ms.jit(ms.value_and_grad(loss, None, params, has_aux=True))(x)
    np.testing.assert_allclose(z.asnumpy(), expected, rtol=1e-5, atol=1e-5)
    for param, gradient in zip(params, gradients, strict=True):
        assert np.isfinite(gradient.asnumpy()).all(), param.name
        # A shift of theta, the same for all keys, and of phi under softmax cancel: those biases may rest.
        if not param.name.endswith("phi.bias"):
            assert np.abs(gradient.asnumpy()).max() > 1e-4, param.name
