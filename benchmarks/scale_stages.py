"""The stages of benchmarks/scale.py, each in a process: `python benchmarks/scale_stages.py NUMBER FOLDER VIDEOS`.

What is real: every line of index, cache, evaluate, register, the report and prune that is not named below, with
their files, locks, digests and checksums; the folder of the videos is walked, and each file is asked for its size
and time.  What is not: the files, and what is found in them (benchmarks/scale_videos.py).  Shards are built one
after the other.  Nothing is learned: the checkpoint has one small tensor.  What the generating takes is measured
and taken off.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scale_videos

from nonlocal_core import prune, scoring
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Manifest, RecordCache, Reference
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data import loader, sampling, timing
from nonlocal_core.data.records import encoding
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.models import checkpoint as checkpoints
from nonlocal_core.process import workers
from nonlocal_core.report import run_page, run_report
from nonlocal_core.retention.needed import Age
from nonlocal_core.stages import cache, evaluate, index, register, train

NEW_EVERY = 100
"""one video in so many is new in the second night"""
STATE_FILE = "state.json"


class Place(NamedTuple):
    """Where a stage works, and on how many videos."""

    folder: Path
    num_videos: int
    config: Config
    workspace: Workspace

    @property
    def videos_dir(self) -> Path:
        """The folder of the videos, beside the workspace."""
        return self.folder / "videos"

    def keep(self, reference: Reference) -> None:
        """Keep the reference that a stage has made for the processes of later ones."""
        state = self._state() | {reference.stage: reference.model_dump(mode="json")}
        (self.folder / STATE_FILE).write_text(json.dumps(state))

    def made(self, kind: type[Any]) -> Any:
        """The reference of a kind that an earlier stage has made."""
        return kind.model_validate(self._state()[kind.stage])

    def _state(self) -> dict[str, Any]:
        file = self.folder / STATE_FILE
        found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        return found


def place_of(folder: Path, num_videos: int) -> Place:
    """The place of so many videos; settings are those of a user's first run."""
    return Place(folder, num_videos, resolve("nl_i3d_r50_32x2", {}), Workspace(folder / "workspace"))


def _num_old(place: Place) -> int:
    return place.num_videos - max(1, place.num_videos // NEW_EVERY)


def old_files(place: Place) -> None:
    """The files of the first night."""
    scale_videos.add_files(place.videos_dir, range(_num_old(place)))


def new_files(place: Place) -> None:
    """The files that are new in the second night."""
    scale_videos.add_files(place.videos_dir, range(_num_old(place), place.num_videos))


def nothing(place: Place) -> None:
    """Nothing: what a process is before a stage."""


def run_index(place: Place) -> None:
    """The stage index."""
    place.keep(index.index(place.videos_dir, place.config, place.workspace))


def run_cache(place: Place) -> None:
    """The stage cache."""
    place.keep(cache.cache(place.made(Manifest), place.config, place.workspace))


def open_reader(place: Place) -> None:
    """The reader that each process of train and evaluate opens."""
    RecordReader(place.workspace, place.made(RecordCache))


def plan_epoch(place: Place) -> None:
    """The key of a training, its rows, and the clips of each step of an epoch."""
    cached = place.made(RecordCache)
    train.key(cached, place.config, place.workspace)
    reader = RecordReader(place.workspace, cached)
    rows = loader.readable_rows(reader, "train")
    loader._steps(reader.rows["label_id"].to_numpy(np.int32), rows, place.config, 0)


def read_epoch(place: Place) -> None:
    """The bytes of one clip of each train video in the order of an epoch, with their checksums, not decoded."""
    reader = RecordReader(place.workspace, place.made(RecordCache))
    rows, seed = loader.readable_rows(reader, "train"), place.config.train.seed
    video_ids, num_frames = reader.rows["video_id"].tolist(), reader.rows["num_frames"].tolist()
    decode, encoding.decode = encoding.decode, lambda jpeg, *_: jpeg
    for number in sampling.epoch_order(len(rows), seed, 0).tolist():
        row = rows[number]
        rng = sampling.generator(seed, 0, video_ids[row], "clip")
        indices = sampling.train_indices(timing.whole(num_frames[row]), place.config.clip, rng)
        reader.frames(row, indices)
    encoding.decode = decode


def make_checkpoint(place: Place) -> None:
    """A checkpoint that knows the labels; its weights are one number."""
    cached = place.made(RecordCache)
    labels = label_ids.read(place.workspace.path(cached) / RecordCache.LABELS)
    settings = {name: getattr(place.config, name) for name in ("model", "clip", "cache", "train")}
    described = checkpoints.Description(
        step=1,
        labels=tuple(labels),
        cache_digest=cached.digest,
        manifest_digest=cached.manifest_digest,
        **settings,
    )

    def make(folder: Path) -> Checkpoint:
        written = checkpoints.save_weights(folder / Checkpoint.WEIGHTS, {"w": np.zeros(1, np.float32)}, described)
        return checkpoints.reference("0" * 16, written, 0.5)

    place.keep(place.workspace.build(Checkpoint, "0" * 16, make, {"cache": cached.model_dump(mode="json")}))


def run_evaluate(place: Place) -> None:
    """The stage evaluate: 30 views of each video of val."""
    place.keep(evaluate.evaluate(place.made(Checkpoint), place.made(RecordCache), place.config, place.workspace))


def run_register(place: Place) -> None:
    """The stage register."""
    checkpoint, scored, cached = (place.made(kind) for kind in (Checkpoint, Evaluation, RecordCache))
    register.register(checkpoint, scored, cached, place.config, place.workspace)


def make_report(place: Place) -> None:
    """The HTML report without attention, and the page in Prefect's UI."""
    run_report.write(place.workspace, "v0001", 0)
    run_page.text("", {}, run_page.changes(place.workspace, place.made(RecordCache), "v0001", is_made=False))


def run_prune(place: Place) -> None:
    """What `prune --keep-nights 30` says."""
    list(prune.prune(place.workspace.root, Age(nights=30), really=False))


class Stage(NamedTuple):
    """What is measured in a process of its own, after what it needs was prepared."""

    name: str
    run: Callable[[Place], None]
    prepare: Callable[[Place], None] = nothing


STAGES = (
    Stage("imports alone", nothing),
    Stage("index, first night", run_index, old_files),
    Stage("index, nothing new", run_index),
    Stage("cache, first night", run_cache),
    Stage("cache, nothing new", run_cache),
    Stage("index, 1 % new", run_index, new_files),
    Stage("cache, 1 % new", run_cache),
    Stage("a reader is opened", open_reader),
    Stage("train: key, rows, order of an epoch", plan_epoch),
    Stage("train: bytes of an epoch's clips", read_epoch),
    Stage("evaluate: views, scores, figures", run_evaluate, make_checkpoint),
    Stage("register", run_register),
    Stage("report", make_report),
    Stage("prune says what would go", run_prune),
)


def peak_mb() -> float:
    """Greatest resident memory of this process so far; `ru_maxrss` would have that of who started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(stage: Stage, place: Place) -> dict[str, float]:
    """Seconds without those of generating, and peak memory, of a stage in a process that has done nothing else."""
    workers.each, scoring._by_network = scale_videos.each, scale_videos.by_network  # type: ignore[assignment]
    stage.prepare(place)
    spent = scale_videos.spent
    began_s, began_cpu_s = time.perf_counter() - spent["wall_s"], time.process_time() - spent["cpu_s"]
    stage.run(place)
    wall_s, cpu_s = time.perf_counter() - spent["wall_s"], time.process_time() - spent["cpu_s"]
    return {"cpu_s": cpu_s - began_cpu_s, "wall_s": wall_s - began_s, "peak_mb": peak_mb()}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    number, folder, videos = sys.argv[1:]
    print(json.dumps(measure(STAGES[int(number)], place_of(Path(folder), int(videos)))))
