"""Whatever kills it, wherever: the same command again, and everything is as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import leftovers
from tests.campaign import SAME, WRONG, Tally
from tests.chaos import chain, shim
from tests.chaos.chain import STAGES, Stages, figures, left_over, make_videos

KILLS = {"index": 30, "cache": 28, "train": 6, "evaluate": 8, "register": 40}
IN_A_ROW = 3
MOST_S = 360.0
"""seconds for the kills in single stages; the kills of the real flow get as much"""


class Undisturbed(NamedTuple):
    """What the stages come to, and a workspace as each stage finds it."""

    videos_dir: Path
    before: dict[str, Path]
    made: dict[str, Any]
    num_calls: dict[str, int]
    took_s: dict[str, float]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    folder = tmp_path_factory.mktemp("stages")
    started = Stages(folder, shim.build(folder))
    yield started
    started.end()


@pytest.fixture(scope="module")
def undisturbed(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return run_undisturbed(stages, tmp_path_factory.mktemp("undisturbed"), STAGES)


def run_undisturbed(stages: Stages, folder: Path, names: tuple[str, ...]) -> Undisturbed:
    """Run stage after stage, and keep a copy of the workspace before each."""
    found = Undisturbed(make_videos(folder / "videos"), {}, {}, {}, {})
    counted = shim.Counted(folder / "w", shim.WRITES, folder / "count")
    (folder / "w").mkdir()
    for number, stage in enumerate(names):
        found.before[stage] = Path(shutil.copytree(folder / "w", folder / f"before-{stage}"))
        started_s = time.monotonic()
        ended = stages.run(names[: number + 1], found.videos_dir, folder / "w", counted.variables())
        assert ended.code == 0, ended.said
        found.took_s[stage] = time.monotonic() - started_s
        found.num_calls[stage] = counted.num_calls()
        found.made.update(ended.made)
    assert left_over(folder / "w") == []
    return found


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
    (tmp_path / "stages").mkdir()
    stages = Stages(tmp_path / "stages", shim.build(tmp_path), network=False)
    try:
        (tmp_path / "undisturbed").mkdir()
        was = run_undisturbed(stages, tmp_path / "undisturbed", ("index", "cache"))
        for number, stage in enumerate(("index", "cache")):
            kill_stage(stages, was, stage, tally, tmp_path / str(number))
    finally:
        stages.end()
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
