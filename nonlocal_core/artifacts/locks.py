"""Locks between processes: a lock dies with its holder, and who waits says for whom."""

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
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of a name in a folder; waits, and says for whom, while another process holds it."""
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
        holder.unlink(missing_ok=True)  # of another user, who was killed
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read(holder: Path) -> str:
    try:
        return holder.read_text()
    except OSError:  # it is just taking or leaving the lock
        return "another process"
