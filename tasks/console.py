"""The log of shards in other processes of this machine, shown by the command that started them.

The command listens on a socket, whose path is in the environment.  Processes that inherit the environment send
their log there, and end when the command ends.
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
from multiprocessing import resource_tracker
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from prefect.logging.handlers import PrefectConsoleHandler

from nonlocal_core.errors import as_ours
from nonlocal_core.process import lifeline, messages

VARIABLE = "NONLOCAL_SHOWN_AT"
"""PROCESS:SOCKET of the command that shows the log"""


def is_for_a_person(record: logging.LogRecord) -> bool:
    """Whether Prefect's console shows a record: only warnings and retries.

    The command itself shows failures, as one line at the end, and the library's log.  Prefect's own workers only
    log, at the end, that they are still sending data for the UI.
    """
    if record.name.startswith(("nonlocal_core", "EventsWorker", "APILogWorker")):
        return False
    if record.name in ("prefect.flow_runs", "prefect.task_runs"):
        return "Retry" in record.getMessage()  # the UI shows all of them
    return record.levelno >= logging.WARNING


def in_one_line(record: logging.LogRecord) -> bool:
    """Cut the traceback from a record of Prefect's of an error whose text is for a person; always true."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if isinstance(error, BaseException) and (ours := as_ours(error)):
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = record.getMessage().replace(repr(error), str(ours)), ()
    return True


def say_mistakes_in_one_line() -> None:
    """Let the logs of Prefect's runs in this process say a person's mistake without a traceback."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(in_one_line)  # a second time changes nothing


def quiet_console() -> None:
    """Let Prefect print only the records of `is_for_a_person` in this process."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            handler.addFilter(is_for_a_person)


@contextlib.contextmanager
def deaf(*, starts_processes: bool = False) -> Iterator[None]:
    """While entered, Ctrl-C is delayed; processes and threads that are started meanwhile never get it."""
    if starts_processes:  # else the first of them starts this one, which lets Ctrl-C through from then on
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def shown_by(handler: logging.Handler) -> Iterator[None]:
    """While entered, a handler of this process gets the log of shards in newly started processes."""
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
    """Pass records to the handler until the other process ends; loggers would send them to Prefect again."""
    with connection, contextlib.suppress(EOFError, OSError):
        while True:
            handler.handle(logging.makeLogRecord(connection.recv()[1]))


def speak() -> None:
    """Send this process's log to the command that shows it, if that is another process of this machine."""
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
