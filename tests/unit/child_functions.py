"""What the tests of `nonlocal_core.child` run in another process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from nonlocal_core import errors
from nonlocal_core.process import signals
from nonlocal_core.process.progress import Progress

log = logging.getLogger("nonlocal_core.somewhere")


def add(a: object, b: object) -> object:
    return a + b  # type: ignore[operator]


def nothing() -> None:
    pass


def process_id() -> int:
    return os.getpid()


def raise_ours(name: str, message: str) -> None:
    raise errors.all_errors()[name](message)


def raise_builtin(name: str) -> None:
    raise __builtins__[name]("some reason")  # type: ignore[index]


def die(how: str) -> None:
    print("\n".join(f"line {number}" for number in range(20)), file=sys.stderr, flush=True)
    os.write(2, b"native library: double free\n")
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


def give_what_cannot_be_sent() -> object:
    return lambda: None


def tell() -> None:
    log.info("hello %s", {"who": "you"})
    logging.getLogger("nonlocal_core.other").warning("careful")
    logging.getLogger("elsewhere").warning("not ours")
    Progress("cache", "shard 3", 2, "videos").advance(2, "x 1.0")
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        log.exception("it broke")


def talk_a_lot(num_lines: int) -> int:
    for number in range(num_lines):
        log.info("%d %s", number, "x" * 1000)
    return num_lines


def wait(started: Path, interrupted: Path) -> None:
    started.write_text(str(os.getpid()))
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.3)  # it has time to keep its work
        interrupted.write_text("kept")
        raise


def take_a_step(started: Path, kept: Path, seconds: float) -> None:
    """A step that Ctrl-C does not interrupt, as a training takes it."""
    with signals.stop_between_steps() as stop:
        started.write_text(str(os.getpid()))
        time.sleep(seconds)
        stop.wait(20)
        time.sleep(seconds)
        kept.write_text("kept")
        raise KeyboardInterrupt


def hang(started: Path, kept: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    started.write_text(str(os.getpid()))
    time.sleep(60)
    kept.write_text("kept")


def variable(name: str, wait_s: float) -> str:
    time.sleep(wait_s)
    return os.environ[name]


def fail_or_wait(how: str, file: Path) -> None:
    """Wait for ever, or fail once the other one waits."""
    file.write_text(str(os.getpid()))
    while how == "wait" or not (file.parent / "b").exists() or not (file.parent / "b").read_text():
        time.sleep(0.02)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    raise errors.DamagedError("what is wrong")
