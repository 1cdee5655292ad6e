"""Processes that a test has started and left: found by a mark in their environment, killed, and its failure.

The mark names the process of pytest and what was running: a test, or the file or session of a fixture.
"""

from __future__ import annotations

import contextlib
import multiprocessing.resource_tracker
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "NONLOCAL_TESTED_BY"
ENDING_S = 10.0
"""seconds that what was told to end may take"""


@contextlib.contextmanager
def marked(node: str) -> Generator[None, None, None]:
    """While entered, processes that are started belong to a test, a file, or the session."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = f"{os.getpid()} {node}"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def processes_of(node: str | None = None, among: set[str] | None = None) -> dict[int, str]:
    """The processes that a test, a file or anything here has started and that live, with their commands."""
    mark = f"{VARIABLE}={os.getpid()} " + ("" if node is None else f"{node}\0")
    found = {}
    for process in alive() if among is None else among:
        folder = Path("/proc", process)
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes() + b"\0":
                found[int(process)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
    return found


def processes_here() -> dict[int, str]:
    """The processes that what runs now has started and that live, with their commands."""
    return processes_of(os.environ[VARIABLE].partition(" ")[2])


def alive() -> set[str]:
    """The numbers of all processes of this machine."""
    return {name for name in os.listdir("/proc") if name.isdecimal()}


def clear(node: str | None, among: set[str] | None = None) -> dict[int, str]:
    """Kill what a test, a file or anything here has left and that does not end by itself; say what it was."""
    deadline_s = time.monotonic() + ENDING_S
    while (found := processes_of(node, among)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return found


class Watch:
    """Pytest's hooks."""

    def __init__(self) -> None:
        multiprocessing.resource_tracker.ensure_running()  # it serves all tests, and belongs to none
        self.seen = set[str]()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Mark what a test starts."""
        self.seen = alive()
        with marked(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
        """Mark what a fixture starts with the node that it lives as long as."""
        with marked(request.node.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, Any, Any]:
        """Fail the test that has left a process, or the last one of the file that has."""
        result = yield
        left = clear(item.nodeid, alive() - self.seen)
        if nextitem is None:
            left |= clear(None)
        elif nextitem.path != item.path:
            left |= clear(item.nodeid.partition("::")[0])
        if left:
            pytest.fail(f"processes are left: {left}", pytrace=False)
        return result
