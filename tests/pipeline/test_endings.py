"""A command ends within seconds, with its own exit code and last line, whatever its pools do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import StateType

from tasks import worker

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


WITH_WORKER = """
import logging, sys, time
from prefect import flow, task
from prefect.logging import get_run_logger
from tasks.signature import sign

@task
def work():
    while True:
        get_run_logger().warning("still at work")
        time.sleep(0.1)

@flow(on_running=[sign], flow_run_name=sys.argv[1])
def night():
    work()

night()
"""


@pytest.mark.parametrize("by_worker", [True, False], ids=["of a worker", "of a person"])
def test_a_run_says_that_its_worker_has_died(environment: dict[str, str], tmp_path: Path, by_worker: bool) -> None:
    """A dead worker reads no log any more."""
    variables = {worker.STARTED_BY_A_WORKER: "some-run"} if by_worker else {}
    said = {"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_LOGGING_TO_API_ENABLED": "true"}
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_WORKER, tmp_path.name],
        env={**environment, **said, **variables, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    while b"still at work" not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    assert process.wait(60) != 0
    with get_client(sync_client=True) as client:
        (run,) = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[tmp_path.name])))
    assert run.state_type is StateType.CRASHED
    dead = f"WorkerGone: its worker, process {os.getpid()} on {socket.gethostname()}, was killed or has ended"
    assert (dead in str(run.state.message)) == by_worker, run.state.message
