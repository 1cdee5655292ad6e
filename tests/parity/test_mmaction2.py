"""The whole network against mmaction2, from the checkpoints that it saved."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.model_section import ModelConfig
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.weights import load_mmaction2

FIXTURES = Path(__file__).parent / "fixtures"
# The tolerances are a few times what one bit of the input does to these networks: see the fixtures' README.
NETWORKS = {
    "none": (ModelConfig(width=8, nl_res3=(), nl_res4=()), 1e-4),
    "dot_product": (ModelConfig(width=8, pairwise="dot_product"), 1e-4),
    "embedded_gaussian": (ModelConfig(width=8, pairwise="embedded_gaussian"), 1e-3),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_mmaction2s(name):
    model, tolerance = NETWORKS[name]
    net = I3D(model, num_classes=10)
    load_mmaction2(net, FIXTURES / f"mmaction2_i3d_r50w8_{name}.pth")
    net.set_train(False)
    theirs = np.load(FIXTURES / f"mmaction2_i3d_r50w8_{name}.npz")
    clip = ms.Tensor(np.load(FIXTURES / "clip.npz")["clip"])
    features_NC = net.features(clip)
    logits_NK = net.classify(features_NC).asnumpy()
    pooled = theirs["features"].mean((2, 3, 4))
    assert np.abs(features_NC.asnumpy() - pooled).max() <= tolerance * np.abs(pooled).max()
    assert np.abs(logits_NK - theirs["logits"]).max() <= tolerance * np.abs(theirs["logits"]).max()
