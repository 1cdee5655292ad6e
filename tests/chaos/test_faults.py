"""Disks that fail or are full, clocks that go back, files that change, two runs at once, and too little memory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import small_disk

from tests.campaign import NAMED, SAME, WRONG, Tally
from tests.chaos import chain, shim
from tests.chaos.chain import STAGES, Ended, Stages, Undisturbed, figures, left_over, make_videos
from tests.chaos.stage_process import UNKNOWN

MOST_S = 240.0
PREPARED = STAGES[:2]
CALLED = (*shim.WRITES, "read")
CALLS = {"index": 25, "cache": 25, "train": 3, "evaluate": 5, "register": 25}


@pytest.fixture(scope="module")
def undisturbed(stages: Stages, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return chain.run_undisturbed(stages, tmp_path_factory.mktemp("undisturbed"), STAGES, CALLED)


def judge(
    what: str, first: Ended, again: Callable[[], Ended], made: dict[str, Any], tally: Tally, how: str
) -> None:
    """Whether a disturbed run was right, or said one line and was right when it was run again."""
    expected = figures({name: made[name] for name in first.made or again().made}) if not first.code else None
    if first.code == 0:
        good = figures(first.made) == expected
        tally.add(what, SAME if good else WRONG, f"{how}: {figures(first.made)}, not {expected}")
        return
    if first.code == UNKNOWN or first.code < 0 or "Traceback" in first.said:
        tally.add(what, WRONG, f"{how}: exit code {first.code}: {first.said[-1500:]}")
        return
    second = again()
    good = second.code == 0 and figures(second.made) == figures({name: made[name] for name in second.made})
    tally.add(
        what, NAMED if good else WRONG, f"{how}: {first.said[-200:]}; again: {second.code} {second.said[-500:]}"
    )


def fail_call(stages: Stages, was: Undisturbed, stage: str, tally: Tally, folder: Path) -> None:
    """Let one call, or all from one on, fail in one stage."""
    workspace_dir = Path(shutil.copytree(was.before[stage], folder / "w"))
    counted = shim.Counted(workspace_dir, CALLED, folder / "count")
    names = STAGES[: STAGES.index(stage) + 1]
    number = tally.drawn.choice((errno.EIO, errno.ENOSPC))
    at, on = tally.drawn.randint(1, was.num_calls[stage]), tally.drawn.choice((0, 1))
    variables = counted.variables(at, number, on)

    def again() -> Ended:
        return stages.run(names, was.videos_dir, workspace_dir, counted.variables())

    first = stages.run(names, was.videos_dir, workspace_dir, variables)
    judge(
        f"{errno.errorcode[number]} in {stage}", first, again, was.made, tally,
        f"call {at}, {'all from there on' if not on else 'once'}",
    )  # fmt: skip
    shutil.rmtree(folder)


def test_some_calls_fail_in_index(tally: Tally, tmp_path: Path) -> None:
    """The slice of every change."""
    with chain.started(tmp_path, network=False) as stages:
        was = chain.run_undisturbed(stages, tmp_path / "undisturbed", PREPARED[:1], CALLED)
        for number, stage in enumerate(PREPARED[:1] * 2):
            fail_call(stages, was, stage, tally, tmp_path / str(number))
    tally.check()


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_calls_fail_in_each_stage(stages: Stages, undisturbed: Undisturbed, tally: Tally, tmp_path: Path) -> None:
    todo = [stage for stage, count in CALLS.items() for _ in range(count)]
    tally.drawn.shuffle(todo)
    for number, stage in enumerate(todo):
        if tally.seconds() > MOST_S:
            break
        fail_call(stages, undisturbed, stage, tally, tmp_path / str(number))
    tally.check()


@pytest.mark.campaign
def test_full_disks(stages: Stages, undisturbed: Undisturbed, tally: Tally, tmp_path: Path) -> None:
    """Of a size at which index or cache meets the end; then it grows."""
    for number in range(6):
        with small_disk(tmp_path / str(number), tally.drawn.randrange(40_000, 1_200_000)) as disk:
            run = lambda disk=disk: stages.run(PREPARED, undisturbed.videos_dir, disk / "w")  # noqa: E731
            first = run()
            subprocess.run(["mount", "-o", "remount,size=50M", str(disk)], check=True)
            judge("a full disk", first, run, undisturbed.made, tally, str(number))
    tally.check()


@pytest.mark.campaign
def test_read_only_folders(stages: Stages, undisturbed: Undisturbed, tally: Tally, tmp_path: Path) -> None:
    def bound(folder: Path, name: str) -> Path:
        (tmp_path / name).mkdir()
        subprocess.run(["mount", "--bind", str(folder), str(tmp_path / name)], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", str(tmp_path / name)], check=True)
        return tmp_path / name

    if os.geteuid():
        pytest.skip("only root may mount a folder")
    videos_dir = bound(undisturbed.videos_dir, "videos")
    workspace_dir = bound(undisturbed.before["cache"], "w")
    try:
        run = lambda: stages.run(PREPARED, videos_dir, tmp_path / "other")  # noqa: E731
        judge("videos that are read-only", run(), run, undisturbed.made, tally, "")
        first = stages.run(PREPARED, undisturbed.videos_dir, workspace_dir)
        assert first.code == 4
        judge("a workspace that is read-only", first, run, undisturbed.made, tally, "")
    finally:
        for folder in (videos_dir, workspace_dir):
            subprocess.run(["umount", str(folder)], check=True)
    tally.check()


@pytest.mark.campaign
def test_clocks_that_go_back(stages: Stages, undisturbed: Undisturbed, tally: Tally, tmp_path: Path) -> None:
    """Each stage runs days before the one before it."""
    for day, names in enumerate((STAGES[:1], STAGES[:2], STAGES)):
        variables = {"CHAOS_CLOCK": str(day * 86_400 * 30)}
        ended = stages.run(names, undisturbed.videos_dir, tmp_path / "w", variables)
        judge("a clock that is set back", ended, lambda: ended, undisturbed.made, tally, f"{names}")  # noqa: B023
    assert left_over(tmp_path / "w") == []
    tally.check()


def disturb(path: Path, way: str, other: bytes) -> None:
    """What happens to a video while it is read."""
    if way == "grows":
        with path.open("ab") as file:
            file.write(bytes(5000))
    elif way == "is cut":
        os.truncate(path, path.stat().st_size // 2)
    elif way == "vanishes":
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(other)


@pytest.mark.campaign
def test_videos_that_change_while_they_are_read(stages: Stages, tally: Tally, tmp_path: Path) -> None:
    """In the end the workspace has what a fresh one has of the files as they are then."""
    for number, way in enumerate(("grows", "is cut", "vanishes", "is replaced") * 3):
        folder = tmp_path / str(number)
        videos_dir = make_videos(folder / "videos")
        paths = sorted(videos_dir.rglob("*.mp4"))
        path, other = tally.drawn.sample(paths, 2)
        content, delay_s = other.read_bytes(), tally.drawn.uniform(0.0, 3.0)

        def meanwhile(_: int, path=path, way=way, content=content, delay_s=delay_s) -> None:
            time.sleep(delay_s)
            disturb(path, way, content)

        first = stages.run(PREPARED, videos_dir, folder / "w", meanwhile=meanwhile)
        fresh = stages.run(PREPARED, videos_dir, folder / "fresh")
        assert fresh.code == 0, fresh.said
        again = stages.run(PREPARED, videos_dir, folder / "w")
        good = first.code not in (UNKNOWN, 1) and first.code >= 0 and "Traceback" not in first.said
        good = good and again.code == 0 and figures(again.made) == figures(fresh.made)
        outcome = (NAMED if first.code else SAME) if good else WRONG
        note = f"{path.name} after {delay_s:.2f} s: {first}; again {again}, fresh {figures(fresh.made)}"
        tally.add(f"a video {way} while it is read", outcome, note)
    tally.check()


@pytest.mark.campaign
def test_two_runs_of_everything_at_once(
    stages: Stages,
    undisturbed: Undisturbed,
    tally: Tally,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    other = Stages(tmp_path_factory.mktemp("other"))
    try:
        for number in range(2):
            ends: list[Ended] = []

            def meanwhile(_: int, number=number, ends=ends) -> None:
                time.sleep(tally.drawn.uniform(0.0, 1.5))
                ends.append(other.run(STAGES, undisturbed.videos_dir, tmp_path / str(number)))

            ends.append(stages.run(STAGES, undisturbed.videos_dir, tmp_path / str(number), meanwhile=meanwhile))
            for ended in ends:
                judge("two runs at once", ended, lambda: ended, undisturbed.made, tally, "")  # noqa: B023
            assert left_over(tmp_path / str(number)) == []
            assert len(list((tmp_path / str(number) / "registry").glob("v*"))) == 1
    finally:
        other.end()
    tally.check()


@pytest.mark.campaign
def test_too_little_memory(undisturbed: Undisturbed, tally: Tally, tmp_path: Path) -> None:
    """So little that now and then a worker cannot start, or a table cannot be written."""
    stages = Stages(tmp_path, network=False)
    try:
        for number in range(12):
            workspace_dir = tmp_path / str(number)
            most = tally.drawn.randrange(100_000_000, 1_600_000_000)
            first = stages.run(PREPARED, undisturbed.videos_dir, workspace_dir, {"CHAOS_MEMORY": str(most)})
            run = lambda place=workspace_dir: stages.run(PREPARED, undisturbed.videos_dir, place)  # noqa: E731
            judge("too little memory", first, run, undisturbed.made, tally, f"{most / 1e6:.0f} MB")
    finally:
        stages.end()
    tally.check()
