"""What shards log in other processes of this machine is shown by the command that started them.

The command listens on a socket that the environment names, and the processes that inherit it speak there.
They end when the command does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from logging.handlers import SocketHandler
from pathlib import Path

from prefect.logging.handlers import PrefectConsoleHandler

from nonlocal_core.process.progress import TICKS

VARIABLE = "NONLOCAL_SHOWN_AT"
"""PROCESS:SOCKET of the command that shows what is logged"""
LOGGERS = ("nonlocal_core", TICKS)


def is_for_a_person(record: logging.LogRecord) -> bool:
    """Whether Prefect's console shows a record: warnings and retries.

    Failures end as one line at the end, and the library's log is shown by the command.  Prefect's workers say at
    the end that they are still sending what the UI shows.
    """
    if record.name.startswith(("nonlocal_core", "EventsWorker", "APILogWorker")):
        return False
    if record.name in ("prefect.flow_runs", "prefect.task_runs"):
        return "Retry" in record.getMessage()  # shown whole in the UI
    return record.levelno >= logging.WARNING


def quiet_console() -> None:
    """Let Prefect print only what is for a person, in this process."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(is_for_a_person)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """While entered, Ctrl-C waits; processes and threads that are started meanwhile never hear of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def shown_by(handler: logging.Handler) -> Iterator[None]:
    """While entered, a handler of this process gets what shards log in processes that are started now."""
    with tempfile.TemporaryDirectory(prefix="shown-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        listener.listen()
        os.environ[VARIABLE] = f"{os.getpid()}:{folder}/socket"
        threading.Thread(target=_listen, args=(listener, handler), daemon=True).start()
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def _listen(listener: socket.socket, handler: logging.Handler) -> None:
    with contextlib.suppress(OSError):  # closed, because the command has ended
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_hear, args=(connection, handler), daemon=True).start()


def _hear(connection: socket.socket, handler: logging.Handler) -> None:
    with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
        while size := stream.read(4):
            handler.handle(logging.makeLogRecord(pickle.loads(stream.read(int.from_bytes(size, "big")))))


def speak() -> None:
    """Send what is logged here to the command that shows it, if that is another process of this machine."""
    process, _, place = os.environ.get(VARIABLE, "").partition(":")
    if not Path(place).is_socket() or int(process) == os.getpid():
        return
    quiet_console()
    if not any(isinstance(handler, _Speaker) for handler in logging.getLogger(TICKS).handlers):
        speaker = _Speaker(place, None)
        speaker.createSocket()  # before there is a word to say: it watches the command
        for name in LOGGERS:
            logging.getLogger(name).addHandler(speaker)


class _Speaker(SocketHandler):
    """Sends records to the command; this process dies when the command is gone."""

    def makeSocket(self, timeout: float = 1) -> socket.socket:  # noqa: N802 (of the standard library)
        """A socket that is connected, and watched."""
        made = super().makeSocket(timeout)
        made.settimeout(None)
        threading.Thread(target=_die_with, args=(made,), daemon=True).start()
        return made


def _die_with(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.recv(1)  # nothing is ever sent here: it ends with the other side
    os.kill(os.getpid(), signal.SIGKILL)
