"""The whole network against references of every profile; the fixtures' README says what made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published.weights import load_published

FIXTURES = Path(__file__).parent / "fixtures"
TOLERANCE = 1e-4
IMAGES = {"inflate": "none", "pool2_kernel_t": 1, "pool2_stride_t": 1, "stem_stride_t": 1, "pool1_stride_t": 1}


class Reference(NamedTuple):
    file: str
    profile: str
    switches: dict[str, Any]
    matter: dict[str, Any]
    """settings that leave the tensors as they are, and that the logits depend on"""

    @property
    def name(self):
        return self.file.partition(".")[0]


_BLOCKS = {"nl_sub_sample": "after_conv", "nl_scale": False, "pairwise": "dot_product", "pool1_pad": 1}
_GROUPS = {"nl_group_frames": (0, 0, 0, 0)}
REFERENCES = [
    Reference("caffe2_8x8.pkl", "caffe2_8x8", {"head_window": (4, 2, 2)}, {**_BLOCKS, "pool1_kernel_t": 2}),
    Reference("caffe2_32x2.pkl", "caffe2_32x2", {"head_window": (4, 2, 2)}, {"pool1_kernel_t": 1}),
    Reference("caffe2_affine_32x4.pkl", "caffe2_affine_32x4", {"head_window": (8, 2, 2)}, _GROUPS),
    Reference("caffe2_affine_128x1.pkl", "caffe2_affine_128x1", {"head_window": (8, 1, 1)}, _GROUPS),
    Reference("pyslowfast_softmax.pyth", "pyslowfast", {}, {"pool1_pad": 0}),
    Reference("pyslowfast_i3d_nln_r50w8_dot_product.pyth", "pyslowfast", {}, {}),
    Reference("mmaction2_i3d_r50w4_gaussian.pth", "mmaction2", {}, {"nl_scale": True}),
    Reference("torchvision_resnet.pth", "torchvision2d", {**IMAGES, "head": "keep"}, {"pool1_pad": 0}),
]


def reference_of(name):
    """The clip and what another implementation made of it."""
    with np.load(FIXTURES / f"{name}.npz") as file:
        made = dict(file)
    clip = made["image"][:, :, None] if "image" in made else made["clip"]
    scale = 32 if clip.dtype == np.int8 else 1
    return ms.Tensor(clip.astype(np.float32) / scale), made


def apart(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.name)
def test_logits_are_the_references(reference):
    clip, made = reference_of(reference.name)
    net = load_published(FIXTURES / reference.file, reference.profile, **reference.switches)
    assert apart(net(clip).asnumpy(), made["logits"]) <= TOLERANCE
    if "features" in made:
        assert apart(net.features(clip).asnumpy(), made["features"]) <= TOLERANCE
    for name, value in reference.matter.items():
        assert getattr(net.model, name) != value
        other = I3D(net.model.model_copy(update={name: value}), made["logits"].shape[1])
        other.set_train(False)
        for theirs, ours in zip(other.get_parameters(), net.get_parameters(), strict=True):
            theirs.set_data(ours)
        assert apart(other(clip).asnumpy(), made["logits"]) > 10 * TOLERANCE, name


def test_the_mean_of_the_windows_probabilities_is_the_references():
    clip, made = reference_of("caffe2_8x8_windows")
    net = load_published(FIXTURES / "caffe2_8x8.pkl", "caffe2_8x8", head_window=(4, 2, 2))
    assert apart(softmax(net(clip).asnumpy()), made["probs"]) <= TOLERANCE
    pooled = softmax(net.classify(net.features(clip)).asnumpy())
    assert apart(pooled, made["probs"]) > 10 * TOLERANCE


def test_a_still_clip_gives_the_features_of_the_image_net():
    image, made = reference_of("torchvision_resnet")
    switches: dict[str, Any] = {**IMAGES, "inflate": "3x1x1", "head": "keep"}
    net = load_published(FIXTURES / "torchvision_resnet.pth", "torchvision2d", **switches)
    still = np.repeat(image.asnumpy(), 15, axis=2)
    map_NCTHW = net.feature_map(ms.Tensor(still)).asnumpy()
    assert apart(map_NCTHW[:, :, 7].mean((2, 3)), made["features"]) <= TOLERANCE
    assert apart(map_NCTHW[:, :, 0].mean((2, 3)), made["features"]) > 10 * TOLERANCE


def test_a_map_smaller_than_the_window_is_one_window():
    clip, made = reference_of("caffe2_8x8")
    net = load_published(FIXTURES / "caffe2_8x8.pkl", "caffe2_8x8")
    assert net.model.head_window == (4, 7, 7)
    assert apart(net(clip).asnumpy(), made["logits"]) <= TOLERANCE
