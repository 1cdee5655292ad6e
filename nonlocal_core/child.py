"""Run a stage in a process of its own.

Its memory is gone afterwards, a crash of a native library is an ordinary error, and MindSpore compiles one
graph at a time (its compilation is not thread-safe).  Logging and progress come back as they happen.  The child
dies when its parent does, however that happens.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any, TypeVar

from nonlocal_core.errors import (
    FULL_DISK,
    ChildError,
    NonlocalError,
    WorkspaceError,
    all_errors,
    is_full_disk,
    is_worth_retrying,
)
from nonlocal_core.progress import TICKS

T = TypeVar("T")

STOP_S = 30.0
"""seconds that a child gets to keep its work when it is told to stop"""


def call(function: Callable[..., T], *arguments: Any) -> T:
    """What `function(*arguments)` returns, computed in a process of its own.

    Raises: the NonlocalError that the function raised; ChildError for anything else that ended the process.
    """
    ours, theirs = Pipe()
    with tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "nonlocal_core.child", str(theirs.fileno())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # what a terminal sends to all is the parent's to pass on
        )
        theirs.close()
        try:
            ours.send((function.__module__, function.__qualname__, arguments))
            outcome = _listen(ours)
            process.wait()
        except BaseException:
            _stop(process)
            raise
        if outcome is None:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-12:]
            raise ChildError(_how_it_died(function, process.returncode, last))
    result: T = result_of(*outcome)
    return result


def result_of(kind: str, value: Any) -> Any:
    """The result in an outcome that another process sent.

    Raises: the NonlocalError that it sent; ChildError for any other exception.
    """
    if kind == "error":
        raise all_errors()[value[0]](value[1])
    if kind == "raised":
        raise ChildError(*value)
    return value


def _listen(connection: Connection) -> tuple[str, Any] | None:
    """Pass on what the child logs, until its outcome comes or it is gone."""
    while True:
        try:
            kind, value = connection.recv()
        except (EOFError, ConnectionResetError):
            return None
        if kind != "log":
            return kind, value
        show(value)


def show(value: dict[str, Any]) -> None:
    """Nothing; what another process logged is logged here."""
    record = logging.makeLogRecord(value)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how_it_died(function: Callable[..., Any], returncode: int, last_lines: list[str]) -> str:
    stage = function.__module__.rsplit(".", 1)[-1]
    how = (
        f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with code {returncode}"
    )
    said = "; it said last:\n" + "\n".join(last_lines) if last_lines else ""
    return f"the process of {stage} {how}: run again, it continues where it was{said}"


class _Relay(logging.Handler):
    """Sends log records to the parent."""

    def __init__(self, connection: Connection):
        super().__init__()
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        value = {
            "name": record.name,
            "levelno": record.levelno,
            "levelname": record.levelname,
            "msg": self.format(record),
            "progress": getattr(record, "progress", None),
        }
        self.connection.send(("log", value))


def die_with(connection: Connection) -> None:
    """Nothing; when the parent's end of the connection closes, because it is gone, this process dies."""

    def wait() -> None:
        try:
            connection.recv()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def relay(connection: Connection) -> None:
    """Nothing; what is logged here is shown by the parent."""
    logging.getLogger("nonlocal_core").setLevel(logging.INFO)
    for logger in ("nonlocal_core", TICKS):
        logging.getLogger(logger).addHandler(_Relay(connection))


def answer(connection: Connection, function: Callable[..., Any], *arguments: Any) -> None:
    """Nothing; the outcome of a call is sent to the parent."""
    try:
        result = function(*arguments)
    except ChildError as error:
        connection.send(("raised", (str(error), error.worth_retrying)))
    except NonlocalError as error:
        connection.send(("error", (type(error).__name__, str(error))))
    except Exception as error:
        if is_full_disk(error):
            connection.send(("error", (WorkspaceError.__name__, FULL_DISK)))
            return
        text = "".join(traceback.format_exception(error))
        connection.send(("raised", (f"{function.__name__} failed:\n{text}", is_worth_retrying(error))))
    else:
        connection.send(("result", result))


def main() -> None:
    """The child's side: one call comes in, its outcome goes out."""
    connection = Connection(int(sys.argv[1]))
    module, name, arguments = connection.recv()
    die_with(connection)
    relay(connection)

    def call() -> Any:
        return getattr(importlib.import_module(module), name)(*arguments)

    call.__name__ = name
    answer(connection, call)


if __name__ == "__main__":
    main()
