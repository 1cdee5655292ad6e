"""The whole chain: a folder of labelled videos in, an evaluated and registered network out.

python flows/full.py [PRESET] [key=value ...]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from prefect import flow

from flows import command_line
from nonlocal_core.artifacts import Checkpoint, Entry, Evaluation, Frozen, Manifest, RecordCache, Workspace
from nonlocal_core.config import resolve
from nonlocal_core.errors import InputError
from tasks.cache import cache
from tasks.evaluate import evaluate
from tasks.index import index, toy_videos
from tasks.policy import check_runner
from tasks.register import register
from tasks.train import train

T = TypeVar("T")


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


@flow(name="full", flow_run_name="full-{preset}")
def full(
    preset: str = "tiny",
    overrides: dict[str, Any] | None = None,
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: str = "threads",
) -> Summary:
    """Index, cache, train, evaluate and register.

    Args:
        preset: named settings
        overrides: settings that differ from the preset, such as {"train.epochs": 2}
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos; the preset tiny makes its own
        workspace_dir: folder that all results live in
        labels_path: JSON file of label ids; alphabetical if there is none
        runner: where shards of index and cache run: threads, processes, dask, or tcp://HOST:8786
    """
    config = resolve(preset, overrides or {})
    check_runner(runner)
    workspace = Workspace(workspace_dir)
    seconds: dict[str, float] = {}

    def timed(stage: str, task: Callable[..., T], *arguments: Any) -> T:
        started_s = time.monotonic()
        made = task(*arguments)
        seconds[stage] = round(time.monotonic() - started_s, 1)
        return made

    if videos_dir is None:
        if preset != "tiny":
            raise InputError(f"the preset {preset} needs videos: name their folder with videos_dir=DIR")
        videos_dir = timed("toy videos", toy_videos, workspace)
    manifest = timed("index", index, videos_dir, config, workspace, labels_path, runner)
    cached = timed("cache", cache, manifest, config, workspace, runner)
    _check_split(config.evaluate.split, cached)
    checkpoint = timed("train", train, cached, config, workspace)
    evaluation = timed("evaluate", evaluate, checkpoint, cached, config, workspace)
    entry = timed("register", register, checkpoint, evaluation, cached, config, workspace)
    return Summary(
        seconds=seconds,
        manifest=manifest,
        cache=cached,
        checkpoint=checkpoint,
        evaluation=evaluation,
        entry=entry,
        workspace=str(workspace.root),
    )


def _check_split(split: str, cached: RecordCache) -> None:
    """Nothing, if there is something to score; said before the training, not after it."""
    if split not in cached.split_digests:
        raise InputError(f"there is no split {split}: these videos have {', '.join(cached.split_digests)}")


if __name__ == "__main__":
    command_line.run("full", "A folder of labelled videos in, an evaluated and registered network out.", full)
