from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import worker_functions as functions
from small import python, small_disk

from nonlocal_core.errors import FULL_DISK, ChildError, DecodeError, WorkspaceError
from nonlocal_core.process import workers
from nonlocal_core.process.workers import Lost


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker imports the functions by name, as it does those of the stages."""
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_outcomes_come_in_order_from_one_other_process():
    assert list(workers.each(functions.double, range(5), 10)) == [0, 2, 4, 6, 8]
    processes = set(workers.each(functions.process_of, range(5), 10))
    assert len(processes) == 1
    assert os.getpid() not in processes
    process = processes.pop()
    assert isinstance(process, int)
    assert not is_alive(process)
    assert list(workers.each(functions.double, [], 10)) == []


def test_a_crash_loses_its_item_alone():
    outcomes = list(workers.each(functions.crash_at_three, range(6), 10))
    assert outcomes == [0, 1, 2, Lost("crashes the decoder (SIGSEGV)"), 4, 5]


def test_a_crash_gets_a_second_chance(tmp_path):
    assert list(workers.each(functions.crash_once, [tmp_path / "seen"], 10)) == ["survived"]


def test_a_hang_loses_its_item_alone_and_soon():
    started_s = time.monotonic()
    outcomes = list(workers.each(functions.hang_at_three, range(6), 0.5, "frame"))
    assert outcomes == [0, 1, 2, Lost("hangs the decoder: no frame for 0.5 s"), 4, 5]
    assert time.monotonic() - started_s < 30


def test_slow_work_that_shows_signs_of_life_is_not_lost():
    assert list(workers.each(functions.work_slowly, [0.3], 2.0)) == ["done"]
    assert list(workers.each(functions.work_slowly, [0.6], 0.3)) == [
        Lost("hangs the decoder: no result for 0.3 s")
    ]


def test_errors_cross():
    with pytest.raises(DecodeError, match=r"^no frames$"):
        list(workers.each(functions.refuse, ["no frames"], 10))
    with pytest.raises(ChildError, match="KeyError: 'x'"):
        list(workers.each(functions.fail, ["x"], 10))
    with pytest.raises(ChildError, match="pickle"):
        list(workers.each(functions.give_what_cannot_be_sent, ["x"], 10))


def test_a_disk_that_is_full_is_one_line(tmp_path):
    with small_disk(tmp_path / "disk", 2**20) as disk, pytest.raises(WorkspaceError) as caught:
        list(workers.each(functions.fill, [disk / "file"], 10))
    assert str(caught.value) == FULL_DISK


def test_whoever_stops_early_leaves_no_process():
    outcomes = workers.each(functions.process_of, range(5), 10)
    process = next(outcomes)
    assert isinstance(process, int)
    assert is_alive(process)
    outcomes.close()
    assert not is_alive(process)


def test_a_worker_dies_with_its_parent(tmp_path):
    code = "from pathlib import Path\nimport worker_functions as f\nfrom nonlocal_core.process import workers\n"
    parent = python(f"{code}list(workers.each(f.hang, [Path({str(tmp_path / 'pid')!r})], 60))")
    wait_for = tmp_path / "pid"
    while not (wait_for.exists() and wait_for.read_text()):
        time.sleep(0.05)
        assert parent.poll() is None, parent.communicate()
    worker = int(wait_for.read_text())
    assert is_alive(worker)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    for _ in range(100):
        if not is_alive(worker):
            return
        time.sleep(0.05)
    raise AssertionError("the worker is still there")


def test_an_interrupt_ends_the_work_of_other_threads_at_once():
    """Leaving a pool waits for its threads."""
    started_s, pool = time.monotonic(), ThreadPoolExecutor(2)
    with pytest.raises(KeyboardInterrupt), workers.interruptible(pool):
        work = [pool.submit(lambda: list(workers.each(functions.work_slowly, [60.0], 120))) for _ in range(2)]
        time.sleep(2)
        raise KeyboardInterrupt
    assert time.monotonic() - started_s < 30
    assert [str(one.exception()) for one in work] == ["stopped", "stopped"]
    assert list(workers.each(functions.double, [1], 10)) == [2]


def test_ctrl_c_at_a_terminal_does_not_reach_a_worker_that_starts():
    outcomes = workers.each(functions.process_of, range(2), 10)
    assert os.getsid(next(outcomes)) != os.getsid(0)  # type: ignore[arg-type]
    outcomes.close()


def test_what_is_done_of_an_item_is_told_while_it_goes_on():
    told = []
    outcomes = workers.each(
        functions.work_in_parts, [10, 20], 10, within=lambda item, done: told.append((item, done))
    )
    assert list(outcomes) == [10, 20]
    assert told == [(item, item + part) for item in (10, 20) for part in (1, 2, 3)]
