from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config.model import ModelConfig, map_sizes
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.models.i3d import I3D

RESNET18: dict[str, Any] = {
    "width": 2,
    "block": "basic",
    "stage_blocks": (2, 2, 2, 2),
    "nl_res3": (),
    "nl_res4": (),
}
NARROW: dict[str, Any] = {"width": 4, "stage_blocks": (1, 1, 1, 1), "nl_res3": (0,), "nl_res4": ()}


def model(preset, **overrides):
    return resolve(preset, {f"model.{name}": value for name, value in overrides.items()}).model


def clip(frames=8, height=32, width=32, num=2):
    return ms.Tensor(np.random.default_rng(0).normal(size=(num, 3, frames, height, width)).astype(np.float32))


def values(net):
    return {param.name: param.asnumpy().copy() for param in net.get_parameters()}


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


def test_names_of_the_other_choices():
    def names(**settings):
        return {param.name for param in I3D(ModelConfig(**{**NARROW, **settings}), 5).get_parameters()}

    usual = names()
    basic = names(block="basic", inflate="none")
    parts = {f"res3.0.{name.split('.')[2]}" for name in basic if name.startswith("res3.0.")}
    assert parts == {"res3.0.a", "res3.0.b", "res3.0.proj"}
    assert {name for name in basic if ".proj." not in name} < usual
    assert not any(name.startswith("res2.0.proj") for name in basic)  # as wide as the stem
    assert names(norm="frozen", head="fully_conv", pool1_pad=0, inflate="3x3x3") == usual
    assert names(nl_out_bias=True) - usual == {"res3.nl0.out.bias"}
    assert {name.rsplit(".", 1)[0] for name in usual - names(nl_norm="none")} == {"res3.nl0.norm"}


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


def test_the_heavy_network_looks_over_time_in_every_block():
    net = I3D(model("i3d_r50_32x2_heavy", width=4), num_classes=5)
    blocks = [
        f"res{stage}.{block}"
        for stage, count in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
        for block in range(count)
    ]
    assert temporal_kernels(net) == {"stem": 5, **{f"{block}.a": 3 for block in blocks}}


def test_3x3x3_widens_the_second_convolution_of_the_same_blocks():
    net = I3D(model("i3d_r50_32x2", width=4, inflate="3x3x3"), num_classes=5)
    blocks = ["res2.0", "res2.1", "res2.2", "res3.0", "res3.2", "res4.0", "res4.2", "res4.4", "res5.1"]
    assert temporal_kernels(net) == {"stem": 5, **{f"{block}.b": 3 for block in blocks}}


def test_basic_blocks_widen_both_convolutions():
    net = I3D(ModelConfig(**{**RESNET18, "inflate": "3x3x3"}), num_classes=5)
    blocks = ["res2.0", "res2.1", "res3.0", "res4.0", "res5.1"]
    assert temporal_kernels(net) == {"stem": 5, **{f"{block}.{ab}": 3 for block in blocks for ab in "ab"}}


def test_c2d_looks_at_one_frame_at_a_time():
    assert temporal_kernels(I3D(model("c2d_r50_32x2", width=4), num_classes=5)) == {}


def test_non_local_blocks_stand_where_the_config_says():
    net = I3D(model("nl_i3d_r50_32x2", width=4), num_classes=5)
    found = {name.removesuffix(".g.weight") for name in values(net) if name.endswith(".g.weight")}
    assert found == {"res3.nl1", "res3.nl3", "res4.nl1", "res4.nl3", "res4.nl5"}
    assert list(dict(net.res3.name_cells())) == ["0", "1", "nl1", "2", "3", "nl3"]


def test_each_stage_has_its_own_groups_of_frames():
    blocks = {f"nl_res{stage}": (0,) for stage in (2, 3, 4, 5)}
    net = I3D(ModelConfig(**{**NARROW, **blocks, "nl_group_frames": (1, 2, 3, 0)}), num_classes=5)
    assert [stage.name_cells()["nl0"].group_frames for stage in (net.res2, net.res3, net.res4, net.res5)] == [
        1,
        2,
        3,
        0,
    ]


def shapes_of(net, frames, side):
    """The shape after each part, without the batch."""
    net.set_train(False)
    x = net.stem(clip(frames, side, side, num=1))
    shapes = [x.shape[1:]]
    for part in (net.pool1, net.res2, net.pool2, net.res3, net.res4, net.res5):
        x = part(x)
        shapes.append(x.shape[1:])
    return shapes


def test_shapes_are_table_1():
    net = I3D(ModelConfig(width=2, stage_blocks=(1, 1, 1, 1), nl_res3=(), nl_res4=()), num_classes=5)
    assert shapes_of(net, 32, 64) == [
        (2, 16, 32, 32),
        (2, 8, 16, 16),
        (8, 8, 16, 16),
        (8, 4, 16, 16),
        (16, 4, 8, 8),
        (32, 4, 4, 4),
        (64, 4, 2, 2),
    ]


def test_basic_blocks_are_as_wide_as_their_convolutions():
    net = I3D(ModelConfig(**{**RESNET18, "inflate": "none"}), num_classes=5)
    shapes = shapes_of(net, 32, 64)
    assert [shape[0] for shape in shapes] == [2, 2, 2, 2, 4, 8, 16]
    assert net.head.fc.weight.shape == (5, 16)


@pytest.mark.parametrize(
    "settings", [{"pool1_pad": 0, "pool1_kernel_t": 2}, {"pool1_kernel_t": 3, "pool2_kernel_t": 3}]
)
@pytest.mark.parametrize(("frames", "side"), [(32, 64), (9, 45)])
def test_sizes_are_known_before_the_network_is_built(frames, side, settings):
    config = ModelConfig(width=1, stage_blocks=(1, 1, 1, 1), nl_res3=(), nl_res4=(), **settings)
    told = [(frames, rows, rows) for _, frames, rows in map_sizes(config, frames, side)]
    assert told == [shape[1:] for shape in shapes_of(I3D(config, num_classes=5), frames, side)]


def test_caffe2s_pool_leaves_55_of_224_pixels():
    sizes = {name: size for name, *size in map_sizes(model("nl5_i3d_r50_32x2_caffe2"), 32, 224)}
    assert sizes["pool1"] == [8, 55]
    assert sizes["res3"] == [4, 28]
    test = {name: size for name, *size in map_sizes(model("nl5_i3d_r50_32x2_caffe2"), 32, 256)}
    assert [test[part][1] for part in ("pool1", "res3", "res4", "res5")] == [63, 32, 16, 8]


@pytest.mark.parametrize(("kernel_t", "pad"), [(1, 0), (1, 1), (2, 0), (3, 1)])
def test_pool1_never_sees_its_padding(kernel_t, pad):
    """The greatest of each window, also where all of them are below zero."""
    net = I3D(ModelConfig(**NARROW, pool1_kernel_t=kernel_t, pool1_pad=pad), num_classes=5)
    x = -np.random.default_rng(0).uniform(1.0, 2.0, (1, 4, 8, 9, 9)).astype(np.float32)
    before = (kernel_t - 1) // 2
    padded = np.pad(x, ((0, 0), (0, 0), (before, before), (pad, pad), (pad, pad)), constant_values=-np.inf)
    view: Any = np.lib.stride_tricks.sliding_window_view  # its types know one axis only
    windows = view(padded, (kernel_t, 3, 3), (2, 3, 4))[:, :, ::2, ::2, ::2]
    np.testing.assert_array_equal(net.pool1(ms.Tensor(x)).asnumpy(), windows.max((5, 6, 7)))


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


def test_gammas_that_start_at_one():
    first = values(I3D(ModelConfig(**NARROW, zero_gamma=False, nl_zero_gamma=False), num_classes=5))
    assert all((value == 1.0).all() for name, value in first.items() if name.endswith("gamma"))
    basic = values(I3D(ModelConfig(**RESNET18, inflate="none"), num_classes=5))
    last = {name for name, value in basic.items() if name.endswith("gamma") and not value.any()}
    assert last == {f"res{stage}.{block}.b.norm.gamma" for stage in (2, 3, 4, 5) for block in (0, 1)}


def test_a_frozen_norm_keeps_its_statistics_and_trains_its_gamma():
    net = I3D(ModelConfig(**NARROW, norm="frozen", nl_norm="frozen", zero_gamma=False), num_classes=5)
    rng = np.random.default_rng(1)
    for name, param in net.parameters_dict().items():
        if ".norm." in name:
            param.set_data(ms.Tensor(rng.uniform(0.5, 1.5, param.shape).astype(np.float32)))
    net.set_train(True)
    before = values(net)
    params = net.trainable_params()

    def total(x_NCTHW):  # a lambda cannot be compiled
        return net(x_NCTHW).sum()

    gradients = ms.value_and_grad(total, None, params)(clip())[1]
    after = values(net)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    learning = {param.name for param, value in zip(params, gradients, strict=True) if value.asnumpy().any()}
    assert {"stem.norm.gamma", "stem.norm.beta", "res5.0.c.norm.gamma", "res3.nl0.norm.gamma"} <= learning
    conv = net.stem.conv(clip()).asnumpy()
    part = {leaf: before[f"stem.norm.{leaf}"].reshape(1, -1, 1, 1, 1) for leaf in ("gamma", "beta")}
    mean, variance = (before[f"stem.norm.moving_{leaf}"].reshape(1, -1, 1, 1, 1) for leaf in ("mean", "variance"))
    expected = part["gamma"] * (conv - mean) / np.sqrt(variance + 1e-5) + part["beta"]
    np.testing.assert_allclose(net.stem(clip()).asnumpy(), expected, rtol=1e-4, atol=1e-5)


def fully_conv(window, **settings):
    """One network with a fully convolutional head and with a pooled one, and the same weights."""
    ms.set_seed(5)
    config: dict[str, Any] = {**NARROW, "head_window": window, "pool1_stride_t": 1, **settings}
    nets = [I3D(ModelConfig(**config, head=head), num_classes=5) for head in ("fully_conv", "pooled")]
    for param in nets[1].get_parameters():
        nets[0].parameters_dict()[param.name].set_data(param)
    nets[1].head.fc.weight.set_data(nets[1].head.fc.weight * 100)
    nets[0].head.fc.weight.set_data(nets[1].head.fc.weight)
    for net in nets:
        net.set_train(False)
    return nets


def softmax(logits):
    exponential = np.exp(logits - logits.max(-1, keepdims=True))
    return exponential / exponential.sum(-1, keepdims=True)


def test_a_window_as_large_as_the_map_is_the_pooled_head():
    conv, pooled = fully_conv((2, 2, 2))
    x = clip(8, 64, 64)
    expected = softmax(pooled(x).asnumpy())
    assert expected.max() - expected.min() > 0.1
    np.testing.assert_allclose(softmax(conv(x).asnumpy()), expected, rtol=1e-4)


def test_a_larger_map_is_classified_window_by_window():
    conv, _ = fully_conv((1, 2, 2))
    x = clip(8, 96, 64)
    features = conv.feature_map(x).asnumpy().astype(np.float64)
    assert features.shape[2:] == (2, 3, 2)
    weight, bias = conv.head.fc.weight.asnumpy(), conv.head.fc.bias.asnumpy()
    places = [features[:, :, t : t + 1, h : h + 2].mean((2, 3, 4)) for t in (0, 1) for h in (0, 1)]
    expected = np.mean([softmax(place @ weight.T + bias) for place in places], axis=0)
    result = conv(x).asnumpy()
    np.testing.assert_allclose(np.exp(result), expected, rtol=1e-4)
    np.testing.assert_allclose(softmax(result), expected, rtol=1e-4)


def test_in_training_a_fully_convolutional_head_gives_plain_logits():
    conv, pooled = fully_conv((1, 2, 2), norm="frozen", nl_norm="frozen")
    x = clip(8, 64, 64)
    expected = pooled(x).asnumpy()
    conv.set_train(True)
    np.testing.assert_allclose(conv(x).asnumpy(), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected.sum()) > 0.1


AXES: dict[str, Any] = {
    "c2d, gaussian": {"inflate": "none", "stem_kernel_t": 1, "pairwise": "gaussian", "nl_scale": True},
    "3x3x3, pools of table 1, scaled": {
        **{"inflate": "3x3x3", "pool1_kernel_t": 3, "pool2_kernel_t": 3},
        **{"pairwise": "embedded_gaussian", "nl_scale": True},
    },
    "basic, everywhere, space": {
        **{"block": "basic", "inflate": "3x3x3", "nl_axes": "space"},
        **{"nl_res2": (0,), "nl_res4": (0,), "nl_res5": (0,)},
    },
    "caffe2, concatenation": {
        **{"pool1_kernel_t": 2, "pool1_pad": 0, "nl_sub_sample": "before_conv", "nl_out_bias": True},
        **{"pairwise": "concatenation", "nl_init": "msra"},
    },
    "affine, groups": {"norm": "frozen", "nl_norm": "none", "nl_group_frames": (0, 2, 0, 0), "head": "fully_conv"},
    "time, no pool2": {"nl_axes": "time", "nl_sub_sample": "none", "pool2_kernel_t": 1, "pool2_stride_t": 1},
}


@pytest.mark.parametrize("axis", AXES)
def test_every_axis_learns(axis):
    """Logits of the right shape, and a finite gradient for every parameter."""
    ms.set_seed(2)
    config: dict[str, Any] = {
        **NARROW,
        "pool1_stride_t": 1,
        "zero_gamma": False,
        "nl_zero_gamma": False,
        **AXES[axis],
    }
    net = I3D(ModelConfig(**config), num_classes=5)
    net.set_train(True)
    params = net.trainable_params()

    def loss(x):
        logits = net(x)
        return (logits * logits).sum(), logits

    (_, logits), gradients = ms.value_and_grad(loss, None, params, has_aux=True)(clip(8, 64, 64, num=1))
    assert logits.shape == (1, 5)
    for param, gradient in zip(params, gradients, strict=True):
        assert gradient.shape == param.shape
        assert np.isfinite(gradient.asnumpy()).all(), param.name
    learning = {param.name for param, value in zip(params, gradients, strict=True) if value.asnumpy().any()}
    assert {"stem.conv.weight", "res5.0.a.conv.weight", "head.fc.bias", "res3.nl0.out.weight"} <= learning


@pytest.mark.parametrize("window", [(1, 2, 2), (4, 7, 7)])
def test_a_compiled_network_of_the_rarer_choices_gives_what_single_operations_give(window):
    """The larger window is cut to the map, which has 2 frames of 3 x 3."""
    ms.set_seed(2)
    config: dict[str, Any] = {
        **{**NARROW, "nl_res2": (0,), "block": "basic", "inflate": "3x3x3"},
        **{"norm": "frozen", "head": "fully_conv"},
        **{"pool1_stride_t": 1, "pool1_pad": 0, "nl_norm": "none", "nl_group_frames": (2, 0, 0, 0)},
        **{"nl_axes": "time", "nl_sub_sample": "none", "head_window": window},
    }
    net = I3D(ModelConfig(**config), num_classes=5)
    net.set_train(False)
    x = clip(8, 96, 96)
    assert net.feature_map(x).shape[2:] == (2, 3, 3)

    def forward(clip):
        return net(clip)

    np.testing.assert_allclose(ms.jit(forward)(x).asnumpy(), net(x).asnumpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("setting", ["nl_res2", "nl_res3", "nl_res4", "nl_res5"])
def test_a_block_that_does_not_exist(setting):
    with pytest.raises(ConfigError, match=rf"model\.{setting} names block 1.*0 to 0"):
        I3D(ModelConfig(**{**NARROW, setting: (0, 1)}), num_classes=5)
