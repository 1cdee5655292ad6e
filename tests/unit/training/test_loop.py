from __future__ import annotations

import json
import os
import signal
import threading

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from small import python, small_config

from nonlocal_core.data import loader
from nonlocal_core.errors import DivergenceError
from nonlocal_core.models.i3d import I3D
from nonlocal_core.stages import train as stage
from nonlocal_core.training import checkpoint, loop, watching

NUM_STEPS = 12  # 8 videos, 2 a step, 3 epochs


def trained(toy, folder, **overrides):
    """What a training leaves in its folder: the reference, and the lines of its log without their times."""
    workspace = toy.workspace(folder)
    made = stage.train(toy.cache, small_config(**overrides), workspace)
    return made, lines(workspace.path(made))


def lines(folder):
    parsed = [json.loads(line) for line in (folder / watching.LOG_FILE).read_text().splitlines()]
    assert all(line.pop("clips_per_s") > 0 and 0 <= line.pop("waits") <= 1 for line in parsed)
    return parsed


@pytest.fixture(scope="module")
def uncut(toy, tmp_path_factory):
    return trained(toy, tmp_path_factory.mktemp("uncut"), runtime__num_workers=1)


def cut(toy, folder, at_step, signals, checkpoint_steps):
    """Train in another process that sends itself signals after a step; gives the folder that it leaves."""
    workspace = toy.workspace(folder)
    process = python(f"""
import logging, os
from pathlib import Path
from small import small_config
from nonlocal_core import progress
from nonlocal_core.artifacts import RecordCache, Workspace
from nonlocal_core.stages.train import train

class Cut(logging.Handler):
    def emit(self, record):
        if record.progress["done"] == {at_step}:
            for number in {[int(number) for number in signals]}:
                os.kill(os.getpid(), number)

progress.TICK_EVERY_S = 0.0
logging.getLogger(progress.TICKS).addHandler(Cut())
config = small_config(runtime__num_workers=3, runtime__checkpoint_steps={checkpoint_steps})
cache = RecordCache.model_validate_json({toy.cache.model_dump_json()!r})
train(cache, config, Workspace(Path({str(folder)!r})))
""")
    _, said = process.communicate(timeout=120)
    assert process.returncode == -signals[-1], said
    assert stage.find(toy.cache, small_config(), workspace) is None
    return folder / "train" / f"{stage.key(toy.cache, small_config())}.partial"


def test_a_training_that_is_killed_again_and_again_ends_with_the_same_weights(toy, tmp_path, uncut):
    for at_step, kept in ((1, []), (7, [4, 6]), (8, [4, 6])):
        partial = cut(toy, tmp_path, at_step, [signal.SIGKILL], checkpoint_steps=2)
        files = sorted(partial.glob("step-*.safetensors"))
        assert files == [checkpoint.step_path(partial, step) for step in kept]
        assert [line["step"] for line in lines(partial)] == list(range(1, at_step + 1))
        if at_step == 7:
            files[-1].write_bytes(files[-1].read_bytes()[:-5])
            assert checkpoint.latest(partial) == files[0]
    made, log = trained(toy, tmp_path, runtime__num_workers=3)
    expected, expected_log = uncut
    assert (made.digest, made.final_loss, made.num_steps) == (expected.digest, expected.final_loss, NUM_STEPS)
    assert log == expected_log
    assert [line["step"] for line in log] == list(range(1, NUM_STEPS + 1))


def test_ctrl_c_keeps_the_step_even_if_it_comes_from_the_terminal_and_from_the_parent(toy, tmp_path, uncut):
    partial = cut(toy, tmp_path, 3, [signal.SIGINT, signal.SIGINT], checkpoint_steps=100)
    assert [file.name for file in partial.glob("step-*")] == ["step-00000003.safetensors"]
    made, log = trained(toy, tmp_path)
    assert (made.digest, log) == (uncut[0].digest, uncut[1])


def test_a_log_that_a_power_cut_took_does_not_stop_a_training(tmp_path):
    log = tmp_path / watching.LOG_FILE
    assert np.isnan(loop._cut_log(log, 5))
    log.write_text('{"step": 1, "lo')
    assert np.isnan(loop._cut_log(log, 5))
    assert log.read_text() == ""


def test_everything_that_the_seed_decides_changes_with_it(toy, tmp_path, uncut):
    made, log = trained(toy, tmp_path, train__seed=1, train__epochs=1)
    assert [line["loss"] for line in log] != [line["loss"] for line in uncut[1]][: len(log)]
    assert made.digest != uncut[0].digest


def test_the_log_has_what_happened(uncut):
    made, log = uncut
    assert [line["epoch"] for line in log] == [0] * 4 + [1] * 4 + [2] * 4
    assert log[0]["lr"] == pytest.approx(0.01)  # half of base_lr, after one of two steps of warm-up
    assert log[0]["loss"] == pytest.approx(np.log(4), rel=0.2)
    assert log[-1]["loss"] == made.final_loss
    assert {line["top1"] for line in log} <= {0.0, 0.5, 1.0}
    assert (made.num_steps, made.num_clips, made.file) == (NUM_STEPS, 24, "step-00000012.safetensors")


def test_a_loss_that_is_no_number_names_step_rate_and_videos(toy, tmp_path):
    config = small_config(train__base_lr=1e30, train__warmup_epochs=0, train__schedule="step")
    words = r"not finite at step 3 with learning rate 1e\+30 \(videos .*\): lower train.base_lr"
    with pytest.raises(DivergenceError, match=words) as caught:
        stage.train(toy.cache, config, toy.workspace(tmp_path))
    named = str(caught.value).partition("(videos ")[2].partition(", …")[0].split(", ")
    assert len(named) == 2
    assert all((toy.videos_dir / video_id).is_file() for video_id in named)
    (partial,) = tmp_path.glob("train/*.partial")
    assert [line["step"] for line in lines(partial)] == [1, 2]
    assert not list(partial.glob("step-*"))


@pytest.fixture(scope="module")
def one_step(toy):
    """A small I3D with a non-local block, its gradients, and a batch."""
    config = small_config(model__nl_res3=(0,), model__nl_res4=())
    ms.set_seed(3)
    net = I3D(config.model, 4)
    for parameter in net.trainable_params():  # the last norms begin at 0 and would hide the rest
        if parameter.name.endswith("gamma"):
            parameter.set_data(ms.ops.ones_like(parameter))
    net.set_train(True)
    rng = np.random.default_rng(0)
    clip = ms.Tensor(rng.integers(0, 256, (2, 3, 4, 32, 32)).astype(np.uint8))
    label, keep = ms.Tensor([1, 3], ms.int32), ms.Tensor(loop.dropout_mask(config, 0, 2))

    def forward(clip, label, keep):
        return ops.cross_entropy(net.classify(net.features(loader.normalise(clip, net.model)) * keep), label)

    gradients = ms.jit(ms.grad(forward, None, net.trainable_params()))
    return net, gradients, (clip, label, keep)


@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_sgd_with_momentum_that_decays_only_kernels(one_step, nesterov):
    net, gradients, batch = one_step
    config = small_config(train__nesterov=nesterov, train__weight_decay=0.1, train__momentum=0.8)
    rates = np.array([0.01, 0.02, 0.005], np.float32)
    take_step = loop.make_step(net, loop.make_optimizer(net, rates, config))
    parameters = list(net.trainable_params())
    kernels = {p.name for p in parameters if p.name.endswith("weight")}
    assert 0 < len(kernels) < len(parameters)
    weights = [parameter.asnumpy().astype(np.float64) for parameter in parameters]
    speeds = [np.zeros_like(weight) for weight in weights]
    for rate in rates:
        slopes = [slope.asnumpy() for slope in gradients(*batch)]
        take_step(*batch)
        for i, (parameter, slope) in enumerate(zip(parameters, slopes, strict=True)):
            slope = slope + (0.1 * weights[i] if parameter.name in kernels else 0.0)
            speeds[i] = 0.8 * speeds[i] + slope
            weights[i] -= rate * (slope + 0.8 * speeds[i] if nesterov else speeds[i])
            np.testing.assert_allclose(
                parameter.asnumpy(), weights[i], rtol=1e-4, atol=1e-5, err_msg=parameter.name
            )
            weights[i] = parameter.asnumpy().astype(np.float64)


def test_the_dropout_mask_is_a_function_of_seed_and_step():
    config = small_config(model__width=64, model__dropout=0.3)
    mask = loop.dropout_mask(config, 5, 16)
    assert (mask.shape, mask.dtype) == ((16, 2048), np.float32)
    assert np.array_equal(mask, loop.dropout_mask(config, 5, 16))
    assert not np.array_equal(mask, loop.dropout_mask(config, 6, 16))
    assert not np.array_equal(mask, loop.dropout_mask(small_config(model__width=64, train__seed=1), 5, 16))
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.7)}
    assert mask.mean() == pytest.approx(1, abs=0.02)
    assert (loop.dropout_mask(small_config(model__dropout=0), 5, 2) == 1).all()


def test_the_first_signal_waits_for_the_step_and_another_one_later_does_not(monkeypatch):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with loop.stop_between_steps() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
    monkeypatch.setattr(loop, "SAME_SIGNAL_S", 0.0)
    with pytest.raises(KeyboardInterrupt), loop.stop_between_steps() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
        os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(5)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_stay_as_they_are():
    before, found = signal.getsignal(signal.SIGINT), []

    def run():
        with loop.stop_between_steps() as stop:
            found.append((signal.getsignal(signal.SIGINT), stop.is_set()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(before, False)]
