"""Trainings on two devices: what they learn, and how they end; real processes, started by msrun."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from small import PLAIN, python, small_config

from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import ConfigError
from nonlocal_core.models import checkpoint
from nonlocal_core.stages import train as stage
from nonlocal_core.training import parallel, step_checkpoint
from nonlocal_core.training.collectives import Ranks
from nonlocal_core.training.validation import Validator
from nonlocal_core.training.videos import Videos


def trained(toy, folder, num_devices, **overrides):
    """The log, the first validation and the weights of a training."""
    workspace = toy.workspace(folder)
    made = stage.train(toy.cache, small_config(**overrides, runtime__num_devices=num_devices), workspace)
    path = workspace.path(made)
    described, weights = checkpoint.read(path / made.file)
    return lines(path), described.validations, weights


def lines(path):
    return [json.loads(line) for line in (path / Checkpoint.LOG).read_text().splitlines()]


SHORT: dict[str, object] = {
    **PLAIN,
    "model__norm": "frozen",  # so that BN does not look at the batch
    "model__nl_norm": "frozen",
    "model__zero_gamma": False,
    "train__batch_size": 4,
    "train__steps": 3,
    "train__clip_norm": 1.4,  # the second step's gradients are longer, the others' are not
    "train__ema": 0.5,
    "train__base_lr": 0.1,
    "train__warmup_epochs": 0,
}


@pytest.fixture(scope="module")
def alone(toy, tmp_path_factory):
    """What one device learns."""
    return trained(toy, tmp_path_factory.mktemp("alone") / "one", 1, **SHORT)


def check_weights(weights, expected):
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), err_msg=name)


def test_two_devices_learn_what_one_does_with_the_whole_batch(toy, tmp_path, alone):
    log, validations, weights = trained(toy, tmp_path / "two", 2, **SHORT)
    expected_log, expected, alone_weights = alone
    for name in ("step", "epoch", "lr", "top1"):
        assert [line[name] for line in log] == [line[name] for line in expected_log]
    np.testing.assert_allclose([line["loss"] for line in log], [line["loss"] for line in expected_log], rtol=1e-5)
    assert len({line["loss"] for line in log}) == 3
    for found, wanted in zip(validations, expected, strict=True):
        assert (found.step, found.top1) == (wanted.step, wanted.top1)
        assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
    assert [validation.step for validation in validations] == [2, 3]
    check_weights(weights, alone_weights)


@pytest.mark.campaign  # now and then the second host never meets the first one
def test_two_hosts_learn_what_one_does(toy, tmp_path, alone):
    """The hosts are two addresses of this machine; the second starts what the first one says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {**SHORT, "runtime__num_devices": 2, "runtime__hosts": f"127.0.0.1:{port},127.0.0.2"}
    first, folder = started(toy, tmp_path, **settings)
    wait_until(lambda: (folder / parallel.JOB_FILE).exists())
    words = [sys.executable, "-m", "nonlocal_core.training.parallel", str(folder), "1"]
    second = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said, problems = first.communicate(timeout=240)
    assert (said, first.returncode) == ("", 0), problems
    others, _ = second.communicate(timeout=60)
    assert second.returncode == 0, others
    (made,) = (tmp_path / "train").glob(f"*/{Checkpoint.WEIGHTS}")
    check_weights(checkpoint.read(made)[1], alone[2])


LONG: dict[str, object] = {  # two parts of two clips each device; the numbers below are steps
    "train__batch_size": 8,
    "train__micro_batch": 2,
    "train__mixup": 0.3,
    "train__epochs": 30,
    "train__base_lr": 0.002,
    "train__val_epochs": 30,
    "runtime__checkpoint_steps": 4,
}


def started(toy, folder, **overrides):
    """A process with the stage, as a task runs it, and the folder that it trains in."""
    process = python(f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are deaf to it
from pathlib import Path
from small import small_config
from nonlocal_core.process import child
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import ChildError
from nonlocal_core.stages.train import train
cache = RecordCache.model_validate_json({toy.cache.model_dump_json()!r})
try:
    child.call(train, cache, small_config(**{overrides!r}), Workspace(Path({str(folder)!r})))
except ChildError as error:
    print(error.worth_retrying, error)
except KeyboardInterrupt:
    print("interrupted")
""")
    workspace = toy.workspace(folder)
    return process, workspace.partial(Checkpoint, stage.key(toy.cache, small_config(**overrides), workspace))


def wait_until(found, within_s=100.0):
    deadline_s = time.monotonic() + within_s
    while not (what := found()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return what


def processes(folder):
    """The ids of msrun and its processes that train in a folder, by what they are."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode().split("\0")
            environment = dict(
                line.split("=", 1) for line in (process / "environ").read_text().split("\0") if "=" in line
            )
        except OSError:
            continue
        if any(str(folder) in part for part in command) and "nonlocal_core.training.worker" in command:
            role = environment.get("MS_ROLE", "msrun")
            found[environment["RANK_ID"] if role == "MS_WORKER" else role] = int(process.name)
    return found


@pytest.mark.campaign("kill")
@pytest.mark.timeout(900)
def test_a_training_whose_device_or_stage_dies_goes_on_when_it_is_run_again(toy, tmp_path):
    """And BN and mixup are those of one device that takes the parts of both, one after the other."""
    settings = {**LONG, "runtime__num_devices": 2}
    stage_process, folder = started(toy, tmp_path, **settings)
    wait_until(lambda: processes(folder).keys() >= {"0", "1", "MS_SCHED", "msrun"})
    stage_process.kill()
    stage_process.communicate()
    wait_until(lambda: not processes(folder), 30)

    process, _ = started(toy, tmp_path, **settings)
    wait_until(lambda: step_checkpoint.latest(folder))
    process_id = processes(folder)["1"]
    killed_s = time.monotonic()
    os.kill(process_id, signal.SIGKILL)
    said, problems = process.communicate(timeout=60)
    assert time.monotonic() - killed_s < 60
    assert problems == ""
    # msrun kills the other device within a second; on a busy machine its end may be seen first.
    words = "True the process of device [01] died: run again, the training continues where it was"
    assert re.match(words, said)
    assert not processes(folder)
    kept = lines(folder)
    assert 4 <= len(kept) < 30

    # With a checkpoint a step there is time enough to interrupt it.
    process, _ = started(toy, tmp_path, **{**settings, "runtime__checkpoint_steps": 1})
    wait_until(lambda: len(lines(folder)) > len(kept))
    process.send_signal(signal.SIGINT)
    said, problems = process.communicate(timeout=60)
    assert (said, problems, process.returncode) == ("interrupted\n", "", 0)
    assert not processes(folder)
    interrupted = lines(folder)
    assert step_checkpoint.latest(folder) == step_checkpoint.step_path(folder, len(interrupted))

    log, (validation,), weights = trained(toy, tmp_path, 2, **LONG)
    expected_log, _, alone = trained(toy, tmp_path / "one", 1, **LONG)
    assert [line["step"] for line in log] == list(range(1, 31))
    assert log[: len(interrupted)] == interrupted
    np.testing.assert_allclose([line["loss"] for line in log], [line["loss"] for line in expected_log], rtol=1e-3)
    assert not list((tmp_path / "train").glob(f"*/{parallel.JOB_FILE}"))
    for name in (name for name in alone if ".moving_" not in name):
        size = np.abs(alone[name]).max()
        np.testing.assert_allclose(weights[name], alone[name], atol=1e-6 + 1e-3 * size, err_msg=name)
    reader = RecordReader(toy.workspace(tmp_path), toy.cache)
    videos = Videos(reader, [], loader.readable_rows(reader, "val"))
    again = Validator(videos, 4, small_config(**LONG)).validate(weights, 30, Event())  # BN of the first device
    assert (validation.step, validation.top1) == (30, again.top1)
    assert validation.loss == pytest.approx(again.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"train__batch_size": 3}, "train.batch_size=3 cannot be shared by runtime.num_devices=2: take"),
        (
            {"train__batch_size": 12, "train__micro_batch": 4},
            "num_devices=2 in parts of train.micro_batch=4 clips",
        ),
        ({"runtime__hosts": "a:1,b,c"}, "num_devices=2 cannot be shared by the 3 of runtime.hosts"),
        ({"runtime__hosts": "a,b"}, "runtime.hosts=a,b: the first one needs a free port, such as a:8118"),
    ],
)
def test_what_the_devices_cannot_share(toy, tmp_path, overrides, words):
    config = small_config(**overrides, runtime__num_devices=2)
    with pytest.raises(ConfigError, match=words):
        stage.train(toy.cache, config, toy.workspace(tmp_path))


def test_a_device_sees_its_own_micro_batch():
    train = small_config(train__batch_size=16, train__micro_batch=2).train
    config = small_config(train__batch_size=16)
    assert Ranks(1, 4).config(config).train.micro_batch == 4
    assert Ranks(0, 4).config(config.model_copy(update={"train": train})).train.micro_batch == 2
    assert Ranks(0, 1).config(config) == config
    assert Ranks(1, 4).part(np.arange(8)).tolist() == [2, 3]


def test_one_device_hears_itself():
    tensors: checkpoint.Tensors = {"a": np.ones(3, np.float32)}
    assert Ranks().mean(0.1, 2.0) == (0.1, 2.0)
    assert Ranks().first(tensors) is tensors
    Ranks().check_same("anything")
