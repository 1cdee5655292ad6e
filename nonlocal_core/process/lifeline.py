"""Lifelines: a process ends when another one is gone, also after `kill -9`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

WATCHER = """
born() { cut -d " " -f 22 "/proc/$1/stat"; }
was=$(born "$1")
cat
[ "$(born "$1")" = "$was" ] && kill -TERM $(cat "/proc/$1/task/$1/children") "$1"
"""
"""it compares start times, because the process's number may by then belong to another process"""


def children(process_id: int) -> list[int]:
    """The processes that a process has started and that still run."""
    try:
        return [
            int(child)
            for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text(encoding="utf-8").split()
        ]
    except OSError:  # it is gone, or the system is not Linux
        return []


def die_with(descriptor: int) -> None:
    """Kill this process once the other end of a pipe or socket closes; nothing else may be sent through it."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def end_with_us(process_id: int) -> None:
    """Tell another process and its children to end once this process is gone.

    A shell reads from a pipe that this process alone can write to: it closes when this process dies of anything.
    """
    reader, writer = os.pipe()
    os.set_inheritable(writer, False)
    os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", WATCHER, "lifeline", str(process_id)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reader, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
    )
    os.close(reader)
