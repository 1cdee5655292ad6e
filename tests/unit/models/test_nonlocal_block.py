from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.models.nonlocal_block import NonlocalBlock

PAIRWISE = ["gaussian", "embedded_gaussian", "dot_product", "concatenation"]
SUB_SAMPLE = ["none", "before_conv", "after_conv"]


def clip(channels=8):
    return np.random.default_rng(0).normal(size=(2, channels, 2, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("sub_sample", SUB_SAMPLE)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_a_new_block_is_the_identity(pairwise, sub_sample, train):
    block = NonlocalBlock(8, ModelConfig(pairwise=pairwise, nl_sub_sample=sub_sample))
    block.set_train(train)
    x = clip()
    np.testing.assert_array_equal(block(ms.Tensor(x)).asnumpy(), x)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("settings", "identity"),
    [
        ({"nl_norm": "none", "nl_out_init": "zeros", "nl_out_bias": True}, True),
        ({"nl_norm": "frozen", "nl_out_bias": True}, True),
        ({"nl_zero_gamma": False, "nl_out_init": "zeros"}, True),
        ({"nl_zero_gamma": False}, False),
        ({"nl_norm": "none"}, False),
    ],
)
def test_what_makes_a_new_block_the_identity(settings, identity, train):
    block = NonlocalBlock(8, ModelConfig(nl_init="msra", **settings))
    block.set_train(train)
    x = clip()
    assert np.array_equal(block(ms.Tensor(x)).asnumpy(), x) == identity


@pytest.mark.parametrize("settings", [{}, {"nl_out_bias": True}, {"nl_norm": "frozen"}, {"nl_norm": "none"}])
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_parameter_names(pairwise, settings):
    block = NonlocalBlock(8, ModelConfig(pairwise=pairwise, **settings))
    embedded = {f"{name}.{leaf}" for name in ("theta", "phi") for leaf in ("weight", "bias")}
    expected = {"g.weight", "g.bias", "out.weight"}
    expected |= {"out.bias"} if "nl_out_bias" in settings else set()
    if settings.get("nl_norm") != "none":
        expected |= {f"norm.{leaf}" for leaf in ("gamma", "beta", "moving_mean", "moving_variance")}
    expected |= embedded if pairwise != "gaussian" else set()
    expected |= {"f.weight"} if pairwise == "concatenation" else set()
    assert {param.name for param in block.get_parameters()} == expected


@pytest.mark.parametrize("sub_sample", SUB_SAMPLE)
@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_weights_are_shares_of_key_positions(pairwise, sub_sample):
    block = NonlocalBlock(8, ModelConfig(pairwise=pairwise, nl_sub_sample=sub_sample))
    weights = block.weights(ms.Tensor(clip())).asnumpy()
    assert weights.shape == (2, 40, 40 if sub_sample == "none" else 8)
    if "gaussian" in pairwise:
        np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "sees_deviation", "out_deviation"),
    [
        ({}, 0.01, (2 / 256) ** 0.5),
        ({"nl_out_init": "normal"}, 0.01, 0.01),
        ({"nl_init": "msra"}, (2 / 128) ** 0.5, (2 / 256) ** 0.5),
    ],
)
def test_first_weights(settings, sees_deviation, out_deviation):
    ms.set_seed(0)
    block = NonlocalBlock(256, ModelConfig(pairwise="embedded_gaussian", nl_out_bias=True, **settings))
    for conv in (block.theta, block.phi, block.g):
        assert conv.weight.asnumpy().std() == pytest.approx(sees_deviation, rel=0.05)
        assert not conv.bias.asnumpy().any()
    assert block.out.weight.asnumpy().std() == pytest.approx(out_deviation, rel=0.05)
    assert not block.out.bias.asnumpy().any()
    assert NonlocalBlock(8, ModelConfig()).out.bias is None


def drawn(group_frames=0, **settings):
    """A block that is not the identity."""
    ms.set_seed(1)
    block = NonlocalBlock(8, ModelConfig(nl_init="msra", nl_zero_gamma=False, **settings), group_frames)
    block.set_train(False)
    return block


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_a_group_of_frames_is_a_clip_of_its_own(pairwise):
    x = np.random.default_rng(2).normal(size=(2, 8, 6, 4, 4)).astype(np.float32)
    grouped = drawn(group_frames=2, pairwise=pairwise)(ms.Tensor(x)).asnumpy()
    whole = drawn(pairwise=pairwise)
    alone = [whole(ms.Tensor(x[:, :, t : t + 2].copy())).asnumpy() for t in (0, 2, 4)]
    np.testing.assert_allclose(grouped, np.concatenate(alone, 2), rtol=1e-5, atol=1e-6)
    assert np.abs(grouped - whole(ms.Tensor(x)).asnumpy()).max() > 1e-3


def test_space_is_a_group_of_one_frame_and_time_a_clip_of_one_place():
    x = np.random.default_rng(2).normal(size=(2, 8, 3, 4, 4)).astype(np.float32)
    one_frame = drawn(group_frames=1, pairwise="embedded_gaussian")(ms.Tensor(x)).asnumpy()
    space = drawn(pairwise="embedded_gaussian", nl_axes="space")(ms.Tensor(x)).asnumpy()
    np.testing.assert_array_equal(space, one_frame)
    settings = {"pairwise": "embedded_gaussian", "nl_sub_sample": "none"}
    time = drawn(nl_axes="time", **settings)(ms.Tensor(x)).asnumpy()
    place = drawn(**settings)(ms.Tensor(x[:, :, :, 1:2, 3:4].copy())).asnumpy()
    np.testing.assert_allclose(time[:, :, :, 1:2, 3:4], place, rtol=1e-5, atol=1e-6)


def test_weights_of_groups_lie_along_the_batch():
    x = ms.Tensor(np.ones((2, 8, 6, 4, 4), np.float32))
    assert drawn(group_frames=2).weights(x).shape == (2 * 3, 2 * 16, 2 * 4)
    assert drawn(nl_axes="space").weights(x).shape == (2 * 6, 16, 4)
    assert drawn(nl_axes="time", nl_sub_sample="none").weights(x).shape == (2 * 16, 6, 6)
