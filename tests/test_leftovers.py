"""A test that leaves a process fails, the process is killed, and the next test does not see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import leftovers

pytest_plugins = ["pytester"]

PLUGIN = """
from tests import leftovers

leftovers.ENDING_S = 1.0

def pytest_configure(config):
    config.pluginmanager.register(leftovers.Watch())
"""
CULPRITS = """
import os, subprocess, pytest

def start(seconds):
    return subprocess.Popen(["sleep", seconds], start_new_session=True)

@pytest.fixture(scope="module")
def kept():
    start("10000")

def test_that_leaves_one():
    start("20000")

def test_that_kills_its_own(kept):
    start("0.5")

def test_that_waits():
    with start("0.1"):
        pass
"""


def test_the_culprit_is_named_and_its_processes_are_gone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makepyfile(CULPRITS)
    pytester.makeconftest(PLUGIN)
    before = leftovers.alive()
    ran = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-v")
    ran.assert_outcomes(passed=3, errors=2)
    ran.stdout.re_match_lines(
        [".*ERROR at teardown of test_that_leaves_one", ".*processes are left: .*sleep 20000"]
    )
    ran.stdout.re_match_lines([".*ERROR at teardown of test_that_waits", ".*processes are left: .*sleep 10000"])
    commands = [command(process) for process in leftovers.alive() - before]  # others on this machine may sleep too
    assert not [line for line in commands if line in ("sleep\00010000\0", "sleep\00020000\0")]


def command(process: str) -> str:
    try:
        return Path("/proc", process, "cmdline").read_text()
    except OSError:
        return ""
