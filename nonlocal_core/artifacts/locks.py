"""Locks between processes: a lock ends with its holder, and a process that waits logs for whom."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

SAY_EVERY_S = 30


@contextlib.contextmanager
def hold(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a name in a folder; while another process holds it, wait and log which one.

    The lock is a file, which is kept and says who holds it.  Other users may hold it too.
    """
    file = folder / f"{name}.lock"
    lock = FileLock(file, mode=0o666)  # it follows no link
    waits = False
    while True:
        try:
            lock.acquire(timeout=SAY_EVERY_S if waits else 0)
            break
        except Timeout:
            log.info("waiting for %s, which holds %s", _holder(file), name)
            waits = True
    try:
        _write(file, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with contextlib.suppress(OSError):  # the folder is gone
            _write(file, "")
        lock.release()


def held_since(folder: Path) -> list[float]:
    """When each lock of a folder that another process holds was taken (seconds since 1970)."""
    taken_s = []
    for file in folder.glob("*.lock"):
        with hold_if_free(folder, file.stem) as is_free, contextlib.suppress(FileNotFoundError):
            if not is_free:
                taken_s.append(file.stat().st_mtime)
    return taken_s


@contextlib.contextmanager
def hold_if_free(folder: Path, name: str) -> Iterator[bool]:
    """Hold the lock of a name, or give False if another process holds it."""
    lock = FileLock(folder / f"{name}.lock", mode=0o666)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _write(file: Path, holder: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_nlink == 1:  # else it is a file of somebody's under a second name
            os.truncate(descriptor, 0)
            os.write(descriptor, holder.encode())
    finally:
        os.close(descriptor)


def _holder(file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:  # it was free and old, and has just been removed
        return "another process"
    try:
        return os.read(descriptor, 200).decode(errors="replace") or "another process"  # it has not said so yet
    finally:
        os.close(descriptor)
