"""Run a stage in a process of its own.

Its memory is gone afterwards, a crash of a native library is an ordinary error, and MindSpore compiles one
graph at a time (its compilation is not thread-safe).  Logging and progress come back as they happen.  The child
dies when its parent does, however that happens.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, NamedTuple, TypeVar

from nonlocal_core.errors import ChildError
from nonlocal_core.process import lifeline, messages

T = TypeVar("T")

STOP_S = 30.0
"""seconds that a child gets to keep its work when it is told to stop"""


class _Child(NamedTuple):
    """A process with a call in it."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    """what its libraries print"""


def call(function: Callable[..., T], *arguments: Any) -> T:
    """What `function(*arguments)` returns, computed in a process of its own.

    Raises: the NonlocalError that the function raised; ChildError for anything else that ended the process.
    """
    return call_all(function, [arguments], [{}])[0]


def call_all(
    function: Callable[..., T], calls: Sequence[tuple[Any, ...]], variables: Sequence[dict[str, str]]
) -> list[T]:
    """What `function` returns for each of some calls, computed at the same time, each in a process of its own.

    Each process has environment variables of its own.  The first one that fails ends the others.

    Raises: as `call`.
    """
    children: dict[Connection, _Child] = {}
    results: dict[Connection, T] = {}
    try:
        for arguments, own in zip(calls, variables, strict=True):
            connection, child = _start({**os.environ, **own})
            children[connection] = child
            connection.send((function.__module__, function.__qualname__, arguments))
        while waiting := [connection for connection in children if connection not in results]:
            for connection in [one for one in wait(waiting) if isinstance(one, Connection)]:
                outcome = messages.hear(connection)
                if outcome is None:
                    raise ChildError(_how_it_died(function, children[connection]))
                if outcome[0] != "log":
                    results[connection] = messages.result_of(*outcome)
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


def _start(environment: dict[str, str]) -> tuple[Connection, _Child]:
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
    return ours, _Child(process, output)


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


def _how_it_died(function: Callable[..., Any], child: _Child) -> str:
    returncode = child.process.wait()
    child.output.seek(0)
    said = messages.last_words(child.output.read().decode(errors="replace"))
    stage = function.__module__.rsplit(".", 1)[-1]
    how = (
        f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with code {returncode}"
    )
    return f"the process of {stage} {how}: run again, it continues where it was{said}"


def main() -> None:
    """The child's side: one call comes in, its outcome goes out."""
    connection = Connection(int(sys.argv[1]))
    module, name, arguments = connection.recv()
    lifeline.die_with(connection.fileno())
    messages.relay(connection)

    def call() -> Any:
        return getattr(importlib.import_module(module), name)(*arguments)

    call.__name__ = name
    messages.answer(connection, call)


if __name__ == "__main__":
    main()
