"""Run a function over items in a worker process, which a bad item may crash or hang.

A decoder that crashes or hangs on one file ends its worker, never the stage: the item is given up with a reason,
and a new worker goes on with the rest.  The worker dies with its parent.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple, TypeVar

from nonlocal_core.errors import ChildError
from nonlocal_core.process import bounds, importing, messages
from nonlocal_core.process.lifeline import die_with

Item = TypeVar("Item")
T = TypeVar("T")

START_S = 120.0
"""seconds that a worker gets to import what it needs"""
BEAT_S = 0.2
LEAVE_S = 10.0
"""seconds that an interrupted pool gets to end once its processes are killed"""
TRIES = 2
"""a crash may have another cause than its item, such as too little memory: the item gets a second worker"""


# A worker decodes one frame after the other; glibc would give the memory of each back to the system at once.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}


class Lost(NamedTuple):
    """The result of an item that crashed or hung its worker."""

    reason: str


def each(
    function: Callable[[Item], T],
    items: Iterable[Item],
    timeout_s: float,
    unit: str = "result",
    limits: bounds.Bounds = bounds.NONE,
    within: Callable[[Item, int], None] | None = None,
) -> Generator[T | Lost, None, None]:
    """What `function(item)` returns for each item, in order, or `Lost`.

    The function must belong to a module.  Where it works for long it calls `alive()` after each `unit`: an item is
    lost after `timeout_s` without such a sign of life.  `limits` is what an item may take of the machine.
    `within` is told of an item, now and then, how many units of it are done.

    Raises: the NonlocalError that the function raised; ChildError for any other exception, or when stopped.
    """
    worker: _Worker | None = None
    try:
        for item in items:
            on_units = functools.partial(within, item) if within else None
            for _ in range(TRIES):
                worker = worker or _Worker(function, limits)
                if not _stopped.is_set():
                    outcome, again = worker.call(item, timeout_s, unit, on_units)
                if _stopped.is_set():
                    raise ChildError("stopped", worth_retrying=False)
                if not isinstance(outcome, Lost):
                    break
                worker.end()
                worker = None
                if not again:
                    break
            yield outcome
    finally:
        if worker:
            worker.end()


_stopped = threading.Event()
_workers: set[_Worker] = set()
"""the running workers of all threads"""


@contextlib.contextmanager
def interruptible(pool: AbstractContextManager[T]) -> Iterator[T]:
    """Enter a pool so that Ctrl-C, SIGTERM or Cancel ends its processes, and `each` in its threads, at once.

    Leaving a pool waits for its threads, where a shard may take hours.  A pool whose processes were killed may
    wait for ever.
    """
    with contextlib.ExitStack() as stack:
        entered = stack.enter_context(pool)
        try:
            yield entered
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            _stopped.set()
            for worker in list(_workers):
                worker.process.kill()
            for process in multiprocessing.active_children():  # of a pool of processes, or of Dask
                process.kill()
            leaving = threading.Thread(target=_leave, args=(stack.pop_all(),), daemon=True)
            leaving.start()
            leaving.join(LEAVE_S)
            _stopped.clear()
            raise


def _leave(pool: contextlib.ExitStack) -> None:
    with contextlib.suppress(Exception):  # of missing processes
        pool.close()


_last_beat_s = 0.0
_beat: Callable[[int], None] | None = None  # None outside of a worker, where nobody waits for a sign of life


def alive(done: int = 0) -> None:
    """Give a sign of life from inside a function that `each` calls, which has done so many units.

    Raises: BoundError if the item takes longer than it may.
    """
    bounds.check_time()
    global _last_beat_s
    now_s = time.monotonic()
    if _beat and now_s - _last_beat_s >= BEAT_S:
        _last_beat_s = now_s
        _beat(done)


class _Worker:
    """A process that calls one function with the items that it receives."""

    def __init__(self, function: Callable[..., Any], limits: bounds.Bounds) -> None:
        self.connection, worker_end = Pipe()
        # This end closes when this process dies; the worker, which holds the other end, then dies too.
        self.lifeline, worker_lifeline = os.pipe()[::-1]
        main = "from nonlocal_core.process.workers import main; main()"
        command = [sys.executable, "-c", main, str(worker_end.fileno()), str(worker_lifeline)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_KEEP_MEMORY | os.environ,
            pass_fds=[worker_end.fileno(), worker_lifeline],
            start_new_session=True,  # a terminal's Ctrl-C is the parent's to handle
        )
        _workers.add(self)
        worker_end.close()
        os.close(worker_lifeline)
        try:
            self.connection.send((function.__module__, function.__qualname__, limits))
            ready = self.connection.poll(START_S) and self.connection.recv() == ("ready", None)
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.end()
            if _stopped.is_set():
                raise ChildError("stopped", worth_retrying=False)
            raise ChildError(f"the worker of {function.__name__} did not start: run again")

    def call(
        self, item: Any, timeout_s: float, unit: str, on_units: Callable[[int], None] | None
    ) -> tuple[Any, bool]:
        """The outcome of one item and, if it is lost, whether it gets another try."""
        try:
            self.connection.send(item)
            while self.connection.poll(timeout_s):
                kind, value = self.connection.recv()
                if kind != "alive":
                    return messages.result_of(kind, value), False
                if on_units:
                    on_units(value)
        except (EOFError, ConnectionError):
            return Lost(f"crashes the decoder ({self._death()})"), True
        return Lost(f"hangs the decoder: no {unit} for {timeout_s:g} s"), False

    def end(self) -> None:
        """Kill the process and close its pipes."""
        _workers.discard(self)
        self.process.kill()
        self.process.wait()
        self.connection.close()
        os.close(self.lifeline)

    def _death(self) -> str:
        code = self.process.wait()
        return signal.Signals(-code).name if code < 0 else f"code {code}"


def main() -> None:
    """Run as the worker: receive items, send outcomes."""
    global _beat
    connection, lifeline = Connection(int(sys.argv[1])), int(sys.argv[2])
    die_with(lifeline)
    module, name, limits = connection.recv()
    with importing.at_once():
        function = getattr(importlib.import_module(module), name)
    _beat = lambda done: connection.send(("alive", done))  # noqa: E731
    bounds.enter(limits)
    connection.send(("ready", None))
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        bounds.begin()
        messages.answer(connection, function, item)
