"""The Inception network behind the same class and settings; tests/parity compares its numbers with JAX's."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config.model import ModelConfig, map_sizes
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.models.cost import PARTS
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training import optimizers

NARROW: dict[str, Any] = {"backbone": "inception", "width": 8, "nl_res3": (), "nl_res4": (), "head": "two_frames"}
NORM = ("beta", "moving_mean", "moving_variance")


def clip(*size):
    return ms.Tensor(np.random.default_rng(0).normal(size=(2, 3, *size)).astype(np.float32))


def values(net):
    return {name: parameter.asnumpy().copy() for name, parameter in net.parameters_and_names()}


def test_parameter_names_are_pinned():
    net = I3D(ModelConfig(**{**NARROW, "nl_res4": (4,)}), num_classes=5)
    units = ["stem", "res2.0", "res2.1"]
    units += [
        f"res{stage}.{block}.{branch}"
        for stage, count in ((3, 2), (4, 5), (5, 2))
        for block in range(count)
        for branch in ("b0", "b1_reduce", "b1", "b2_reduce", "b2", "b3")
    ]
    leaves = ["conv.weight", *(f"norm.{name}" for name in NORM)]
    expected = {f"{unit}.{leaf}" for unit in units for leaf in leaves}
    expected |= {"head.fc.weight", "head.fc.bias"}
    found = {parameter.name for parameter in net.get_parameters()}
    assert {name for name in found if ".nl" not in name} == expected
    assert {name.split(".")[1] for name in found - expected} == {"nl4"}
    trainable = {parameter.name for parameter in net.trainable_params()}
    assert trainable == {name for name in found if ".moving_" not in name}


@pytest.mark.parametrize("size", [(16, 64, 64), (17, 45, 45), (1, 32, 32)])
def test_sizes_and_channels_are_known_before_the_network_is_built(size):
    model = ModelConfig(**NARROW)
    net = I3D(model, num_classes=5)
    net.set_train(False)
    x, told = clip(*size), {name: (frames, rows) for name, frames, rows in map_sizes(model, *size[:2])}
    for part in PARTS:
        x = getattr(net, part)(x)
        assert x.shape[2:] == (told[part][0], told[part][1], told[part][1]), part
        if part.startswith("res"):
            assert x.shape[1] == model.channels(int(part[3:]))
    assert x.shape[1] == model.num_features == 128
    assert net(clip(*size)).shape == (2, 5)


def test_blocks_stand_after_the_named_mixed_blocks():
    net = I3D(ModelConfig(**{**NARROW, "nl_res2": (1,), "nl_res3": (0,), "nl_res4": (0, 4), "nl_res5": (1,)}), 5)
    assert list(dict(net.res2.name_cells())) == ["0", "relu0", "1", "relu1", "nl1"]
    assert list(dict(net.res3.name_cells())) == ["0", "nl0", "1"]
    assert list(dict(net.res4.name_cells())) == ["pool", "0", "nl0", "1", "2", "3", "4", "nl4"]
    assert list(dict(net.res5.name_cells())) == ["pool", "0", "1", "nl1"]
    assert net(clip(16, 64, 64)).shape == (2, 5)


def test_a_norm_shifts_and_never_scales():
    net = I3D(ModelConfig(**NARROW), num_classes=5)
    rng = np.random.default_rng(1)
    for name, parameter in net.parameters_and_names():
        if ".norm." in name:
            parameter.set_data(ms.Tensor(rng.uniform(0.5, 1.5, parameter.shape).astype(np.float32)))
    net.set_train(False)
    conv = net.stem.conv(clip(4, 16, 16)).asnumpy()
    beta, mean, variance = (values(net)[f"stem.norm.{leaf}"].reshape(1, -1, 1, 1, 1) for leaf in NORM)
    expected = (conv - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(net.stem(clip(4, 16, 16)).asnumpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_everything_but_statistics_learns(norm):
    config = {**NARROW, "nl_res4": (2,), "norm": norm, "nl_norm": norm, "nl_zero_gamma": False}
    ms.set_seed(7)  # other weights may keep a branch of one channel from learning
    net = I3D(ModelConfig(**config), num_classes=5)
    for name, parameter in net.parameters_and_names():
        if name.endswith(".beta"):  # keeps narrow branches from being rectified to zeros
            parameter.set_data(ms.ops.ones_like(parameter))
    net.set_train(True)
    parameters, before = net.trainable_params(), values(net)

    def total(x_NCTHW):  # a lambda cannot be compiled
        return (net(x_NCTHW) ** 2).sum()

    gradients = ms.value_and_grad(total, None, parameters)(clip(16, 64, 64))[1]
    silent = {p.name for p, gradient in zip(parameters, gradients, strict=True) if not gradient.asnumpy().any()}
    assert silent <= {"res4.nl2.theta.bias", "res4.nl2.phi.bias", "res4.nl2.g.bias"}
    moved = {name for name, value in values(net).items() if not np.array_equal(value, before[name])}
    assert bool(moved) == (norm == "batch")
    assert all(".moving_" in name for name in moved)


def test_stages_freeze_as_those_of_a_resnet():
    net = I3D(ModelConfig(**NARROW), num_classes=5)
    optimizers.freeze(net, "res4")
    assert {parameter.name.split(".")[0] for parameter in net.trainable_params()} == {"res5", "head"}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"model.inflate": "none"}, "model.inflate is a setting of residual networks"),
        ({"model.stem_stride_t": 1}, "model.stem_stride_t is a setting of residual networks"),
        ({"model.width": 12}, "model.width=12: with model.backbone=inception, take a multiple of 8"),
        ({"model.nl_res4": (5,)}, "model.nl_res4 names block 5: the stage has blocks 0 to 4"),
        ({"model.nl_res5": (2,)}, "model.nl_res5 names block 2: the stage has blocks 0 to 1"),
    ],
)
def test_what_does_not_go_with_it(overrides, told):
    with pytest.raises(ConfigError, match=told):
        resolve("i3d_inception", overrides)


def test_a_resnet_can_have_its_head_and_says_nothing_of_it_otherwise():
    model = ModelConfig(width=4, stage_blocks=(1, 1, 1, 1), nl_res3=(), nl_res4=())
    assert "backbone" not in model.model_dump()
    plain, pairs = (I3D(model.model_copy(update={"head": head}), 5) for head in ("pooled", "two_frames"))
    own = dict(pairs.parameters_and_names())
    for name, parameter in plain.parameters_and_names():
        own[name].set_data(parameter.value())
    plain.set_train(False)
    pairs.set_train(False)
    x = clip(32, 32, 32)
    map_NCT = plain.feature_map(x).asnumpy().mean((3, 4))
    weights = np.ones(map_NCT.shape[2])
    weights[[0, -1]] = 0.5
    expected = plain.classify(ms.Tensor((map_NCT @ weights / weights.sum()).astype(np.float32))).asnumpy()
    np.testing.assert_allclose(pairs(x).asnumpy(), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(pairs(x).asnumpy() - plain(x).asnumpy()).max() > 1e-5
