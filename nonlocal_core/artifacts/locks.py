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
    """Hold the lock of a name in a folder; while another process holds it, wait and log which one."""
    lock = FileLock(folder / f"{name}.lock", mode=0o666)
    holder = folder / f"{name}.holder"
    waits = False
    while True:
        try:
            lock.acquire(timeout=SAY_EVERY_S if waits else 0)
            break
        except Timeout:
            log.info("waiting for %s, which holds %s", _read(holder), name)
            waits = True
    try:
        holder.unlink(missing_ok=True)  # left by a killed process, maybe of another user
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text()
    except OSError:  # it has not written the file yet, or has just removed it
        return "another process"
