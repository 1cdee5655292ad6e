"""Trainings that are killed end as if they had not been."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from small import PLAIN, python, small_config

from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DivergenceError
from nonlocal_core.models import checkpoint
from nonlocal_core.stages import train as stage
from nonlocal_core.training import step_checkpoint

NUM_STEPS = 12  # 8 videos, 2 a step, 3 epochs
STATES = {  # what a checkpoint of a step has to keep, and draws of the loader
    **PLAIN,
    "train__ema": 0.8,
    "train__label_smoothing": 0.1,
    "train__clip_norm": 5.0,
    "train__scale_max": 1.3,
    "train__colour_jitter": 0.3,
    "train__freeze": "stem",
    "train__select": "best",
    "runtime__checkpoint_steps": 2,
    "runtime__compile": "always",
}
BY_OPERATOR = {**STATES, "runtime__compile": "never"}
ALL = {**STATES, "train__mixup": 0.3, "train__precise_bn_batches": 2}  # each is a graph more to compile


def trained(toy, folder, **overrides):
    """What a training leaves in its folder: the reference, and its log and epochs without their times."""
    workspace = toy.workspace(folder)
    made = stage.train(toy.cache, small_config(**overrides), workspace)
    path = workspace.path(made)
    return made, lines(path / Checkpoint.LOG), lines(path / Checkpoint.EPOCHS)


def lines(path):
    parsed = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line.pop("clips_per_s") > 0 and 0 <= line.pop("waits") <= 1 for line in parsed)
    return parsed


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of a training that looks as if it was killed; `uncut` fills it."""
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def uncut(toy, killed, tmp_path_factory):
    """A training that nothing disturbs; `killed` gets what a kill would leave of it while it writes step 6."""
    folder, really = tmp_path_factory.mktemp("uncut"), os.fsync

    def fsync(file):
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if "step-00000006" in path.name and ".tmp" in path.name:
            shutil.copytree(path.parent, killed / path.parent.relative_to(folder))
            os.truncate(killed / path.relative_to(folder), path.stat().st_size // 2)
        really(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        return trained(toy, folder, **STATES, runtime__num_workers=1)


AT_STEP = """
class Cut(logging.Handler):
    def emit(self, record):
        if record.progress["done"] == {step}:
            if {delay_s}:
                threading.Timer({delay_s}, os.kill, (os.getpid(), {signals}[0])).start()
            else:
                for number in {signals}:
                    os.kill(os.getpid(), number)

progress.TICK_EVERY_S = 0.0
logging.getLogger(progress.TICKS).addHandler(Cut())
"""
IN_WRITE = """
really = os.fsync
def fsync(file):
    path = os.readlink(f"/proc/self/fd/{{file}}")
    if "step-{step:08d}" in path and ".tmp" in path:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    really(file)
os.fsync = fsync
"""


def cut(toy, folder, code, overrides, killed_by=signal.SIGKILL):
    """Train in another process that kills itself by some code; gives the folder that it leaves."""
    workspace = toy.workspace(folder)
    process = python(f"""
import logging, os, signal, threading
from pathlib import Path
from small import small_config
from nonlocal_core.process import progress
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.stages.train import train
{code}
cache = RecordCache.model_validate_json({toy.cache.model_dump_json()!r})
train(cache, small_config(**{overrides!r}), Workspace(Path({str(folder)!r})))
""")
    _, said = process.communicate(timeout=300)
    assert process.returncode == -killed_by, said
    config = small_config(**overrides)
    assert stage.find(toy.cache, config, workspace) is None
    return folder / "train" / f"{stage.key(toy.cache, config, workspace)}.partial"


def check_same(resumed, uncut):
    """Whether a training that was killed came out as the one that was not."""
    made, log, epochs = resumed
    expected, expected_log, expected_epochs = uncut
    assert made.digest == expected.digest
    assert (made.final_loss, made.num_steps) == (expected.final_loss, expected.num_steps)
    assert log == expected_log
    assert [line["step"] for line in log] == list(range(1, NUM_STEPS + 1))
    assert epochs == expected_epochs
    assert [epoch["step"] for epoch in epochs] == [4, 8, 12]


@pytest.mark.campaign("kill")
def test_a_training_that_is_killed_while_it_writes_ends_with_the_same_weights(toy, killed, uncut):
    """From what lies on disk at that moment; the next campaign kills processes."""
    (partial,) = killed.glob("train/*.partial")
    assert len(list(partial.glob("step-00000006*.tmp*"))) == 1
    assert step_checkpoint.step_path(partial, 4).exists()
    assert not step_checkpoint.step_path(partial, 6).exists()
    before = (partial / Checkpoint.LOG).read_text().splitlines()[:4]
    check_same(trained(toy, killed, **STATES, runtime__num_workers=2), uncut)
    (log,) = killed.glob(f"train/*/{Checkpoint.LOG}")
    assert log.read_text().splitlines()[:4] == before, "with their times: these steps are not taken again"


@pytest.fixture(scope="module")
def by_operator(toy, tmp_path_factory):
    """The training `uncut`, operator by operator."""
    return trained(toy, tmp_path_factory.mktemp("by_operator"), **BY_OPERATOR)


def test_a_short_training_is_not_compiled_and_learns_the_same(uncut, by_operator):
    (_, log, epochs), (_, expected_log, expected_epochs) = by_operator, uncut
    for line, expected in zip(log + epochs, expected_log + expected_epochs, strict=True):
        assert line == {name: pytest.approx(value, rel=1e-4, abs=1e-5) for name, value in expected.items()}


def test_a_training_that_is_killed_operator_by_operator_ends_with_the_same_weights(toy, by_operator, tmp_path):
    partial = cut(toy, tmp_path, IN_WRITE.format(step=6), {**BY_OPERATOR, "runtime__num_workers": 3})
    assert step_checkpoint.step_path(partial, 4).exists()
    assert not step_checkpoint.step_path(partial, 6).exists()
    check_same(trained(toy, tmp_path, **BY_OPERATOR, runtime__num_workers=1), by_operator)


@pytest.mark.campaign("kill")
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_weights(toy, tmp_path):
    """After a step; while a checkpoint is written; at any moment of a later step or of the validation after it."""
    rng = np.random.default_rng(11)
    after, writing, later = rng.integers(1, 4), 2 * rng.integers(2, 4), rng.integers(7, 9)
    delay_s = round(float(rng.uniform(0.0, 0.05)), 4)
    sigkill = [int(signal.SIGKILL)]

    partial = cut(toy, tmp_path, AT_STEP.format(step=after, delay_s=0, signals=sigkill), ALL)
    assert [line["step"] for line in lines(partial / Checkpoint.LOG)][:after] == list(range(1, after + 1))

    partial = cut(toy, tmp_path, IN_WRITE.format(step=writing), {**ALL, "runtime__num_workers": 3})
    assert len(list(partial.glob(f"step-{writing:08d}*.tmp*"))) == 1
    assert step_checkpoint.step_path(partial, writing - 2).exists()
    assert not step_checkpoint.step_path(partial, writing).exists()

    code = AT_STEP.format(step=later, delay_s=delay_s, signals=sigkill)
    partial = cut(toy, tmp_path, code, {**ALL, "runtime__num_workers": 1})
    assert not list(partial.glob(f"step-{writing:08d}*.tmp*"))
    newest = sorted(partial.glob("step-*"))[-1]
    newest.write_bytes(newest.read_bytes()[:-5])

    uncut = trained(toy, tmp_path / "uncut", **ALL, runtime__num_workers=1)
    check_same(trained(toy, tmp_path, **ALL, runtime__num_workers=3), uncut)


@pytest.fixture(scope="module")
def stopped(toy, tmp_path_factory):
    """What Ctrl-C from the terminal and from the parent leaves of a training with another seed."""
    code = AT_STEP.format(step=3, delay_s=0, signals=[int(signal.SIGINT)] * 2)
    return cut(toy, tmp_path_factory.mktemp("stopped"), code, {**PLAIN, "train__seed": 1}, signal.SIGINT)


def test_ctrl_c_keeps_the_step_even_if_it_comes_from_the_terminal_and_from_the_parent(stopped):
    assert [file.name for file in stopped.glob("step-*")] == ["step-00000003.safetensors"]
    assert [line["step"] for line in lines(stopped / Checkpoint.LOG)] == [1, 2, 3]


def test_the_log_has_what_happened(uncut):
    made, log, epochs = uncut
    assert [line["epoch"] for line in log] == [0] * 4 + [1] * 4 + [2] * 4
    assert log[0]["lr"] == pytest.approx(0.01)  # half of base_lr, after one of two steps of warm-up
    assert log[0]["loss"] == pytest.approx(np.log(4), rel=0.2)
    assert log[made.num_steps - 1]["loss"] == made.final_loss
    assert {line["top1"] for line in log} <= {0.0, 0.5, 1.0}
    assert epochs[1]["loss"] == pytest.approx(np.mean([line["loss"] for line in log[4:8]]))


def test_the_best_weights_are_handed_on(toy, uncut, tmp_path_factory):
    made, _, epochs = uncut
    best = max(epochs, key=lambda epoch: (epoch["val_top1"], -epoch["step"]))
    assert (made.num_steps, made.num_clips, made.file) == (best["step"], 2 * best["step"], "weights.safetensors")
    (folder,) = tmp_path_factory.getbasetemp().glob("uncut0/train/*")
    kept = {file.name for file in folder.glob("*.safetensors")}
    assert kept == {"weights.safetensors", f"best-{best['step']:08d}.safetensors"}
    described, _ = checkpoint.read(folder / made.file)
    assert described.step == best["step"]
    assert described.validations[-1].top1 == best["val_top1"]
    assert described.train.ema == 0.8
    assert described.manifest_digest == toy.manifest.digest


NOT_BETTER: dict[str, object] = {
    **PLAIN, "train__base_lr": 1e-9, "train__patience": 2, "train__epochs": 6, "train__val_epochs": 1,
    "runtime__keep_every_epochs": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def not_better(toy, tmp_path_factory):
    """A training whose rate is so small that nothing changes: the first validation stays the best."""
    folder = tmp_path_factory.mktemp("not_better")
    return folder, trained(toy, folder, **NOT_BETTER)


def test_a_training_that_does_not_get_better_ends_early_and_keeps_what_was_asked_for(toy, not_better):
    top, (made, log, epochs) = not_better
    assert [epoch["step"] for epoch in epochs] == [4, 8, 12]
    assert (len(log), made.num_steps) == (12, 12)
    (folder,) = top.glob("train/*")
    assert {file.name for file in folder.glob("*.safetensors")} == {
        "weights.safetensors",
        "best-00000004.safetensors",
        "step-00000008.safetensors",
    }
    picture = (folder / Checkpoint.CURVES).read_bytes()
    assert picture.startswith(b"\x89PNG")

    # Killed between its last weights and the end of the stage, it is not trained again.
    shutil.copyfile(folder / "weights.safetensors", step_checkpoint.step_path(folder, 12))
    (folder / "artifact.json").unlink()
    folder.rename(folder.with_name(f"{folder.name}.partial"))
    config = small_config(**NOT_BETTER)
    before = (folder.with_name(f"{folder.name}.partial") / Checkpoint.LOG).stat().st_mtime_ns
    assert stage.train(toy.cache, config, Workspace(top)) == made
    assert not step_checkpoint.step_path(folder, 12).exists()
    assert (folder / Checkpoint.LOG).stat().st_mtime_ns == before


def test_everything_that_the_seed_decides_changes_with_it(stopped, not_better):
    """Already the loss of the first step, which no learning rate has changed."""
    _, (_, log, _) = not_better
    assert lines(stopped / Checkpoint.LOG)[0]["loss"] != log[0]["loss"]


def test_numbers_that_are_not_finite_name_tensor_step_rate_and_videos(toy, tmp_path):
    """The loss does not show it: on a CPU ReLU makes 0 of NaN."""
    config = small_config(train__base_lr=30.0, train__schedule="step", train__val_epochs=0)
    words = r"not finite in res4.nl0.norm.moving_variance, at step 4 with learning rate 30 \(videos .*\): lower"
    with pytest.raises(DivergenceError, match=words) as caught:
        stage.train(toy.cache, config, toy.workspace(tmp_path))
    named = str(caught.value).partition("(videos ")[2].partition(", …")[0].split(", ")
    assert len(named) == 2
    assert all((toy.videos_dir / video_id).is_file() for video_id in named)
    (partial,) = tmp_path.glob("train/*.partial")
    log = lines(partial / Checkpoint.LOG)
    assert [line["step"] for line in log] == [1, 2, 3]
    assert all(math.isfinite(line["loss"]) for line in log)
    assert not list(partial.glob("step-*"))


def test_a_loss_that_stays_far_above_guessing_ends_the_training(toy, tmp_path):
    settings = {"train__base_lr": 3000.0, "train__schedule": "step", "train__epochs": 20, "train__val_epochs": 0}
    config = small_config(**PLAIN, **settings, train__freeze="res5")
    words = (
        r"median above 4.16, 3 times that of guessing, in the last 50 steps at step \d+ with learning rate 3e\+03"
    )
    with pytest.raises(DivergenceError, match=words):
        stage.train(toy.cache, config, toy.workspace(tmp_path))
    (partial,) = tmp_path.glob("train/*.partial")
    log = lines(partial / Checkpoint.LOG)
    assert 49 <= len(log) < 80
    assert np.median([line["loss"] for line in log[-49:]]) > 3 * math.log(4)
    assert all(line["step"] == number for number, line in enumerate(log, 1))
