from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config import resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.model_section import ModelConfig
from nonlocal_core.models.i3d import I3D

NARROW = {"width": 4, "stage_blocks": (1, 1, 1, 1), "nl_res3": (0,), "nl_res4": ()}


def model(preset, **overrides):
    return resolve(preset, {f"model.{name}": value for name, value in overrides.items()}).model


def clip(frames=8, height=32, width=32, num=2):
    return ms.Tensor(np.random.default_rng(0).normal(size=(num, 3, frames, height, width)).astype(np.float32))


def values(net):
    return {param.name: param.asnumpy() for param in net.get_parameters()}


@pytest.mark.parametrize(
    ("preset", "pairwise", "millions"),
    [
        ("i3d_r50_32x2", "dot_product", 28.043),
        ("nl_i3d_r50_32x2", "dot_product", 35.398),
        ("nl_i3d_r50_32x2", "embedded_gaussian", 35.398),
        ("nl_i3d_r50_32x2", "gaussian", 31.724),
        ("c2d_r50_32x2", "dot_product", 24.328),
    ],
)
def test_parameter_counts_are_the_published_ones(preset, pairwise, millions):
    net = I3D(model(preset, pairwise=pairwise), num_classes=400)
    assert round(sum(param.size for param in net.trainable_params()) / 1e6, 3) == millions


def test_parameter_names_are_pinned():
    net = I3D(ModelConfig(width=4, stage_blocks=(1, 2, 1, 1), nl_res3=(1,), nl_res4=(0,)), num_classes=5)

    def norm(prefix):
        return [f"{prefix}.{leaf}" for leaf in ("beta", "gamma", "moving_mean", "moving_variance")]

    convs = ["stem"]
    convs += [
        f"{block}.{conv}" for block in ("res2.0", "res3.0", "res4.0", "res5.0") for conv in ("a", "b", "c", "proj")
    ]
    convs += ["res3.1.a", "res3.1.b", "res3.1.c"]
    expected = ["head.fc.weight", "head.fc.bias"]
    for conv in convs:
        expected += [f"{conv}.conv.weight", *norm(f"{conv}.norm")]
    for block in ("res3.nl1", "res4.nl0"):
        expected += [f"{block}.{name}.{leaf}" for name in ("theta", "phi", "g") for leaf in ("weight", "bias")]
        expected += [f"{block}.out.weight", *norm(f"{block}.norm")]
    assert sorted(param.name for param in net.get_parameters()) == sorted(expected)
    trainable = {param.name for param in net.trainable_params()}
    assert trainable == {name for name in expected if ".moving_" not in name}


def temporal_kernels(net):
    kernels = {}
    for name, value in values(net).items():
        if name.endswith(".conv.weight") and value.shape[2] > 1:
            kernels[name.removesuffix(".conv.weight")] = value.shape[2]
    return kernels


def test_i3d_looks_over_time_in_every_second_block():
    net = I3D(model("i3d_r50_32x2", width=4), num_classes=5)
    blocks = ["res2.0", "res2.1", "res2.2", "res3.0", "res3.2", "res4.0", "res4.2", "res4.4", "res5.1"]
    assert temporal_kernels(net) == {"stem": 5, **{f"{block}.a": 3 for block in blocks}}


def test_c2d_looks_at_one_frame_at_a_time():
    assert temporal_kernels(I3D(model("c2d_r50_32x2", width=4), num_classes=5)) == {}


def test_non_local_blocks_stand_where_the_config_says():
    net = I3D(model("nl_i3d_r50_32x2", width=4), num_classes=5)
    found = {name.removesuffix(".g.weight") for name in values(net) if name.endswith(".g.weight")}
    assert found == {"res3.nl1", "res3.nl3", "res4.nl1", "res4.nl3", "res4.nl5"}
    assert list(dict(net.res3.name_cells())) == ["0", "1", "nl1", "2", "3", "nl3"]


def test_shapes_are_table_1():
    net = I3D(ModelConfig(width=2, stage_blocks=(1, 1, 1, 1), nl_res3=(), nl_res4=()), num_classes=5)
    net.set_train(False)
    x = net.stem(clip(32, 64, 64, num=1))
    shapes = [x.shape]
    for part in (net.pool1, net.res2, net.pool2, net.res3, net.res4, net.res5):
        x = part(x)
        shapes.append(x.shape)
    assert [shape[1:] for shape in shapes] == [
        (2, 16, 32, 32),
        (2, 8, 16, 16),
        (8, 8, 16, 16),
        (8, 4, 16, 16),
        (16, 4, 8, 8),
        (32, 4, 4, 4),
        (64, 4, 2, 2),
    ]


@pytest.mark.parametrize(("frames", "height", "width"), [(8, 32, 32), (9, 45, 60)])
def test_any_clip_gives_features_and_logits(frames, height, width):
    net = I3D(ModelConfig(**NARROW), num_classes=5)
    net.set_train(False)
    x = clip(frames, height, width)
    features = net.features(x)
    assert features.shape == (2, 128)
    assert net(x).shape == (2, 5)
    np.testing.assert_array_equal(net(x).asnumpy(), net.classify(features).asnumpy())


def test_new_non_local_blocks_change_nothing():
    plain, nonlocal_ = (I3D(ModelConfig(**{**NARROW, "nl_res3": blocks}), 5) for blocks in ((), (0,)))
    for net in (plain, nonlocal_):
        net.set_train(False)
    for name, param in nonlocal_.parameters_dict().items():
        if ".nl0." not in name:
            param.set_data(plain.parameters_dict()[name])
    np.testing.assert_array_equal(plain(clip()).asnumpy(), nonlocal_(clip()).asnumpy())


def test_the_seed_decides_the_weights():
    def built(seed):
        ms.set_seed(seed)
        return values(I3D(ModelConfig(**NARROW), num_classes=5))

    first, again, other = built(7), built(7), built(8)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert all(np.array_equal(first[n], other[n]) != n.endswith("weight") for n in first)


def test_convolutions_start_as_he_drew_them():
    ms.set_seed(0)
    first = values(I3D(ModelConfig(**{**NARROW, "width": 32}), num_classes=500))
    weight = first["res4.0.a.conv.weight"]
    assert weight.std() == pytest.approx((2 / (weight.shape[0] * 3)) ** 0.5, rel=0.05)
    assert first["head.fc.weight"].std() == pytest.approx(0.01, rel=0.05)
    for name, value in first.items():
        if name.endswith("gamma"):
            assert (value == (0.0 if ".c." in name or ".nl" in name else 1.0)).all(), name


def test_batch_norm_remembers_nine_tenths():
    net = I3D(ModelConfig(**NARROW), num_classes=5)
    net.set_train(True)
    conv = net.stem.conv(clip()).asnumpy()
    net.stem(clip())
    np.testing.assert_allclose(
        net.stem.norm.moving_mean.asnumpy(), 0.1 * conv.mean((0, 2, 3, 4)), rtol=1e-3, atol=1e-6
    )
    variance = 0.9 + 0.1 * conv.var((0, 2, 3, 4))
    np.testing.assert_allclose(net.stem.norm.moving_variance.asnumpy(), variance, rtol=1e-3)


@pytest.mark.parametrize("setting", ["nl_res3", "nl_res4"])
def test_a_block_that_does_not_exist(setting):
    with pytest.raises(ConfigError, match=rf"model\.{setting} names block 1.*0 to 0"):
        I3D(ModelConfig(**{**NARROW, setting: (0, 1)}), num_classes=5)
