"""A week of nights on a folder that changes: what happens on each day, and what the night comes to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Checkpoint, Entry, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.records import encoding
from nonlocal_core.process import workers
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.evaluate import evaluate
from nonlocal_core.stages.index import index
from nonlocal_core.stages.register import register
from nonlocal_core.stages.train import train
from tasks import nightly

SETTINGS = {
    "cache.short_side": 36, "clip.clip_len": 4, "model.width": 2, "model.nl_res3": [], "model.nl_res4": [],
    "model.block": "basic", "model.inflate": "none",
    "train.epochs": 2, "train.batch_size": 4, "train.crop_size": 32, "train.val_epochs": 0,
    "train.warmup_epochs": 0,
    "evaluate.num_clips": 1, "evaluate.crop_size": 32, "evaluate.batch_clips": 4,
    "runtime.device": "CPU", "runtime.num_workers": 2, "runtime.max_unreadable": 0.3,
    "index.frozen_val": "nightly", "train.init": "champion_if_any", "train.init_head": "match",
}  # fmt: skip
CONFIG = resolve("tiny", SETTINGS)


class Night(NamedTuple):
    """What one night came to."""

    manifest: Manifest
    cache: RecordCache
    entry: Entry | None
    """none if there was nothing new"""
    probed: int
    hashed: int
    decoded: int
    steps: int


class Opened:
    """Counts what the worker processes are asked to open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts = {file_probe.probe_file: 0, file_probe.hash_of: 0, encoding.encode_video: 0}
        each = workers.each

        def counted(function, items, *rest, **more):
            def one_by_one():
                for item in items:
                    self.counts[function] += 1
                    yield item

            return each(function, one_by_one(), *rest, **more)

        monkeypatch.setattr(workers, "each", counted)

    def take(self) -> tuple[int, int, int]:
        probed, hashed, decoded = self.counts.values()
        self.counts = dict.fromkeys(self.counts, 0)
        return probed, hashed, decoded


def night(videos_dir: Path, workspace: Workspace, opened: Opened) -> Night:
    opened.take()
    manifest = index(videos_dir, CONFIG, workspace)
    cached = cache(manifest, CONFIG, workspace)
    steps, entry = 0, None
    before = nightly.made_before.fn(cached, CONFIG, workspace)
    if before is None or not before.is_scored:
        checkpoint = before.checkpoint if before else train(cached, CONFIG, workspace)
        steps = 0 if before else checkpoint.num_steps
        entry = register(checkpoint, evaluate(checkpoint, cached, CONFIG, workspace), cached, CONFIG, workspace)
    return Night(manifest, cached, entry, *opened.take(), steps)


def splits_of(made: Night, workspace: Workspace) -> dict[str, str]:
    rows = manifests.read(workspace.path(made.manifest) / Manifest.ROWS)
    return dict(zip(rows["video_id"], rows["split"], strict=True))


def monday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    make_toy_videos(videos_dir, 20)


def tuesday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """The folder stays as it is."""


def wednesday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """Four videos more, one less."""
    for video in new.glob("*/*.mp4"):
        shutil.copy(video, videos_dir / video.parent.name / f"new-{video.name}")
    (videos_dir / first(split, "train")).unlink()


def thursday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """One of train and one of val get another name."""
    for old in (first(split, "train"), first(split, "val")):
        (videos_dir / old).rename((videos_dir / old).with_name(f"renamed-{Path(old).name}"))


def friday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """One that never was a video, and one of train that was cut."""
    (videos_dir / "rises" / "text.mp4").write_text("this is not a video")
    last = videos_dir / [name for name, where in split.items() if where == "train"][-1]
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])


def saturday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """A label more; its name comes first in the alphabet, so all ids move."""
    for number in range(5):
        (videos_dir / "blinks").mkdir(exist_ok=True)
        video = make_toy_videos(new.parent / f"blinks-{number}", 4, seed=10 + number) / "falls" / "toy-0000.mp4"
        shutil.copy(video, videos_dir / "blinks" / f"{number}.mp4")


def sunday(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """One of val is gone."""
    (videos_dir / [name for name, where in split.items() if where == "val"][-1]).unlink()


Day = Callable[[Path, Path, dict[str, str]], None]
DAYS: tuple[Day, ...] = (monday, tuesday, wednesday, thursday, friday, saturday, sunday)


def first(split: dict[str, str], wanted: str) -> str:
    return next(name for name, where in split.items() if where == wanted)


def week(
    folder: Path, opened: Opened, days: Sequence[Day] = DAYS
) -> tuple[list[Night], Workspace, list[dict[str, str]]]:
    workspace = Workspace(folder / "workspace")
    new = make_toy_videos(folder / "new", 4, seed=1)
    nights: list[Night] = []
    split: list[dict[str, str]] = [{}]
    for day in days:
        day(folder / "videos", new, split[-1])
        nights.append(night(folder / "videos", workspace, opened))
        split.append(splits_of(nights[-1], workspace))
    return nights, workspace, split[1:]


def decisions(workspace: Workspace) -> list[tuple[str, ...]]:
    """What a registry says, without the time at which it was said."""
    state = registry.read(workspace)
    return [
        (
            *(version, entry.key, entry.evaluation.digest, entry.evaluation.split_digest),
            *(entry.checkpoint.digest, str(state.champion)),
            json.dumps(state.decision(version).model_dump(mode="json", exclude={"decided_at"})),
        )
        for version, entry in registry.entries(workspace).items()
    ]


def checkpoints(workspace: Workspace) -> list[Checkpoint]:
    found = [workspace.find(Checkpoint, folder.name) for folder in (workspace.root / "train").iterdir()]
    return [made for made in found if made]
