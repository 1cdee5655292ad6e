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
