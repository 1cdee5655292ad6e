"""The whole chain: a folder of labelled videos in, an evaluated and registered network out.

python flows/full.py [PRESET] [key=value ...]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from prefect import flow
from prefect.states import Completed

from flows import command_line
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Frozen, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import InputError
from tasks import policy
from tasks.cache import cache
from tasks.evaluate import evaluate
from tasks.index import index, videos
from tasks.nightly import made_before
from tasks.register import register
from tasks.train import train

T = TypeVar("T")


class Clock:
    """How long each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, stage: str, task: Callable[..., T], *arguments: Any) -> T:
        """What the task returns."""
        started_s = time.monotonic()
        made = task(*arguments)
        self.seconds[stage] = round(time.monotonic() - started_s, 1)
        return made


class Summary(Frozen):
    """What a run made, and how long each stage took."""

    seconds: dict[str, float]
    manifest: Manifest
    cache: RecordCache
    checkpoint: Checkpoint
    evaluation: Evaluation
    entry: Entry
    workspace: str

    def __str__(self) -> str:
        """A dozen lines for a person."""
        made, scored = self.cache, self.evaluation
        took = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self.seconds.items())
        champion = "the champion" if self.entry.is_champion else "not the champion"
        return "\n".join(
            [
                "",
                f"  time      {took}",
                f"  videos    {made.num_ok} used, {made.num_videos - made.num_ok} quarantined",
                f"  top-1     {scored.top1:.2%}, {scored.coverage} ({scored.protocol})",
                f"  top-5     {scored.top5:.2%}",
                f"  registry  {self.entry.version}, {champion}: {self.entry.reason}",
                f"  report    {self.workspace}/reports/{self.entry.version}.html",
                "  UI        prefect server start, then http://127.0.0.1:4200",
                "",
            ]
        )


class NothingNew(Frozen):
    """What was found by a run that had nothing to do."""

    cache: RecordCache
    version: str
    """the entry that these videos and settings made"""

    def __str__(self) -> str:
        """One line for a person."""
        return f"nothing new: {self.version} was made of the same {self.cache.num_ok} videos by the same settings"


@flow(name="full", flow_run_name=policy.run_name)
def full(
    preset: str = "tiny",
    overrides: dict[str, Any] | None = None,
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: str = "threads",
    only_new: bool = False,
) -> Summary | NothingNew:
    """Index, cache, train, evaluate and register.

    Args:
        preset: named settings
        overrides: settings that differ from the preset, such as {"train.epochs": 2}
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos; the preset tiny makes its own
        workspace_dir: folder that all results live in
        labels_path: JSON file of label ids; alphabetical if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
        only_new: end after cache if an entry of the registry was made of the same videos by the same settings
    """
    config = resolve(preset, overrides or {})
    policy.check_runner(runner)
    workspace = Workspace(workspace_dir)
    clock = Clock()
    videos_dir = clock.time("videos", videos, videos_dir, preset, workspace)
    manifest = clock.time("index", index, videos_dir, config, workspace, labels_path, runner)
    cached = clock.time("cache", cache, manifest, config, workspace, runner)
    check_split(config.evaluate.split, cached)
    if only_new and (version := made_before(cached, config, workspace)):
        found = NothingNew(cache=cached, version=version)
        return cast(NothingNew, Completed(name="Nothing new", message=str(found), data=found))
    checkpoint = clock.time("train", train, cached, config, workspace)
    evaluation = clock.time("evaluate", evaluate, checkpoint, cached, config, workspace)
    entry = clock.time("register", register, checkpoint, evaluation, cached, config, workspace)
    return Summary(
        seconds=clock.seconds,
        manifest=manifest,
        cache=cached,
        checkpoint=checkpoint,
        evaluation=evaluation,
        entry=entry,
        workspace=str(workspace.root),
    )


def check_split(split: str, cached: RecordCache) -> None:
    """Nothing, if there is something to score; said before the training, not after it."""
    if split not in cached.split_digests:
        raise InputError(f"there is no split {split}: these videos have {', '.join(cached.split_digests)}")


if __name__ == "__main__":
    purpose = "A folder of labelled videos in, an evaluated and registered network out; tiny makes its own videos."
    command_line.run("full", purpose, full)
