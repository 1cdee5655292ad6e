"""Sixty nights of `make serve`: what each comes to, what it costs, who is told, and what grows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small import small_disk

from nonlocal_core import registry
from nonlocal_core.process.lifeline import children
from tests import campaign
from tests.pipeline.receivers import Hook
from tests.pipeline.served import Served, steps, wait_for
from tests.pipeline.served_calendar import DAY_S, Calendar, Cost, Night

KEPT = 10
"""nights whose results stay"""
WEEK = 7
DISK_BYTES = 300_000_000
OF_TRAIN = 4
"""videos of a label in train, once the superfluous ones are removed"""
DATABASE = {  # a week of Prefect's runs, in place of 90 days
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(7 * DAY_S),
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "20",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_LOOP_SECONDS": "20",
}
NOTHING = Cost(0, 0, 0)


def plain_night(days: Calendar, what: str) -> Night:
    """A night that nothing disturbs."""
    with days.row(what) as runs:
        runs.append(days.begin())
    return days.nights[-1]


def first(days: Calendar) -> None:
    night = plain_night(days, "24 videos")
    assert (night.state, night.cost.opened, night.cost.decoded) == ("Completed", 24, 24)
    assert night.message.startswith("v0001 is the champion: the first entry")


def quiet(days: Calendar) -> None:
    unchanged(plain_night(days, "nothing"))


def unchanged(night: Night, opened: int = 0) -> None:
    """The night found nothing to train on."""
    assert (night.state, night.cost) == ("Nothing new", NOTHING._replace(opened=opened)), night
    assert night.message.startswith("nothing new: ")


def trained(days: Calendar, opened: int, decoded: int) -> None:
    """The last night has a new entry, and took each step once."""
    night = days.nights[-1]
    newest = list(registry.entries(days.workspace))[-1]
    assert night.state in ("Completed", "Decision needed"), night
    assert night.message.startswith(f"{newest} is "), night
    taken = registry.entries(days.workspace)[newest].checkpoint.num_steps
    assert night.cost == (opened, decoded, taken), night


def add(days: Calendar) -> None:
    for video in days.fresh():
        shutil.move(video, days.folder_of(video.parent.name) / f"new-{days.number}.mp4")


def new(days: Calendar) -> None:
    add(days)
    plain_night(days, "4 new videos")
    trained(days, 4, 4)


def removed(days: Calendar) -> None:
    superfluous = list(days.videos_dir.glob("*/upload-*"))
    by_label: dict[str, list[Path]] = {}
    for video in days.videos("train"):
        by_label.setdefault(video.parent.name, []).append(video)
    oldest_first = [sorted(videos, key=lambda video: video.stat().st_mtime) for videos in by_label.values()]
    gone = [video for videos in oldest_first for video in videos[:-OF_TRAIN]]  # no night before had what is left
    for video in (*superfluous, *gone):
        video.unlink()
    plain_night(days, f"{len(gone)} videos removed")
    trained(days, 0, 0)


def renamed(days: Calendar) -> None:
    for split in ("train", "val"):
        old = days.videos(split)[0]
        old.rename(old.with_name(f"renamed-{split}-{days.number}.mp4"))
    unchanged(plain_night(days, "2 videos renamed"), opened=2)


def changed(days: Calendar) -> None:
    old = days.videos("train")[-1]
    shutil.move(days.fresh()[0], old)
    plain_night(days, "1 video of train replaced")
    trained(days, 1, 1)


def broken(days: Calendar) -> None:
    (days.folder_of("falls") / f"upload-{days.number}.mp4").write_text(f"half of a video {days.number}")
    unchanged(plain_night(days, "1 broken video"), opened=1)


def duplicated(days: Calendar) -> None:
    old = days.videos("val")[0]
    shutil.copy(old, old.with_name(f"upload-{days.number}.mp4"))
    unchanged(plain_night(days, "1 copy of a video of val"), opened=1)


def new_label(days: Calendar) -> None:
    folder = days.videos_dir / "blinks"
    for _ in range(2):
        folder.mkdir(exist_ok=True)
        for video in days.fresh():
            shutil.move(video, folder / f"{video.parent.name}-{days.made}.mp4")
    plain_night(days, "a new label, 8 videos")
    trained(days, 8, 8)


def renamed_label(days: Calendar) -> None:
    old = days.folder_of("rises")
    old.rename(old.with_name(f"rises-{days.number}"))
    plain_night(days, "a label renamed")
    run = days.last_run
    trained(days, days.nights[-1].cost.opened, 0)
    assert days.nights[-1].state == "Decision needed"
    days.hear("Decision needed, v", run)
    version = days.nights[-1].message.partition(" ")[0]
    registry.promote(days.workspace, version)


def worker_and_run_die(days: Calendar) -> None:
    worker_dies(days, with_run=True)


def worker_dies(days: Calendar, with_run: bool = False) -> None:
    add(days)
    taken = len(steps(days.workspace.root))
    what = "4 new videos; worker and run are killed" if with_run else "4 new videos; the worker is killed"
    with days.row(what) as runs:
        runs.append(days.begin())
        days.train_begins(taken)
        (killed,) = days.served.started(b"--pool gpu")
        for process in (killed, *(children(killed) if with_run else ())):
            os.kill(process, signal.SIGKILL)
    night = days.nights[-1]
    assert night.state == "Crashed"
    gone = "its process is gone, and so is worker-gpu, which was killed by SIGKILL"
    said = (
        gone if with_run else "WorkerGone: its worker, process N on HOST, was killed or has ended; a retry goes on"
    )
    assert night.message.rstrip(".").endswith(said), night
    days.hear("Crashed, ", runs[-1])
    with days.row("its retry") as again:
        days.served.prefect("flow-run", "retry", runs[-1])
        again.append(runs[-1])
        wait_for(lambda: days.served.state(runs[-1]) != "Crashed", days.served)
    newest = list(registry.entries(days.workspace).values())[-1]
    assert night.cost.steps + days.nights[-1].cost.steps == newest.checkpoint.num_steps, "each step was taken once"
    assert night.cost.decoded + days.nights[-1].cost.decoded == 4


def server_dies(days: Calendar) -> None:
    add(days)
    taken = len(steps(days.workspace.root))
    with days.row("4 new videos; the server is killed") as runs:
        runs.append(days.begin())
        days.train_begins(taken)
        (server,) = days.served.started(b"server start")
        os.kill(server, signal.SIGKILL)
        wait_for(lambda: days.served.started(b"server start") not in ([], [server]), days.served)
        wait_for(days.served.answers, days.served)
    trained(days, 4, 4)


def full_disk(days: Calendar) -> None:
    add(days)
    used = shutil.disk_usage(days.disk).used
    remount(days.disk, used + 60_000)
    night = plain_night(days, "4 new videos; the disk is full")
    remount(days.disk, DISK_BYTES)
    assert night.state == "Failed", night
    days.hear("Failed, ", days.last_run)
    days.another_day(1)
    plain_night(days, "nothing; the disk has space")
    trained(days, 4 - night.cost.opened, 4 - night.cost.decoded)


def remount(disk: Path, num_bytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={num_bytes}", str(disk)], check=True)


def skipped(days: Calendar) -> None:
    add(days)
    taken = len(steps(days.workspace.root))
    with days.row("4 new videos; another night is begun meanwhile") as runs:
        runs.append(days.begin())
        days.train_begins(taken)
        other = days.begin()
        wait_for(lambda: days.served.state(other) == "Cancelled", days.served)
        days.hear("^no night: .*: Cancelled, Deployment concurrency limit reached", other)
    trained(days, 4, 4)
    with days.row("the other one") as others:
        others.append(other)


def late(days: Calendar) -> None:
    days.served.ask("work_pools/gpu", {"is_paused": True}, "PATCH")
    with days.row("nothing; the pool is paused for an hour") as runs:
        due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
        runs.append(days.begin(state={"type": "SCHEDULED", "state_details": {"scheduled_time": due}}))
        days.hear("^the night that was due at .* has not begun: the pool gpu is paused", runs[0])
        assert days.served.state(runs[0]) == "Late"
        days.served.ask("work_pools/gpu", {"is_paused": False}, "PATCH")
    unchanged(days.nights[-1])


def missing(days: Calendar) -> None:
    run = days.last_run
    days.another_day(1)
    days.hear("^nightly-train: no night has completed since .*; the last one, .*, is .*", run)
    unchanged(plain_night(days, "nothing; there was no night the day before"))


CYCLE: tuple[Callable[[Calendar], None], ...] = (
    new, quiet, renamed, broken, worker_and_run_die, duplicated, removed, quiet, skipped, changed,
    server_dies, quiet, renamed_label, quiet, full_disk, late, removed, worker_dies, missing,
)  # fmt: skip
NIGHTS = (first, *CYCLE, new_label, *CYCLE, quiet, *CYCLE)


@pytest.fixture
def days(tmp_path: Path) -> Iterator[Calendar]:
    with (
        small_disk(tmp_path / "disk", DISK_BYTES) as disk,
        Served.running(tmp_path, DATABASE) as served,
        Hook.receiving() as (url, told),
    ):
        served.alert(url)
        for name in ("full/nightly-train", "prune/prune"):
            deployment = served.ask(f"deployments/name/{name}")["id"]
            served.ask(f"deployments/{deployment}", {"paused": True}, "PATCH")
        yield Calendar(served, tmp_path, disk, told)


def prune(days: Calendar) -> None:
    asked = {"workspace_dir": str(days.workspace.root), "keep_nights": KEPT, "weights": True}
    run = days.served.begin("prune/prune", parameters=asked)
    assert days.end_of(run)[0] == "Completed"


@pytest.mark.campaign
@pytest.mark.timeout(6 * 3600)
def test_sixty_nights(days: Calendar, request: pytest.FixtureRequest) -> None:
    pruned: list[Night] = []
    try:
        for number, night in enumerate(NIGHTS):
            days.another_day(1)
            night(days)
            if number % WEEK == WEEK - 1:
                prune(days)
                pruned.append(days.nights[-1]._replace(disk_mb=days.disk_mb(), database_mb=days.database_mb()))
    finally:
        if page := request.config.option.table:
            page.write_text(campaign.replaced(page.read_text(), "nights", table(days.nights)))
    assert days.number >= 60
    middle, last = pruned[len(pruned) // 2], pruned[-1]
    assert last.disk_mb < 1.2 * middle.disk_mb, pruned
    assert last.database_mb < 1.2 * middle.database_mb, pruned


def table(nights: list[Night]) -> str:
    head = "| night | what happened | state | message | opened | decoded | steps | disk, MB | database, MB |"
    lines = [head, "|---:|---|---|---|---:|---:|---:|---:|---:|"]
    for night in nights:
        cells = (night.number, night.what, night.state, night.message, *night.cost)
        lines.append(f"| {' | '.join(map(str, cells))} | {night.disk_mb:.2f} | {night.database_mb:.1f} |")
    return "\n".join(lines)
