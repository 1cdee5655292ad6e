"""Let Ctrl-C and SIGTERM wait for the end of a step."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SAME_SIGNAL_S = 2.0


def stops_between_steps(process_id: int) -> bool:
    """Whether a process is in `stop_between_steps`: without it, no process of ours handles SIGTERM."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


@contextlib.contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets instead of interrupting a step; a second signal, later, interrupts it.

    One Ctrl-C arrives twice: from the terminal, and from the parent process, which passes it on.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    requested_s = float("inf")

    def request(number: int, frame: object) -> None:
        nonlocal requested_s
        if not stop.is_set():
            requested_s = time.monotonic()
            stop.set()
        elif time.monotonic() - requested_s > SAME_SIGNAL_S:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()
