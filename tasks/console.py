"""What shards log in other processes of this machine is shown by the command that started them.

The command listens on a socket that the environment names, and the processes that inherit it speak there.
They end when the command does.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from prefect.logging.handlers import PrefectConsoleHandler

from nonlocal_core.process import lifeline, messages

VARIABLE = "NONLOCAL_SHOWN_AT"
"""PROCESS:SOCKET of the command that shows what is logged"""


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
    with tempfile.TemporaryDirectory(prefix="shown-") as folder, Listener(f"{folder}/socket") as listener:
        os.environ[VARIABLE] = f"{os.getpid()}:{folder}/socket"
        threading.Thread(target=_listen, args=(listener, handler), daemon=True).start()
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def _listen(listener: Listener, handler: logging.Handler) -> None:
    with contextlib.suppress(OSError):  # closed, because the command has ended
        while True:
            threading.Thread(target=_hear, args=(listener.accept(), handler), daemon=True).start()


def _hear(connection: Connection, handler: logging.Handler) -> None:
    """Hand on what is heard until the other process is gone; not to the loggers, which tell Prefect again."""
    with connection, contextlib.suppress(EOFError, OSError):
        while True:
            handler.handle(logging.makeLogRecord(connection.recv()[1]))


def speak() -> None:
    """Send what is logged here to the command that shows it, if that is another process of this machine."""
    process, _, place = os.environ.get(VARIABLE, "").partition(":")
    if not Path(place).is_socket() or int(process) == os.getpid():
        return
    quiet_console()
    _speak_at(place)


@functools.cache
def _speak_at(place: str) -> None:
    connection = Client(place)
    lifeline.die_with(connection.fileno())
    messages.relay(connection)
