"""A step in fp16: what overflows is skipped, counted, and leaves nothing behind."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from small import PLAIN, small_config

from nonlocal_core.artifacts.files import read_json_lines
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.errors import DamagedError, DivergenceError
from nonlocal_core.models import checkpoint, device, pairwise
from nonlocal_core.models.i3d import I3D
from nonlocal_core.stages import train as stage
from nonlocal_core.training import loss_scale, optimizers, schedules, step_checkpoint
from nonlocal_core.training.loss_scale import LossScale
from nonlocal_core.training.step import Inputs, dropout_mask, make_step, mixing
from nonlocal_core.training.step_checkpoint import State

SETTINGS = {
    **PLAIN,
    "model__nl_res3": (0,),
    "model__pairwise": "embedded_gaussian",
    "model__nl_zero_gamma": False,
    "train__batch_size": 4,
    "train__micro_batch": 2,
    "train__weight_decay": 0.1,
}


def values(net):
    """Copies: on a CPU, asnumpy shows the memory of the parameter itself."""
    return {parameter.name: parameter.asnumpy().copy() for parameter in net.get_parameters()}


def made(precision, compiled=True):
    """A network, its optimizer, and a function that takes a step."""
    config = small_config(**SETTINGS, train__precision=precision)
    device.use(config.runtime, compiled)
    ms.set_seed(3)
    net, scale = I3D(config.model, 4), LossScale()
    optimizer = optimizers.make_optimizer(net, np.full(9, 0.05, np.float32), config.train)
    clip_NCTHW = np.random.default_rng(0).integers(0, 256, (4, 3, 4, 32, 32)).astype(np.uint8)
    batch = Inputs(
        clip_NCTHW, np.arange(4, dtype=np.int32), dropout_mask(config, 0, 4), *mixing(config.train, 0, 4)
    )
    return net, optimizer, scale, make_step(net, optimizer, config.train, loss_scale=scale), batch


def test_a_step_whose_gradients_overflow_is_skipped_and_the_next_is_that_of_fp32(monkeypatch):
    """The overflow is made by a factor that no gradient in fp16 can bear; the soft-max is computed in blocks."""
    monkeypatch.setattr(pairwise, "BLOCK_WEIGHTS", 64)
    net, optimizer, scale, take_step, batch = made("fp16")
    learned = {parameter.name for parameter in net.trainable_params()}
    before, moments = values(net), [moment.asnumpy().copy() for moment in optimizer.moments]
    scale.factor = 2.0**100
    loss, _ = take_step(batch)
    assert (scale.num_skipped, scale.factor, scale.num_good) == (1, 2.0**99, 0)
    after = values(net)
    for name in learned:  # the running statistics have seen the clips, as in a step that is taken
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    for moment, old in zip(optimizer.moments, moments, strict=True):
        np.testing.assert_array_equal(moment.asnumpy(), old)
    assert int(optimizer.global_step.asnumpy()[0]) == 0

    scale.factor = 1024.0
    next_loss, _ = take_step(batch)
    assert (scale.num_skipped, scale.num_good, int(optimizer.global_step.asnumpy()[0])) == (1, 1, 1)
    assert next_loss == pytest.approx(loss, rel=1e-6)  # the same weights

    whole, *_, take_whole_step, _ = made("fp32", compiled=False)
    whole_loss, _ = take_whole_step(batch)
    assert next_loss == pytest.approx(whole_loss, abs=5e-3)
    found, expected = values(net), values(whole)
    steps = {name: (found[name] - before[name], expected[name] - before[name]) for name in learned}
    longest = max(np.linalg.norm(whole_step) for _, whole_step in steps.values())
    assert longest > 1e-3
    for name, (step, whole_step) in steps.items():
        assert np.linalg.norm(step - whole_step) <= 0.15 * np.linalg.norm(whole_step) + 1e-3 * longest, name


def test_the_factor_is_halved_by_an_overflow_and_doubled_after_many_good_steps(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWS_AFTER", 3)
    scale = LossScale()
    assert scale.factor == 65536  # PyTorch's
    taken = [scale.follow(norm) for norm in (1.0, float("inf"), 2.0, float("nan"), 0.0, 1.0, 1.0, 1.0)]
    assert taken == [True, False, True, False, True, True, True, True]
    assert (scale.factor, scale.num_skipped, scale.num_good) == (65536 / 2 / 2 * 2, 2, 1)


def test_what_overflows_at_the_least_factor_too_has_diverged():
    scale = LossScale()
    scale.factor = 1.0
    with pytest.raises(DivergenceError, match=r"overflow in fp16.*loss scale of 1: take train.precision=fp32"):
        scale.follow(float("nan"))


def test_a_checkpoint_keeps_the_factor_and_the_counts(tmp_path):
    config = small_config(**PLAIN)
    net = I3D(config.model, 2)
    scale, other = LossScale(), LossScale()
    scale.factor, scale.num_good, scale.num_skipped = 2048.0, 77, 5
    state = State(net, optimizers.make_optimizer(net, np.ones(2, np.float32), config.train), loss_scale=scale)
    described = checkpoint.Description(
        step=7, labels=("a", "b"), model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    step_checkpoint.save(tmp_path / "kept", state, described)
    step_checkpoint.restore(tmp_path / "kept", state._replace(loss_scale=other))
    assert vars(other) == vars(scale)
    step_checkpoint.save(tmp_path / "none", state._replace(loss_scale=None), described)
    with pytest.raises(DamagedError, match="has no loss scale"):
        step_checkpoint.restore(tmp_path / "none", state)


def test_the_log_has_the_rate_of_a_step_that_is_skipped(toy, tmp_path, monkeypatch):
    """A CPU that may compute in fp16, and a factor with which all steps overflow: no rate moves."""
    monkeypatch.setitem(device.HALF, "CPU", ("fp16",))
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**100)
    settings = {"train__precision": "fp16", "train__epochs": 1, "train__val_epochs": 0, "train__warmup_epochs": 0}
    config = small_config(**PLAIN, **settings, runtime__compile="never")
    workspace = toy.workspace(tmp_path)
    folder = workspace.path(stage.train(toy.cache, config, workspace))
    log = read_json_lines(folder / Checkpoint.LOG)
    assert [line["skipped"] for line in log] == [1, 2, 3, 4]
    rates = schedules.learning_rates(config.train, 4)
    assert rates[0] > rates[-1]
    assert [line["lr"] for line in log] == [rates[0]] * 4
