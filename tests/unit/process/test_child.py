from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import child_functions as functions
import pytest

from nonlocal_core.errors import ChildError, DamagedError, all_errors, is_worth_retrying
from nonlocal_core.process import child
from nonlocal_core.process.progress import TICKS


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child imports the functions by name, as it does the stages."""
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))


def test_the_result_comes_back_from_another_process():
    assert child.call(functions.add, [1], [2]) == [1, 2]
    assert child.call(functions.nothing) is None
    assert child.call(functions.process_id) != os.getpid()


def test_arguments_and_results_may_be_large():
    text = "x" * 10_000_000
    assert child.call(functions.add, text, "y") == text + "y"


@pytest.mark.parametrize("name", [name for name in all_errors() if name not in ("NonlocalError", "ChildError")])
def test_our_errors_cross_with_their_class(name):
    with pytest.raises(all_errors()[name]) as caught:
        child.call(functions.raise_ours, name, "what is wrong: do this")
    assert (type(caught.value).__name__, str(caught.value)) == (name, "what is wrong: do this")


@pytest.mark.parametrize(
    ("name", "worth_retrying"),
    [("OSError", True), ("MemoryError", True), ("RuntimeError", True), ("ValueError", False), ("KeyError", False)],
)
def test_another_exception_becomes_a_child_error_with_its_traceback(name, worth_retrying):
    with pytest.raises(ChildError, match=r"raise_builtin failed:\nTraceback") as caught:
        child.call(functions.raise_builtin, name)
    assert "child_functions.py" in str(caught.value)
    assert f"{name}: " in str(caught.value)
    assert is_worth_retrying(caught.value) == worth_retrying


@pytest.mark.parametrize(("how", "words"), [("signal", "was killed by SIGKILL"), ("exit", "ended with code 3")])
def test_a_process_that_dies_is_worth_another_try_and_its_last_words_are_kept(how, words):
    with pytest.raises(ChildError, match=rf"^the process of child_functions {words}: run again") as caught:
        child.call(functions.die, how)
    lines = str(caught.value).splitlines()
    assert lines[1:] == [*(f"line {number}" for number in range(9, 20)), "native library: double free"]
    assert is_worth_retrying(caught.value)


def test_a_result_that_cannot_be_sent_is_an_error_and_not_a_hang():
    with pytest.raises(ChildError, match="pickle"):
        child.call(functions.give_what_cannot_be_sent)


def test_log_and_progress_arrive_under_their_names(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, "nonlocal_core")
    monkeypatch.setattr(logging.getLogger(TICKS), "handlers", [caplog.handler])
    child.call(functions.tell)
    records = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert records[:3] == [
        ("nonlocal_core.somewhere", "INFO", "hello {'who': 'you'}"),
        ("nonlocal_core.other", "WARNING", "careful"),
        (TICKS, "DEBUG", "x 1.0"),
    ]
    assert caplog.records[1].levelno == logging.WARNING
    assert caplog.records[2].progress.items() >= {
        "stage": "cache", "what": "shard 3", "done": 2, "total": 2, "unit": "videos"
    }.items()  # fmt: skip
    assert records[3][:2] == ("nonlocal_core.process.progress", "INFO")
    assert [hasattr(record, "progress") for record in caplog.records[:4]] == [False, False, True, False]
    assert "not ours" not in caplog.text
    assert "it broke\nTraceback" in records[-1][2]


def test_records_below_the_level_of_their_logger_are_not_shown(caplog):
    caplog.set_level(logging.WARNING, "nonlocal_core")
    caplog.handler.setLevel(logging.NOTSET)  # the logger alone decides
    child.call(functions.tell)
    shown = [record.getMessage().split("\n")[0] for record in caplog.records if record.name != TICKS]
    assert shown == ["careful", "it broke"]


def test_a_talkative_child_does_not_block():
    assert child.call(functions.talk_a_lot, 3000) == 3000


def test_calls_from_threads_do_not_mix():
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda number: child.call(functions.add, number, 1), range(8)))
    assert sums == list(range(1, 9))


def test_several_calls_at_a_time_each_with_its_own_environment():
    calls = [partial(functions.variable, "NUMBER", wait_s) for wait_s in (0.2, 0.0, 0.0)]
    found = child.call_all(calls, [{"NUMBER": str(number)} for number in range(3)])
    assert found == ["0", "1", "2"]


@pytest.mark.parametrize("how", ["signal", "raise"])
def test_the_first_of_several_calls_that_fails_ends_the_others(how, tmp_path):
    calls = [partial(functions.fail_or_wait, what, tmp_path / name) for what, name in ((how, "a"), ("wait", "b"))]
    words = {"signal": "was killed by SIGKILL: run again", "raise": "what is wrong"}
    started_s = time.monotonic()
    with pytest.raises((ChildError, DamagedError), match=words[how]):
        child.call_all(calls, [{}, {}])
    assert time.monotonic() - started_s < 60
    assert is_gone(int((tmp_path / "b").read_text()), within_s=10)


def test_damage_in_the_child_is_damage_here():
    with pytest.raises(DamagedError):
        child.call(functions.raise_ours, "DamagedError", "x")


def start_parent(
    folder: Path, function: str = "wait", more: str = "", stop_s: float = child.STOP_S
) -> tuple[subprocess.Popen[bytes], int]:
    """A process that waits for a child, and the child's id."""
    files = f"Path({str(folder / 'started')!r}), Path({str(folder / 'kept')!r})"
    code = (
        "import signal, sys; from pathlib import Path; import child_functions\n"
        "from nonlocal_core.process import child\n"
        f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); child.STOP_S = {stop_s}\n"
        f"child.call(child_functions.{function}, {files}{more})"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, start_new_session=True)
    deadline_s = time.monotonic() + 30
    while not (folder / "started").exists() or not (folder / "started").read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return parent, int((folder / "started").read_text())


def is_gone(process_id: int, within_s: float = 10) -> bool:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # dead; whoever adopted it has not looked yet
            return True
        time.sleep(0.02)
    return False


def test_the_child_dies_with_its_parent(tmp_path):
    parent, child_id = start_parent(tmp_path)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert is_gone(child_id)
    assert not (tmp_path / "kept").exists()


def test_a_stopped_parent_lets_the_child_keep_its_work(tmp_path):
    parent, child_id = start_parent(tmp_path)
    parent.send_signal(signal.SIGINT)
    parent.wait(30)
    assert (tmp_path / "kept").read_text() == "kept"
    assert is_gone(child_id, within_s=10)


def test_a_step_that_takes_long_is_finished_and_a_second_signal_cuts_it(tmp_path):
    parent, child_id = start_parent(tmp_path, "take_a_step", ", 1.5", stop_s=0.1)
    parent.send_signal(signal.SIGINT)
    parent.wait(30)
    assert (tmp_path / "kept").read_text() == "kept"
    assert is_gone(child_id)
    other = tmp_path / "other"
    other.mkdir()
    parent, child_id = start_parent(other, "take_a_step", ", 30", stop_s=0.1)
    parent.send_signal(signal.SIGINT)
    time.sleep(1)
    assert parent.poll() is None
    parent.send_signal(signal.SIGINT)
    parent.wait(10)
    assert is_gone(child_id)
    assert not (other / "kept").exists()


def test_what_hangs_is_ended_all_the_same(tmp_path):
    parent, child_id = start_parent(tmp_path, "hang", stop_s=0.1)
    parent.send_signal(signal.SIGINT)
    parent.wait(10)
    assert is_gone(child_id)


def test_sigterm_to_the_whole_group_reaches_the_child_through_its_parent(tmp_path):
    """What a machine that shuts down sends; the child would die of it before it has kept its work."""
    parent, child_id = start_parent(tmp_path)
    os.killpg(parent.pid, signal.SIGTERM)
    assert parent.wait(30) == 143
    assert (tmp_path / "kept").read_text() == "kept"
    assert is_gone(child_id, within_s=10)
