"""Messages between processes: the outcome of a call, and what is logged meanwhile."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from nonlocal_core.errors import ChildError, all_errors, as_ours, disk_fault, is_worth_retrying
from nonlocal_core.process.progress import TICKS

LOGGERS = ("nonlocal_core", TICKS)
"""the loggers whose records are passed on"""


def answer(connection: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    """Make a call and send its outcome."""
    try:
        connection.send(("result", function(*arguments)))
    except Exception as error:
        reported = as_ours(error)
        if reported is None:
            fault = disk_fault(error)
            text = f" {fault}" if fault else "\n" + "".join(traceback.format_exception(error))
            reported = ChildError(f"{function.__name__} failed:{text}", is_worth_retrying(error))
        extra = (reported.worth_retrying,) if isinstance(reported, ChildError) else ()
        connection.send(("error", (type(reported).__name__, str(reported), *extra)))


def receive(connection: Connection) -> tuple[str, Any] | None:
    """The next message of another process; None if it is gone.  A log record is also logged here."""
    try:
        kind, value = connection.recv()
    except (EOFError, OSError):
        return None
    if kind == "log":
        record = logging.makeLogRecord(value)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    return kind, value


def result_of(kind: str, value: Any) -> Any:
    """The result in an outcome that another process sent.

    Raises: the NonlocalError that it sent; ChildError for any other exception.
    """
    if kind == "error":
        name, *arguments = value
        raise all_errors()[name](*arguments)
    return value


def relay(connection: Connection) -> None:
    """Send what is logged here to another process."""
    logger = logging.getLogger("nonlocal_core")
    logger.setLevel(logger.level or logging.INFO)
    for name in LOGGERS:
        logging.getLogger(name).addHandler(_Relay(connection))


class _Relay(logging.Handler):
    """A handler that sends records to another process."""

    def __init__(self, connection: Connection):
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        value: dict[str, Any] = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": self.format(record),
        }
        if hasattr(record, "progress"):
            value["progress"] = record.progress
        with contextlib.suppress(OSError):  # the listener is gone
            self.connection.send(("log", value))


def last_words(output: str) -> str:
    """The last lines that a dead process printed, to follow the sentence that says that it died."""
    lines = output.strip().splitlines()[-12:]
    return "; it said last:\n" + "\n".join(lines) if lines else ""
