"""A calendar of nights of `make serve`, whose days pass quickly.

A night is a run of the deployment nightly-train, begun by hand.  Between two nights a day passes: all that the
workspace and the database have written becomes a day older.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.data.records import store
from tests.nights import SETTINGS
from tests.pipeline.served import Served, steps, wait_for

DAY_S = 86400
DATED = (
    "flow_run",
    "flow_run_state",
    "task_run",
    "task_run_state",
    "log",
    "artifact",
    "events",
    "event_resources",
)
"""tables of what has happened"""


class Cost(NamedTuple):
    """What a night has done: files opened, videos decoded, steps taken."""

    opened: int
    decoded: int
    steps: int


class Night(NamedTuple):
    """What a night came to."""

    number: int
    what: str
    state: str
    message: str
    cost: Cost
    disk_mb: float
    database_mb: float


class Calendar:
    """A server, a folder of videos that changes, and the nights so far."""

    def __init__(self, served: Served, folder: Path, disk: Path, told: list[str]) -> None:
        self.served, self.disk, self.told = served, disk, told
        self.videos_dir, self.new = make_toy_videos(folder / "videos", 24), folder / "new"
        self.workspace = Workspace(disk / "workspace")
        self.database = Path(served.environment["PREFECT_HOME"]) / "prefect.db"
        self.nights: list[Night] = []
        self.counted: dict[str, int] = {}
        self.number, self.made, self.last_run = 0, 0, ""

    def fresh(self) -> list[Path]:
        """New videos, one of each label, which lie elsewhere."""
        self.made += 1
        return sorted(make_toy_videos(self.new / str(self.made), 4, seed=100 + self.made).glob("*/*.mp4"))

    def folder_of(self, label: str) -> Path:
        """The folder of a label, which may have been renamed."""
        return next(self.videos_dir.glob(f"{label}*"))

    def videos(self, split: str) -> list[Path]:
        """The usable videos of a split in the newest manifest."""
        made = (self.workspace.root / Manifest.stage).glob(f"*/{ARTIFACT_FILE}")
        rows = manifest_table.read(max(made, key=lambda file: file.stat().st_mtime).parent / Manifest.ROWS)
        names = rows.loc[(rows["split"] == split) & (rows["status"] == "ok"), "path"]
        return [self.videos_dir / name for name in names]

    def begin(self, **more: Any) -> str:
        """The id of a new run of the deployment."""
        asked = {"videos_dir": str(self.videos_dir), "workspace_dir": str(self.workspace.root)}
        parameters = {**asked, "overrides": {**SETTINGS, "runtime.checkpoint_steps": 2}}
        return self.served.begin("full/nightly-train", parameters=parameters, **more)

    def end_of(self, run: str) -> tuple[str, str]:
        """The state in which a run has ended, and its message."""

        def state() -> dict[str, Any]:
            return dict(self.served.ask(f"flow_runs/{run}")["state"])

        wait_for(lambda: state()["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"), self.served)
        return state()["name"], str(state()["message"])

    @contextlib.contextmanager
    def row(self, what: str) -> Iterator[list[str]]:
        """A line of the calendar; the ids of its runs are put into the list, and the last one counts."""
        known, taken, runs = self.records(), len(steps(self.workspace.root)), list[str]()
        yield runs
        state, message = self.end_of(runs[-1])
        cost = Cost(
            sum(self.opened(run, state) for run in runs),
            len(self.records() - known),
            len(steps(self.workspace.root)) - taken,
        )
        self.last_run = runs[-1]
        sizes = self.disk_mb(), self.database_mb()
        self.nights.append(Night(self.number, what, state, self.plain(message), cost, *sizes))
        print(self.nights[-1], flush=True)

    def plain(self, message: str) -> str:
        """A message without names of this machine."""
        for name, shown in ((self.disk, "DISK"), (self.videos_dir.parent, "DIR"), (socket.gethostname(), "HOST")):
            message = message.replace(str(name), shown)
        return re.sub(r"process \d+", "process N", message)

    def opened(self, run: str, state: str) -> int:
        """How many files the log of a run says that it opens, beyond those of an earlier row."""
        if state in ("Completed", "Decision needed", "Nothing new"):  # the end of a log comes after the state
            wait_for(lambda: "Finished in state" in self.log(run), self.served)
        total = sum(int(count) for count in re.findall(r"\d+ videos, (\d+) of them to probe", self.log(run)))
        before, self.counted[run] = self.counted.get(run, 0), total
        return total - before

    def log(self, run: str) -> str:
        asked = {"logs": {"flow_run_id": {"any_": [run]}}, "limit": 200}
        return "\n".join(line["message"] for line in self.served.ask("logs/filter", asked))

    def records(self) -> set[str]:
        """The contents that are in the cache."""
        folders = (self.workspace.root / store.FOLDER).glob("*/")
        return {sha256 for folder in folders for sha256 in store.contents(folder).index}

    def hear(self, pattern: str, run: str) -> None:
        """Wait until somebody is told, with a link to a run."""
        link = f"\nhttp://127.0.0.1:{self.served.port}/runs/flow-run/{run}"

        def heard() -> bool:
            return any(re.search(pattern, text) and text.endswith(link) for text in self.told)

        wait_for(heard, self.served)
        self.told.clear()

    def train_begins(self, taken: int) -> None:
        """Wait until a training has taken a step."""
        wait_for(lambda: len(steps(self.workspace.root)) > taken, self.served)

    def another_day(self, days: int) -> None:
        """Begin a night so many days later: all that was written is older."""
        self.number += days
        for path in sorted(self.workspace.root.rglob("*"), reverse=True):
            stat = path.stat()
            os.utime(path, (stat.st_atime, stat.st_mtime - days * DAY_S))
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            for table in DATED:
                facts = database.execute(f"PRAGMA table_info({table})").fetchall()
                columns = [name for _, name, kind, *_ in facts if kind in ("DATETIME", "TIMESTAMP")]
                assert columns, table
                older = f"strftime('%Y-%m-%d %H:%M:%f', {{0}}, '-{days} days') || '000'"
                changes = ", ".join(f"{name} = {older.format(name)}" for name in columns)
                database.execute(f"UPDATE {table} SET {changes}")

    def database_mb(self) -> float:
        """The part of the database that is in use."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as database:
            names = ("page_count", "freelist_count", "page_size")
            pages, free, num_bytes = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
            return float((pages - free) * num_bytes / 1e6)

    def disk_mb(self) -> float:
        """All files of the workspace; one with two names counts once."""
        stats = {path.stat().st_ino: path.stat() for path in self.workspace.root.rglob("*") if path.is_file()}
        return sum(stat.st_size for stat in stats.values()) / 1e6
