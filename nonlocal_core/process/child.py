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
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, NamedTuple, ParamSpec, TypeVar

from nonlocal_core.errors import (
    FULL_DISK,
    ChildError,
    NonlocalError,
    WorkspaceError,
    all_errors,
    is_full_disk,
    is_worth_retrying,
)
from nonlocal_core.process.progress import TICKS

P = ParamSpec("P")
T = TypeVar("T")

STOP_S = 30.0
"""seconds that a child gets to keep its work when it is told to stop"""


class _Child(NamedTuple):
    """A process with a call in it."""

    function: Callable[..., Any]
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    """what its libraries print"""


def call(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What `function(*arguments, **named)` returns, computed in a process of its own.

    Raises: the NonlocalError that the function raised; ChildError for anything else that ended the process.
    """
    return call_all([partial(function, *arguments, **named)], [{}])[0]


def call_all(calls: Sequence[partial[T]], variables: Sequence[dict[str, str]]) -> list[T]:
    """What each of some calls returns, computed at the same time, each in a process of its own.

    Each process has environment variables of its own.  The first one that fails ends the others.

    Raises: as `call`.
    """
    children: dict[Connection, _Child] = {}
    results: dict[Connection, T] = {}
    try:
        for one, own in zip(calls, variables, strict=True):
            connection, child = _start({**os.environ, **own}, one.func)
            children[connection] = child
            connection.send((one.func.__module__, one.func.__qualname__, one.args, one.keywords))
        while waiting := [connection for connection in children if connection not in results]:
            for connection in [one for one in wait(waiting) if isinstance(one, Connection)]:
                outcome = _hear(connection)
                if outcome is None:
                    raise ChildError(_how_it_died(children[connection]))
                if outcome[0] != "log":
                    results[connection] = result_of(*outcome)
        for child in children.values():
            child.process.wait()
    except BaseException:
        _stop([child.process for child in children.values()])
        raise
    finally:
        for connection, child in children.items():
            connection.close()
            child.output.close()
    return [results[connection] for connection in children]


def _start(environment: dict[str, str], function: Callable[..., Any]) -> tuple[Connection, _Child]:
    ours, theirs = Pipe()
    output = tempfile.TemporaryFile()  # noqa: SIM115 (call_all closes it)
    command = [sys.executable, "-m", "nonlocal_core.process.child", str(theirs.fileno())]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[theirs.fileno()],
        start_new_session=True,  # what a terminal sends to all is the parent's to pass on
    )
    theirs.close()
    return ours, _Child(function, process, output)


def result_of(kind: str, value: Any) -> Any:
    """The result in an outcome that another process sent.

    Raises: the NonlocalError that it sent; ChildError for any other exception.
    """
    if kind == "error":
        raise all_errors()[value[0]](value[1])
    if kind == "raised":
        raise ChildError(*value)
    return value


def _hear(connection: Connection) -> tuple[str, Any] | None:
    """What a child says next; None if it is gone.  What it logs is shown."""
    try:
        kind, value = connection.recv()
    except (EOFError, ConnectionResetError):
        return None
    if kind == "log":
        show(value)
    return kind, value


def show(value: dict[str, Any]) -> None:
    """Nothing; what another process logged is logged here."""
    record = logging.makeLogRecord(value)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what still runs; all of them together get `STOP_S` to keep their work."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    deadline_s = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _how_it_died(child: _Child) -> str:
    returncode = child.process.wait()
    child.output.seek(0)
    last_lines = child.output.read().decode(errors="replace").strip().splitlines()[-12:]
    stage = child.function.__module__.rsplit(".", 1)[-1]
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


def answer(connection: Connection, function: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> None:
    """Nothing; the outcome of a call is sent to the parent."""
    try:
        result = function(*arguments, **named)
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
    module, name, arguments, named = connection.recv()
    die_with(connection)
    relay(connection)

    def call() -> Any:
        return getattr(importlib.import_module(module), name)(*arguments, **named)

    call.__name__ = name
    answer(connection, call)


if __name__ == "__main__":
    main()
