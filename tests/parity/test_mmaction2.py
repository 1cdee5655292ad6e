"""The whole network against mmaction2, from the checkpoints that it saved."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.models.weights import load_published

FIXTURES = Path(__file__).parent / "fixtures"
# With embedded_gaussian, what mmaction2 computed in float32 is itself 2.0e-4 from what it computes in float64, by
# the rounding of its first convolution alone: see the fixtures' README.
TOLERANCES = {"none": 1e-4, "dot_product": 1e-4, "embedded_gaussian": 4e-4}


def apart(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", TOLERANCES)
def test_logits_are_mmaction2s(name):
    switches = {} if name == "none" else {"pairwise": name}
    net = load_published(FIXTURES / f"mmaction2_i3d_r50w8_{name}.pth", "mmaction2", **switches)
    theirs = np.load(FIXTURES / f"mmaction2_i3d_r50w8_{name}.npz")
    clip = ms.Tensor(np.load(FIXTURES / "clip.npz")["clip"])
    features_NC = net.features(clip)
    logits_NK = net.classify(features_NC).asnumpy()
    assert apart(features_NC.asnumpy(), theirs["features"].mean((2, 3, 4))) <= TOLERANCES[name]
    assert apart(logits_NK, theirs["logits"]) <= TOLERANCES[name]
    assert apart(logits_NK, np.load(FIXTURES / "mmaction2_float64.npz")[name]) <= 1e-4
