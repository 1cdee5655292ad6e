"""A command ends within seconds, with its own exit code and last line, whatever its pools do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("runner", ["processes", "dask"])
def test_ctrl_c_when_a_pool_minds_its_lost_processes(
    environment: dict[str, str], tmp_path: Path, runner: str
) -> None:
    script = str(Path(__file__).with_name("interrupted.py"))
    process = subprocess.Popen(
        [sys.executable, script, "tiny", f"workspace_dir={tmp_path}", f"runner={runner}"],
        env={**environment, "PYTHONPATH": str(REPOSITORY), "PREFECT_LOGGING_TO_API_ENABLED": "true"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started_s = time.monotonic()
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        assert time.monotonic() - started_s < 120
        time.sleep(0.05)
    time.sleep(1)  # until the pipe is full
    os.killpg(process.pid, signal.SIGINT)
    interrupted_s = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said.splitlines()) == (
        130,
        ["interrupted tiny: Prefect starts", "stopped; nothing is lost: the same command goes on from here"],
    )
    assert time.monotonic() - interrupted_s < 30


STUCK = """
import sys, signal, time
from concurrent.futures import ThreadPoolExecutor
from flows import session
from nonlocal_core.errors import InputError

def begin(watch):
    ThreadPoolExecutor().submit(time.sleep, 3600)  # Python waits for it at the end
    match sys.argv[1]:
        case "error":
            raise InputError("no videos")
        case "ctrl-c":
            signal.raise_signal(signal.SIGINT)
        case "sigterm":
            signal.raise_signal(signal.SIGTERM)
        case "bug":
            raise KeyError("ours")
    return "all done"

session.run_to_the_end(begin, "stopped")
"""


def test_nothing_that_goes_on_keeps_a_command_that_has_said_its_last_line() -> None:
    expected = {
        "success": (0, "all done\n", ""),
        "error": (3, "", "error: no videos\n"),
        "ctrl-c": (130, "", "stopped\n"),
        "sigterm": (143, "", ""),
        "bug": (1, "", "KeyError: 'ours'\n"),
    }
    commands = {
        ending: subprocess.Popen(
            [sys.executable, "-c", STUCK, ending],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for ending in expected
    }
    for ending, (code, out, error) in expected.items():
        said = commands[ending].communicate(timeout=60)
        assert (commands[ending].returncode, said[0]) == (code, out), said
        assert said[1].endswith(error)
        assert ("Traceback" in said[1]) == (ending == "bug")
