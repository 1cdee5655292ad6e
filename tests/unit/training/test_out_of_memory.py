"""Real processes with too little memory: half of the clips at a time, once, and remembered."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import memory_functions as functions
import pytest
from small import small_config

from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ChildError, is_worth_retrying
from nonlocal_core.process import child
from nonlocal_core.training import out_of_memory


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


class Attempts:
    """Trainings whose process takes 100 MB for each clip that goes through at a time."""

    def __init__(self, limit_mb: int) -> None:
        self.limit_mb = limit_mb
        self.tried: list[int] = []

    def __call__(self, config: Config) -> int:
        clips = config.train.micro_batch or config.train.batch_size
        self.tried.append(clips)
        return child.call(functions.compute, clips, self.limit_mb)


def test_half_is_tried_once_and_remembered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, note, attempts = small_config(train__batch_size=8), tmp_path / "note", Attempts(600)
    assert out_of_memory.retry_halved(attempts, config, note) == 4
    assert attempts.tried == [8, 4]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "in parts of train.micro_batch=4 clips (2 parts a batch)" in record.getMessage()
    assert out_of_memory.retry_halved(attempts, config, note) == 4
    assert attempts.tried == [8, 4, 4]
    note.unlink()
    assert out_of_memory.retry_halved(Attempts(2000), config, note) == 8
    assert not note.exists()


def test_half_that_is_too_much_ends_it(tmp_path: Path) -> None:
    config, attempts = small_config(train__batch_size=8), Attempts(200)
    for _ in range(2):
        with pytest.raises(ChildError, match="runs out of memory with 4 clips at a time, too: lower") as caught:
            out_of_memory.retry_halved(attempts, config, tmp_path / "note")
        assert not is_worth_retrying(caught.value)
    assert attempts.tried == [8, 4, 4]


def test_one_clip_has_no_half(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="runs out of memory with one clip at a time: lower"):
        out_of_memory.retry_halved(Attempts(50), small_config(train__batch_size=1), tmp_path / "note")


def test_what_mindspore_says_is_understood(tmp_path: Path) -> None:
    tried: list[int] = []

    def attempt(config: Config) -> None:
        tried.append(config.train.micro_batch)
        if len(tried) == 1:
            child.call(functions.compute_in_mindspore, 8)

    out_of_memory.retry_halved(attempt, small_config(train__batch_size=4), tmp_path / "note")
    assert tried == [0, 2]


def test_a_process_that_a_person_kills_is_no_sign_of_too_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux counts whom it kills for want of memory."""
    config, note = small_config(train__batch_size=8), tmp_path / "note"
    with pytest.raises(ChildError, match="was killed by SIGKILL"):
        out_of_memory.retry_halved(lambda asked: child.call(functions.die), config, note)
    assert not note.exists()
    counts = tmp_path / "vmstat"
    monkeypatch.setattr(out_of_memory, "COUNTS", counts)
    tried: list[int] = []

    def killed_by_linux(asked: Config) -> None:
        counts.write_text(f"nr_free_pages 9\noom_kill {len(tried)}\n")
        tried.append(asked.train.micro_batch)
        if len(tried) == 1:
            try:
                child.call(functions.die)
            finally:
                counts.write_text("nr_free_pages 9\noom_kill 1\n")

    counts.write_text("oom_kill 0\n")
    out_of_memory.retry_halved(killed_by_linux, config, note)
    assert tried == [0, 4]


@pytest.mark.parametrize(
    ("batch", "micro", "devices", "half"),
    [
        (8, 0, 1, 4),
        (8, 4, 1, 2),
        (6, 0, 1, 3),
        (9, 0, 1, 3),
        (7, 0, 1, 1),
        (8, 0, 2, 2),
        (64, 8, 8, 4),
        (1, 0, 1, None),
    ],
)
def test_half_divides_the_batch_of_a_device(batch: int, micro: int, devices: int, half: int | None) -> None:
    config = small_config(train__batch_size=batch, train__micro_batch=micro, runtime__num_devices=devices)
    found = out_of_memory.halved(config)
    assert (found and found.train.micro_batch) == half
    if found:
        assert batch // devices % found.train.micro_batch == 0
