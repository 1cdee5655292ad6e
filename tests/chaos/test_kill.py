"""Whatever kills it, wherever: the same command again, and everything is as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests import leftovers
from tests.campaign import SAME, WRONG, Tally
from tests.chaos import chain, shim
from tests.chaos.chain import STAGES, Stages, Undisturbed, figures, left_over

KILLS = {"index": 30, "cache": 28, "train": 6, "evaluate": 8, "register": 40}
IN_A_ROW = 3
MOST_S = 480.0
"""seconds for the kills in single stages; the kills of the real flow get as much"""


@pytest.fixture(scope="module")
def undisturbed(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return chain.run_undisturbed(stages, tmp_path_factory.mktemp("undisturbed"), STAGES)


def processes_beside(stages: Stages) -> list[int]:
    """The other processes that this test has started and that live; they get a moment to end."""
    deadline_s = time.monotonic() + 10
    while found := [process for process in leftovers.processes_here() if process != stages.process.pid]:
        if time.monotonic() > deadline_s:
            break
        time.sleep(0.05)
    return found


def kill_stage(stages: Stages, was: Undisturbed, stage: str, tally: Tally, folder: Path) -> None:
    """Kill one stage up to three times, at a call or at a moment, then let it end."""
    workspace_dir = Path(shutil.copytree(was.before[stage], folder / "w"))
    counted = shim.Counted(workspace_dir, shim.WRITES, folder / "count")
    names = STAGES[: STAGES.index(stage) + 1]
    killed = []
    for _ in range(tally.drawn.randint(1, IN_A_ROW)):
        if tally.drawn.random() < 0.7:
            at = tally.drawn.randint(1, was.num_calls[stage])
            stages.run(names, was.videos_dir, workspace_dir, counted.variables(at))
            killed.append(f"call {at}" if counted.num_calls() >= at else "")
        else:
            delay_s = tally.drawn.uniform(0, was.took_s[stage])
            ended = stages.run(names, was.videos_dir, workspace_dir, {}, lambda process: kill(process, delay_s))  # noqa: B023
            killed.append(f"{delay_s:.2f} s" if ended.code == -signal.SIGKILL else "")
    last = stages.run(names, was.videos_dir, workspace_dir, counted.variables())
    wrong = what_differs(last, was, workspace_dir)
    if not wrong and (left := processes_beside(stages)):
        wrong = f"processes are left: {left}"
    for how in filter(None, killed):
        tally.add(f"SIGKILL in {stage}", WRONG if wrong else SAME, f"killed at {killed} ({how}): {wrong}")
    shutil.rmtree(folder)


def kill(process: int, delay_s: float) -> None:
    time.sleep(delay_s)
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return  # it was faster


def what_differs(last: chain.Ended, was: Undisturbed, workspace_dir: Path) -> str:
    """How the end of killed stages differs from that of undisturbed ones; empty if it does not."""
    if last.code:
        return f"exit code {last.code}: {last.said[-400:]}"
    expected = {name: was.made[name] for name in last.made}
    if figures(last.made) != figures(expected):
        return f"other figures: {figures(last.made)}, not {figures(expected)}"
    if left := left_over(workspace_dir):
        return f"left behind: {left}"
    return ""


def test_some_kills_in_index_and_cache(tally: Tally, tmp_path: Path) -> None:
    """The slice of every change: without a network."""
    with chain.started(tmp_path, network=False) as stages:
        was = chain.run_undisturbed(stages, tmp_path / "undisturbed", STAGES[:2])
        for number, stage in enumerate(STAGES[:2]):
            kill_stage(stages, was, stage, tally, tmp_path / str(number))
    tally.check()


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_kills_in_each_stage(stages: Stages, undisturbed: Undisturbed, tally: Tally, tmp_path: Path) -> None:
    todo = [stage for stage, count in KILLS.items() for _ in range(count)]
    tally.drawn.shuffle(todo)
    for number, stage in enumerate(todo):
        if tally.seconds() > MOST_S:
            break
        if tally.num_tried(f"SIGKILL in {stage}") < KILLS[stage]:
            kill_stage(stages, undisturbed, stage, tally, tmp_path / str(number))
    tally.check()
