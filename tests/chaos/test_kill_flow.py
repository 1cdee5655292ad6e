"""The real flow is killed and interrupted, again and again, in each stage."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests import leftovers
from tests.campaign import SAME, WRONG, Tally
from tests.chaos import real_flow, shim
from tests.chaos.chain import STAGES, left_over, make_videos

pytestmark = [pytest.mark.campaign("kill"), pytest.mark.timeout(1200)]
NUM_KILLS = 24
MOST_S = 240.0
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
FOLDERS = {"register": "registry"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shim.build(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def videos_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos") / "videos")


def ended(process: subprocess.Popen[str]) -> str:
    """What a run has said, once it and all that it has started have ended; a run that does not end fails."""
    _, said = process.communicate(timeout=real_flow.LIMIT_S)
    deadline_s = time.monotonic() + 35
    while left := leftovers.processes_here():
        assert time.monotonic() < deadline_s, f"processes are left: {left}"
        time.sleep(0.1)
    return said


def test_kills_of_the_real_flow(
    environment: dict[str, str], library: Path, videos_dir: Path, tally: Tally, tmp_path: Path
) -> None:
    environment = {**environment, "LD_PRELOAD": str(library)}
    counted = shim.Counted(tmp_path / "w", shim.WRITES, tmp_path / "count")
    started_s = time.monotonic()
    process = real_flow.start(videos_dir, tmp_path / "w", {**environment, **counted.variables()})
    said = ended(process)
    assert process.returncode == 0, said
    took_s, num_calls = time.monotonic() - started_s, counted.num_calls()
    expected = real_flow.results(tmp_path / "w")
    killed: list[str] = []
    shutil.rmtree(tmp_path / "w")
    while tally.num_tried() + len(killed) < NUM_KILLS and tally.seconds() < MOST_S:
        at, delay_s = 0, took_s
        if tally.drawn.random() < 0.5:
            at = tally.drawn.randint(1, num_calls)
        else:
            delay_s = tally.drawn.uniform(3, took_s)
        process = real_flow.start(videos_dir, tmp_path / "w", {**environment, **counted.variables(at)})
        if not at:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay_s)
            process.kill()
        said = ended(process)
        if (at and counted.num_calls() >= at) or process.returncode == -signal.SIGKILL:
            killed.append(f"call {at}" if at else f"{delay_s:.1f} s")
        if process.returncode == 0 or len(killed) == 4:
            check(process, said, killed, expected, videos_dir, environment, tally, tmp_path / "w")
            killed = []
            shutil.rmtree(tmp_path / "w")
    if killed:
        check(process, said, killed, expected, videos_dir, environment, tally, tmp_path / "w")
    tally.check()


def check(
    process: subprocess.Popen[str],
    said: str,
    killed: list[str],
    expected: dict[str, Any],
    videos_dir: Path,
    environment: dict[str, str],
    tally: Tally,
    workspace_dir: Path,
) -> None:
    """Let a killed run come to its end, and compare what it made."""
    if process.returncode:
        process = real_flow.start(videos_dir, workspace_dir, environment)
        said = ended(process)
    made = real_flow.results(workspace_dir)
    wrong = f"exit code {process.returncode}: {said[-400:]}" if process.returncode else ""
    if not wrong and made != expected:
        wrong = f"other results: {made}, not {expected}"
    if left := left_over(workspace_dir):
        wrong = wrong or f"left behind: {left}"
    for how in killed:
        tally.add("SIGKILL in the real flow", WRONG if wrong else SAME, f"killed at {killed} ({how}): {wrong}")


def test_signals_in_each_stage_of_the_real_flow(
    environment: dict[str, str], library: Path, videos_dir: Path, tally: Tally, tmp_path: Path
) -> None:
    """Both are one stop: their own exit code, no traceback, and the next run goes on."""
    environment = {**environment, "LD_PRELOAD": str(library)}
    for stage in STAGES:
        for number, code in CODES.items():
            counted = shim.Counted(tmp_path / "w" / FOLDERS.get(stage, stage), shim.WRITES, tmp_path / "count")
            process = real_flow.start(videos_dir, tmp_path / "w", {**environment, **counted.variables()})
            wanted = tally.drawn.randint(1, 12)
            while counted.num_calls() < wanted and process.poll() is None:
                time.sleep(0.005)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
            said = ended(process)
            # The end of register is the end of the run, which a signal may miss.
            good = process.returncode in ((code, 0) if stage == "register" else (code,))
            good = good and not re.search("Traceback|etry", said)
            name = f"{signal.Signals(number).name} in the real flow"
            tally.add(name, SAME if good else WRONG, f"in {stage}: exit code {process.returncode}: {said[-600:]}")
    process = real_flow.start(videos_dir, tmp_path / "w", environment)
    said = ended(process)
    assert process.returncode == 0, said
    assert left_over(tmp_path / "w") == []
    first = real_flow.results(tmp_path / "w")
    process = real_flow.start(videos_dir, tmp_path / "again", environment)
    ended(process)
    assert real_flow.results(tmp_path / "again") == first
    tally.check()
