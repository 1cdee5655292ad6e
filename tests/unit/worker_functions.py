"""What the tests of `nonlocal_core.process.workers` run in a worker."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from nonlocal_core import errors
from nonlocal_core.process import workers


def double(item: int) -> int:
    return 2 * item


def process_of(item: int) -> int:
    return os.getpid()


def crash_at_three(item: int) -> int:
    if item == 3:
        ctypes.string_at(0)
    return item


def crash_once(item: Path) -> str:
    if not item.exists():
        item.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def hang_at_three(item: int) -> int:
    if item == 3:
        ctypes.CDLL(None).pause()  # no signal of Python's gets through
    return item


def work_slowly(item: float) -> str:
    for _ in range(10):
        time.sleep(item)
        workers.alive()
    return "done"


def refuse(item: str) -> None:
    raise errors.DecodeError(item)


def fail(item: str) -> None:
    raise KeyError(item)


def fill(item: Path) -> None:
    item.write_bytes(bytes(2**21))


def give_what_cannot_be_sent(item: object) -> object:
    return lambda: None


def hang(item: Path) -> None:
    item.write_text(str(os.getpid()))
    ctypes.CDLL(None).pause()


def work_in_parts(item: int) -> int:
    for part in range(1, 4):
        workers.alive(item + part)
        time.sleep(1.5 * workers.BEAT_S)
    return item
