"""The non-local block against the paper's equations, written out pair by pair in float64."""

from __future__ import annotations

import math
from itertools import product

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.models.nonlocal_block import NonlocalBlock

PAIRWISE = ["gaussian", "embedded_gaussian", "dot_product", "concatenation"]
SUB_SAMPLE = ["none", "before_conv", "after_conv"]


def everywhere(position, window):
    return True


def same_frame(position, window):
    return position[0] == window[0][0]


def same_place(position, window):
    return position[1:] == window[0][1:]


def same_pair_of_frames(position, window):
    return position[0] // 2 == window[0][0] // 2


def paper_block(x, param, pairwise, sub_sample, scale, sees=everywhere):
    """(z, f over its normaliser) of equations 1 to 6; `param` holds float64 arrays by our names.

    `sees(position, window)` says which keys a position compares itself with.
    """
    num, _, frames, height, width = x.shape
    positions = list(product(range(frames), range(height), range(width)))
    windows = [[position] for position in positions]
    if sub_sample != "none":
        windows = [
            [(t, 2 * h + dh, 2 * w + dw) for dh in (0, 1) for dw in (0, 1)]
            for t, h, w in product(range(frames), range(height // 2), range(width // 2))
        ]

    def embed(name, vector):
        if pairwise == "gaussian" and name != "g":
            return vector
        weight = param[f"{name}.weight"]
        return weight.reshape(weight.shape[:2]) @ vector + param[f"{name}.bias"]

    def pooled(name, n, window):
        inputs = [x[n, :, t, h, w] for t, h, w in window]
        if sub_sample == "before_conv":
            return embed(name, np.max(inputs, axis=0))
        return np.max([embed(name, vector) for vector in inputs], axis=0)

    z = np.empty_like(x)
    shares = np.zeros((num, len(positions), len(windows)))
    for n in range(num):
        all_phi = [pooled("phi", n, window) for window in windows]
        all_g = [pooled("g", n, window) for window in windows]
        for i, position in enumerate(positions):
            theta = embed("theta", x[n, :, position[0], position[1], position[2]])
            seen = [j for j, window in enumerate(windows) if sees(position, window)]
            phi, g = [all_phi[j] for j in seen], [all_g[j] for j in seen]
            root = math.sqrt(len(theta)) if scale else 1.0
            if pairwise in ("gaussian", "embedded_gaussian"):
                f = [math.exp(sum(theta * phi_j) / root) for phi_j in phi]
                normaliser = sum(f)
            elif pairwise == "dot_product":
                f = [sum(theta * phi_j) / root for phi_j in phi]
                normaliser = len(seen)
            else:
                weight = param["f.weight"][0] / root
                f = [max(0.0, float(weight @ np.concatenate([theta, phi_j]))) for phi_j in phi]
                normaliser = len(seen)
            shares[n, i, seen] = np.array(f) / normaliser
            y = sum(f_j * g_j for f_j, g_j in zip(f, g, strict=True)) / normaliser
            out = param["out.weight"].reshape(param["out.weight"].shape[:2]) @ y
            out = out + param.get("out.bias", 0.0)
            if "norm.gamma" in param:
                out = (out - param["norm.moving_mean"]) / np.sqrt(param["norm.moving_variance"] + 1e-5)
                out = param["norm.gamma"] * out + param["norm.beta"]
            at = (n, slice(None), *position)
            z[at] = out + x[at]
    return z, shares


def drawn_block(channels, seed=0, group_frames=0, **settings):
    """A block whose every parameter, the batch norm's too, is drawn so that it matters."""
    rng = np.random.default_rng(seed)
    block = NonlocalBlock(channels, ModelConfig(**settings), group_frames)
    for param in block.get_parameters():
        value = rng.normal(0.0, channels**-0.5, param.shape)
        if param.name in ("norm.gamma", "norm.moving_variance"):
            value = rng.uniform(0.5, 2.0, param.shape)
        param.set_data(ms.Tensor(value.astype(np.float32)))
    block.set_train(False)
    return block


def drawn_clip(channels, seed=1, frames=2):
    return np.random.default_rng(seed).normal(size=(2, channels, frames, 5, 4)).astype(np.float32)


def expected_of(block, x, pairwise, sub_sample, scale=False, sees=everywhere):
    """What the equations give for a block's own parameters."""
    param = {p.name: p.asnumpy().astype(np.float64) for p in block.get_parameters()}
    z, shares = paper_block(x.astype(np.float64), param, pairwise, sub_sample, scale, sees)
    assert np.abs(z - x).max() > 0.5  # the block matters
    return z, shares


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("sub_sample", SUB_SAMPLE)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_block_is_the_papers(pairwise, sub_sample, scale):
    block = drawn_block(8, pairwise=pairwise, nl_sub_sample=sub_sample, nl_scale=scale)
    x = drawn_clip(8)
    z, shares = expected_of(block, x, pairwise, sub_sample, scale)
    np.testing.assert_allclose(block(ms.Tensor(x)).asnumpy(), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(block.weights(ms.Tensor(x)).asnumpy(), shares, rtol=1e-5, atol=1e-6)


def test_pooling_before_and_after_the_convolutions_differ():
    """Their parameters have the same names and shapes, so nothing else would tell that the wrong one was built."""
    x = drawn_clip(8)
    before, after = (
        drawn_block(8, pairwise="embedded_gaussian", nl_sub_sample=order)(ms.Tensor(x)).asnumpy()
        for order in ("before_conv", "after_conv")
    )
    assert np.abs(before - after).max() > 0.05


of_each_part = pytest.mark.parametrize(
    ("axes", "group_frames", "sub_sample", "sees"),
    [
        ("space", 0, "none", same_frame),
        ("space", 0, "before_conv", same_frame),
        ("time", 0, "none", same_place),
        ("spacetime", 2, "after_conv", same_pair_of_frames),
        ("time", 2, "none", lambda i, j: same_place(i, j) and same_pair_of_frames(i, j)),
    ],
)


@of_each_part
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_a_position_sees_only_its_frame_place_or_group(pairwise, axes, group_frames, sub_sample, sees):
    settings = {"pairwise": pairwise, "nl_axes": axes, "nl_sub_sample": sub_sample}
    block = drawn_block(8, group_frames=group_frames, **settings)
    x = drawn_clip(8, frames=4)
    z, _ = expected_of(block, x, pairwise, sub_sample, sees=sees)
    np.testing.assert_allclose(block(ms.Tensor(x)).asnumpy(), z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
def test_bias_of_out_and_each_norm(norm):
    block = drawn_block(8, nl_out_bias=True, nl_norm=norm)
    x = drawn_clip(8)
    z, _ = expected_of(block, x, "dot_product", "after_conv")
    np.testing.assert_allclose(block(ms.Tensor(x)).asnumpy(), z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 128])
def test_dot_product_in_both_orders(channels):
    positions, keys, inner = 40, 8, channels // 2
    assert ((positions + keys) * inner < 2 * positions * keys) == (channels == 8)
    block = drawn_block(channels, pairwise="dot_product")
    x = drawn_clip(channels)
    z, _ = expected_of(block, x, "dot_product", "after_conv")
    np.testing.assert_allclose(block(ms.Tensor(x)).asnumpy(), z, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_compiled_block_and_its_gradient(pairwise):
    """A compiled graph gives what single operations give, and every parameter learns."""
    block = drawn_block(8, pairwise=pairwise, nl_scale=True)
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
