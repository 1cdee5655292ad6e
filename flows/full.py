"""The whole chain: a folder of labelled videos in, an evaluated and registered network out.

python flows/full.py [PRESET] [key=value ...]
"""

from __future__ import annotations

if __name__ == "__main__":  # says its first line before the imports below, and imports this file again
    from flows.command_line import main

    main("full")

from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.states import Completed

from flows import session
from nonlocal_core import early
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Frozen, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import flatten, resolve
from nonlocal_core.evaluation import headline
from tasks import durations, policy, report
from tasks.cache import cache
from tasks.choices import Preset, Runner
from tasks.evaluate import evaluate
from tasks.features import features
from tasks.index import index, videos
from tasks.nightly import made_before
from tasks.register import register
from tasks.signature import sign
from tasks.train import train


class Summary(Frozen):
    """The results of a run, and the duration of each stage."""

    seconds: dict[str, float]
    manifest: Manifest
    cache: RecordCache
    checkpoint: Checkpoint
    evaluation: Evaluation
    entry: Entry
    workspace: str

    @property
    def facts(self) -> dict[str, str]:
        """Figures, decision and costs by what they are."""
        return {
            **headline.of(self.evaluation),
            "scored": f"{self.evaluation.coverage} ({self.evaluation.protocol})",
            "registry": f"{self.entry.version}: {self.entry.reason}",
            "time": durations.text(self.seconds),
            "cache": f"{self.cache.num_frames} frames, {self.cache.num_bytes / 1e9:.2f} GB",
            "report": f"{self.workspace}/reports/{self.entry.version}.html",
        }

    @property
    def outcome(self) -> str:
        """The name of the state that such a run ends in."""
        return report.DECISION if self.entry.is_open else "Completed"

    @property
    def headline(self) -> str:
        """One line for a person."""
        champion = "is the champion" if self.entry.is_champion else "is not the champion"
        return f"{self.entry.version} {champion}: {self.entry.reason}; {self.evaluation.coverage}"

    def __str__(self) -> str:
        """A dozen lines for a person."""
        scored = self.evaluation
        seconds = durations.text(self.seconds)
        figures = "\n".join(f"  {name}     {text}" for name, text in headline.of(scored).items())
        champion = "the champion" if self.entry.is_champion else "not the champion"
        return f"""
  time      {seconds}
  videos    {self.cache.num_ok} used, {self.cache.num_videos - self.cache.num_ok} quarantined
{figures}
  scored    {scored.coverage} ({scored.protocol})
  registry  {self.entry.version}, {champion}: {self.entry.reason}
  report    {self.workspace}/reports/{self.entry.version}.html
  UI        {session.ui()}
"""


class NothingNew(Frozen):
    """The result of a run that had nothing to do."""

    cache: RecordCache
    version: str
    """entry that was made of these videos with these settings"""

    def __str__(self) -> str:
        """One line for a person."""
        return f"nothing new: {self.version} was made of the same {self.cache.num_ok} videos by the same settings"


@flow(name="full", flow_run_name=policy.run_name, on_running=[sign])
def full(
    preset: Preset = "tiny",
    overrides: dict[str, Any] | None = None,
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: Runner = "threads",
    only_new: bool = False,
    defaults: dict[str, Any] | None = None,
) -> Summary | NothingNew:
    """Index, cache, train, evaluate and register.

    Args:
        preset: named settings
        overrides: settings that differ from the preset, such as {"train.epochs": 2}
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos; the preset tiny makes its own
        workspace_dir: folder that all results live in
        labels_path: file of label ids: JSON, label_map.txt, classInd.txt or CSV; alphabetical if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
        only_new: train nothing if an entry of the registry was made of the same videos by the same settings
        defaults: settings of every run of a deployment, in place of the preset's; overrides counts more
    """
    config = resolve(preset, {**flatten(defaults or {}), **flatten(overrides or {})})
    policy.check_runner(runner)
    workspace = Workspace(workspace_dir)
    early.before_index(config, workspace)
    timed = durations.Clock()
    with policy.shard_pool(runner) as pool:
        with timed("index"):
            manifest = index(videos(videos_dir, preset, workspace), config, workspace, labels_path, pool)
        early.before_cache(config, workspace, manifest)
        with timed("cache"):
            cached = cache(manifest, config, workspace, pool)
    before = made_before(cached, config, workspace) if only_new else None
    if before and before.is_scored:
        return _nothing_new(cached, before.version, workspace)
    with timed("features"):
        stored_features = features(cached, config, workspace)
    with timed("train"):
        checkpoint = before.checkpoint if before else train(cached, config, workspace, stored_features)
    with timed("evaluate"):
        evaluation = evaluate(checkpoint, cached, config, workspace, stored_features)
    earlier = report.versions(workspace)
    with timed("register"):
        entry = register(checkpoint, evaluation, cached, config, workspace)
    if before and entry.version == before.version:
        return _nothing_new(cached, entry.version, workspace)
    summary = Summary(
        seconds=timed.seconds, manifest=manifest, cache=cached, checkpoint=checkpoint, evaluation=evaluation,
        entry=entry, workspace=str(workspace.root),
    )  # fmt: skip
    return _finished(summary, workspace, is_made=entry.version not in earlier)


def _finished(summary: Summary, workspace: Workspace, *, is_made: bool) -> Summary:
    report.run(workspace, summary.cache, summary.entry.version, summary.headline, summary.facts, is_made=is_made)
    return cast(Summary, Completed(name=summary.outcome, message=summary.headline, data=summary))


def _nothing_new(cached: RecordCache, version: str, workspace: Workspace) -> NothingNew:
    result = NothingNew(cache=cached, version=version)
    report.run(workspace, cached, version, str(result), {}, is_made=False)
    return cast(NothingNew, Completed(name="Nothing new", message=str(result), data=result))
