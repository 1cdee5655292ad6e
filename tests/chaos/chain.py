"""The five stages on a few tiny videos, in processes that may be killed, and what they come to."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_core.data.layouts.toy import make_toy_videos
from tests.chaos import shim

REPOSITORY = Path(__file__).parents[2]
STAGES = ("index", "cache", "train", "evaluate", "register")
NUM_VIDEOS = 16
SETTINGS: dict[str, object] = {
    "index.val_fraction": 0.5,  # evaluate has several chunks
    "cache.short_side": 36,
    "clip.clip_len": 4,
    "model.width": 2,
    "model.block": "basic",
    "model.inflate": "none",
    "model.nl_res3": (),
    "train.epochs": 3,
    "train.batch_size": 2,
    "train.val_epochs": 0,
    "train.crop_size": 32,
    "evaluate.num_clips": 10,
    "evaluate.num_crops": 3,
    "evaluate.crop_size": 32,
    "runtime.device": "CPU",
    "runtime.num_workers": 2,
    "runtime.checkpoint_steps": 2,
    "runtime.index_shard_videos": 6,
    "runtime.cache_shard_videos": 6,
}


class Ended(NamedTuple):
    """How stages have ended."""

    code: int
    """as of `subprocess`: negative for a signal"""
    made: dict[str, Any]
    """the reference of each stage; empty if they did not come to their end"""
    said: str
    """on stderr"""


class Stages:
    """A process that runs stages in forks."""

    def __init__(self, folder: Path, library: Path | None = None, network: bool = True) -> None:
        self.answer = folder / "answer.json"
        preload = {"LD_PRELOAD": str(library)} if library else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.stage_process", *(["network"] if network else [])],
            cwd=REPOSITORY,
            env={**os.environ, **preload},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        stages: tuple[str, ...],
        videos_dir: Path,
        workspace_dir: Path,
        variables: dict[str, str] | None = None,
        meanwhile: Callable[[int], None] | None = None,
        settings: dict[str, object] | None = None,
    ) -> Ended:
        """Run stages; `meanwhile` gets the number of their process, and runs beside it."""
        assert self.process.stdin
        assert self.process.stdout
        self.answer.unlink(missing_ok=True)
        asked = {
            "stages": stages,
            "folders": [str(videos_dir), str(workspace_dir)],
            "settings": SETTINGS if settings is None else settings,
            "variables": variables or {},
            "answer": str(self.answer),
        }
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        number = int(self.process.stdout.readline())
        beside = threading.Thread(target=meanwhile, args=(number,)) if meanwhile else None
        if beside:
            beside.start()
        code = int(self.process.stdout.readline())
        if beside:
            beside.join()
        made = json.loads(self.answer.read_text()) if self.answer.exists() else {}
        errors = self.answer.with_name(f"{self.answer.name}.errors")
        return Ended(code, made, errors.read_text() if errors.exists() else "")

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


class Undisturbed(NamedTuple):
    """What the stages come to that nobody disturbs, and a workspace as each stage finds it."""

    videos_dir: Path
    before: dict[str, Path]
    made: dict[str, Any]
    num_calls: dict[str, int]
    """calls of each stage that change or read files of the workspace"""
    took_s: dict[str, float]


@contextlib.contextmanager
def started(folder: Path, network: bool = True) -> Iterator[Stages]:
    """Stages whose calls can be counted, and let fail."""
    stages = Stages(folder, shim.build(folder), network)
    try:
        yield stages
    finally:
        stages.end()


def run_undisturbed(
    stages: Stages, folder: Path, names: tuple[str, ...], calls: tuple[str, ...] = shim.WRITES
) -> Undisturbed:
    """Run stage after stage, and keep a copy of the workspace before each; `calls` are counted."""
    found = Undisturbed(make_videos(folder / "videos"), {}, {}, {}, {})
    counted = shim.Counted(folder / "w", calls, folder / "count")
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


def make_videos(folder: Path, num_videos: int = NUM_VIDEOS) -> Path:
    """Toy videos in class folders."""
    return make_toy_videos(folder, num_videos)


def figures(made: dict[str, Any]) -> dict[str, Any]:
    """What must be the same whatever happened: every key and digest, and the scores."""
    names = ("key", "digest", "top1", "top5", "num_scored", "num_videos", "num_steps", "num_ok", "split_digests")
    return {stage: {name: value for name, value in made[stage].items() if name in names} for stage in made}


def left_over(workspace_dir: Path) -> list[str]:
    """What no finished run leaves: temporary files, unfinished folders, and names of those who hold locks."""
    patterns = ("*.tmp*", "*.partial", "*.holder", "probe*", "chunk-*")
    return sorted(
        str(path.relative_to(workspace_dir)) for pattern in patterns for path in workspace_dir.rglob(pattern)
    )
