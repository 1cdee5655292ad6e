"""Run a stage in a process of its own.

The memory of the stage is freed when it ends, a crash of a native library becomes an ordinary error, and MindSpore
compiles one graph at a time (its compilation is not thread-safe).  Logging and progress come back as they happen.
The child dies when its parent does, however that happens.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import IO, Any, NamedTuple, ParamSpec, TypeVar

from nonlocal_core.errors import ChildError
from nonlocal_core.process import importing, lifeline, messages, signals

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

STOP_S = 30.0
"""seconds that a child gets to keep its work when it is told to stop; a person waits for a step, however long"""


class _Child(NamedTuple):
    """A process that computes one call."""

    function: Callable[..., Any]
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    """file of what the process prints"""


def call(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What `function(*arguments, **named)` returns, computed in a process of its own.

    Raises: the NonlocalError that the function raised; ChildError for anything else that ended the process.
    """
    return call_all([partial(function, *arguments, **named)], [{}])[0]


def call_all(calls: Sequence[partial[T]], variables: Sequence[dict[str, str]]) -> list[T]:
    """The results of several calls, which run at the same time, each in a process of its own.

    Each process gets its own additional environment `variables`.  The first one that fails ends the others.

    Raises: as `call`.
    """
    children: dict[Connection, _Child] = {}
    results: dict[Connection, T] = {}
    try:
        for task, additional in zip(calls, variables, strict=True):
            connection, child = _start({**os.environ, **additional}, task.func)
            children[connection] = child
            connection.send((task.func.__module__, task.func.__qualname__, task.args, task.keywords))
        while waiting := [connection for connection in children if connection not in results]:
            for connection in [ready for ready in wait(waiting) if isinstance(ready, Connection)]:
                outcome = messages.receive(connection)
                if outcome is None:
                    raise ChildError(_death_of(children[connection]))
                if outcome[0] != "log":
                    results[connection] = messages.result_of(*outcome)
        for child in children.values():
            child.process.wait()
    except BaseException as error:
        is_asked = isinstance(error, KeyboardInterrupt | SystemExit)
        if is_asked:
            log.info("stopping: what is computed now is finished and kept first; a second Ctrl-C does not wait")
        _stop([child.process for child in children.values()], for_steps=is_asked)
        raise
    finally:
        for connection, child in children.items():
            connection.close()
            child.output.close()
    return [results[connection] for connection in children]


def _start(environment: dict[str, str], function: Callable[..., Any]) -> tuple[Connection, _Child]:
    connection, child_end = Pipe()
    output = tempfile.TemporaryFile()  # noqa: SIM115 (call_all closes it)
    command = [sys.executable, "-m", "nonlocal_core.process.child", str(child_end.fileno())]
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=[child_end.fileno()],
        start_new_session=True,  # the parent passes on what a terminal sends to all
    )
    child_end.close()
    return connection, _Child(function, process, output)


def _stop(processes: Sequence[subprocess.Popen[bytes]], *, for_steps: bool) -> None:
    """End the processes that still run.

    All together get `STOP_S` to keep their work.  With `for_steps`, a training gets as long as its step takes.
    """
    for process in processes:
        process.send_signal(signal.SIGINT)
    deadline_s = time.monotonic() + STOP_S
    for process in processes:
        while process.poll() is None:
            if time.monotonic() > deadline_s and not (for_steps and signals.stops_between_steps(process.pid)):
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)


def _death_of(child: _Child) -> str:
    ending = how_it_ended(child.process.wait())
    child.output.seek(0)
    output = messages.last_words(child.output.read().decode(errors="replace"))
    stage = child.function.__module__.rsplit(".", 1)[-1]
    return f"the process of {stage} {ending}: run again, it continues where it was{output}"


def how_it_ended(returncode: int) -> str:
    """What a process's return code says, as the end of a sentence."""
    return (
        f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with code {returncode}"
    )


def main() -> None:
    """Run as the child: receive one call, send its outcome."""
    connection = Connection(int(sys.argv[1]))
    module, name, arguments, named = connection.recv()
    lifeline.die_with(connection.fileno())
    messages.relay(connection)

    def call() -> Any:
        with importing.at_once():
            function = getattr(importlib.import_module(module), name)
        return function(*arguments, **named)

    call.__name__ = name
    messages.answer(connection, call)


if __name__ == "__main__":
    main()
