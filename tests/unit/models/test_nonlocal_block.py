from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.model_section import ModelConfig
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


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_parameter_names(pairwise):
    block = NonlocalBlock(8, ModelConfig(pairwise=pairwise))
    embedded = {f"{name}.{leaf}" for name in ("theta", "phi") for leaf in ("weight", "bias")}
    expected = {"g.weight", "g.bias", "out.weight"}
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


def test_embeddings_start_small_and_unbiased():
    ms.set_seed(0)
    block = NonlocalBlock(256, ModelConfig(pairwise="embedded_gaussian"))
    for conv in (block.theta, block.phi, block.g):
        assert conv.weight.asnumpy().std() == pytest.approx(0.01, rel=0.05)
        assert not conv.bias.asnumpy().any()
    assert block.out.weight.asnumpy().std() == pytest.approx((2 / 256) ** 0.5, rel=0.05)
    assert block.out.bias is None
