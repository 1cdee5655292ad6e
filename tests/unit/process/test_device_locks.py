"""Two real processes and one device: they take turns, and who waits says for whom."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
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


def test_the_order_of_the_locks_is_the_same_however_devices_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two processes could wait for each other."""
    orders = []
    for visible in ("0,1,10", "10, 1, 0", " 1,10 ,0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        orders.append(device_locks._names("GPU", 3))
    assert orders == [["GPU-0", "GPU-1", "GPU-10"]] * 3


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


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the locks in a folder that every user can write as /tmp, which `tmp_path` is not."""
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o1777)
        monkeypatch.setenv("TMPDIR", temporary)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(temporary) / "nonlocal-devices"


def held_by(user: int) -> subprocess.Popen[str]:
    """A process of a user that holds the first GPU of the host."""
    code = HOLD.replace("device_locks.reserve", f"import os; os.setuid({user})\ndevice_locks.reserve")
    return python(code.format(folder="", seconds=60, target="GPU", count=1))


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become other users")
def test_users_of_one_host_take_turns(shared: Path) -> None:
    with held_by(12345) as first:
        assert line(first) == "holds"
        assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
        with held_by(23456) as second:
            assert line(second) == f"waiting for process {first.pid} on {socket.gethostname()}, which holds GPU-0"
            first.kill()
            assert line(second) == "holds"
            with held_by(12345) as third:
                assert line(third).startswith(f"waiting for process {second.pid} on ")
                second.kill()
                assert line(third) == "holds"
                third.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become other users")
@pytest.mark.parametrize("planted", ["link", "folder", "file"])
def test_what_another_user_has_planted_is_one_line(shared: Path, tmp_path: Path, planted: str) -> None:
    if planted == "link":
        shared.symlink_to(tmp_path)
    elif planted == "folder":
        shared.mkdir(mode=0o755)
    else:
        shared.touch()
    os.chown(shared, 12345, -1, follow_symlinks=False)
    with pytest.raises(ConfigError, match="of user 12345 is no folder that all users share"):
        device_locks.reserve("GPU", 1, RuntimeConfig())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_planted_lock_changes_nothing_elsewhere(shared: Path, tmp_path: Path, link: str) -> None:
    mine = shared.parent / "mine"
    mine.write_text("precious")
    shared.mkdir()
    getattr(shared / "Ascend-7.lock", link)(mine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASCEND_RT_VISIBLE_DEVICES", "7")
        with contextlib.suppress(ConfigError):
            device_locks.reserve("Ascend", 1, RuntimeConfig())
    assert mine.read_text() == "precious"
