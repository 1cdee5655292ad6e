"""Two real processes and one device: they take turns, and who waits says for whom."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from small import python

from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError
from nonlocal_core.process import device_locks

HOLD = """
import logging, sys, time
from nonlocal_core.process import device_locks
from nonlocal_core.config.sections import RuntimeConfig
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
device_locks.reserve({target!r}, {count}, RuntimeConfig(slots_dir={folder!r}))
print("holds", flush=True)
time.sleep({seconds})
"""


def holder(folder: Path, seconds: float, target: str = "GPU", count: int = 1) -> subprocess.Popen[str]:
    return python(HOLD.format(folder=str(folder), seconds=seconds, target=target, count=count))


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_the_second_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    with holder(tmp_path, 60) as first:
        assert line(first) == "holds"
        with holder(tmp_path, 0) as second:
            said = line(second)
            assert said.startswith(f"waiting for process {first.pid} on ")
            assert said.endswith(", which holds GPU-0")
            time.sleep(0.5)
            assert second.poll() is None
            first.kill()  # -9: nothing is tidied up
            started_s = time.monotonic()
            assert line(second) == "holds"
            assert time.monotonic() - started_s < 30


def test_two_devices_are_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with holder(tmp_path, 60) as first:
        assert line(first) == "holds"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
        with holder(tmp_path, 0) as second, holder(tmp_path, 0, count=2) as both:
            assert line(second) == "holds"
            assert line(both).endswith(", which holds GPU-3")
            first.kill()
            assert line(both) == "holds"


def test_a_process_keeps_what_it_has(tmp_path: Path) -> None:
    runtime = RuntimeConfig(slots_dir=str(tmp_path))
    for _ in range(2):  # training, then its evaluation in the same process
        device_locks.reserve("Ascend", 1, runtime)
    assert (tmp_path / "Ascend-0.lock").exists()


def test_the_cpu_is_shared_unless_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "unused"))
    device_locks.reserve("CPU", 1, RuntimeConfig())
    assert not (tmp_path / "unused").exists()
    device_locks.reserve("CPU", 1, RuntimeConfig(slots_dir=str(tmp_path / "named")))
    assert (tmp_path / "named" / "CPU-0.lock").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: name a folder with runtime\.slots_dir=DIR"):
        device_locks.reserve("GPU", 1, RuntimeConfig(slots_dir=str(tmp_path / "file" / "below")))
