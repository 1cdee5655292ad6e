"""A cross-validation: every video is held out once, and scored by a network that never saw it.

python flows/crossval.py [PRESET] videos_dir=DIR folds=K_OR_DIR [key=value ...] [out=FILE.json]
"""

from __future__ import annotations

if __name__ == "__main__":  # says its first line before the imports below, and imports this file again
    from flows.command_line import main

    main("crossval")

import logging
from pathlib import Path
from typing import Any

from prefect import flow

from nonlocal_core import early
from nonlocal_core.artifacts.references import Frozen, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.evaluation.crossval import Crossval, CrossvalRequest, Fold, ScoredFold, check
from tasks import durations, policy
from tasks.cache import cache
from tasks.choices import Preset, Runner
from tasks.crossval import folds_of, pool, write
from tasks.evaluate import evaluate
from tasks.features import features
from tasks.index import index, videos
from tasks.signature import sign
from tasks.train import train

log = logging.getLogger("nonlocal_core.flows")


class Crossvalidated(Frozen):
    """The figures of a cross-validation, and its workspace."""

    crossval: Crossval
    page: str
    """the figures in Markdown"""
    seconds: dict[str, float]
    workspace: str
    out: str

    def __str__(self) -> str:
        """The figures for a person."""
        seconds = durations.text(self.seconds)
        written = f"  written   {self.out}\n" if self.out else ""
        return (
            f"\n{self.page}\n  time      {seconds}\n  table     {self.workspace}/{self.crossval.path}\n{written}"
        )


@flow(name="crossval", flow_run_name=policy.run_name, on_running=[sign])
def crossval(
    preset: Preset = "tiny",
    overrides: dict[str, Any] | None = None,
    videos_dir: Path | str | None = None,
    folds: str = "5",
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: Runner = "threads",
    out: Path | None = None,
) -> Crossvalidated:
    """Index, cache, train and evaluate once for each fold; nothing is registered.

    Args:
        preset: named settings
        overrides: settings that differ from the preset, such as {"train.epochs": 2}
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos; the preset tiny makes its own
        folds: number of folds to draw, or folder of their lists
        workspace_dir: folder that all results live in
        labels_path: file of label ids: JSON, label_map.txt, classInd.txt or CSV; alphabetical if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
        out: FILE.json for the figures
    """
    config = resolve(preset, overrides or {})
    check(config, out)
    policy.check_runner(runner)
    workspace = Workspace(workspace_dir)
    early.before_index(config, workspace)
    timed = durations.Clock()
    videos_dir = videos(videos_dir, preset, workspace)
    with policy.shard_pool(runner) as shards:
        with timed("index"):
            planned = folds_of(videos_dir, folds, config, labels_path)
            manifests = [index(videos_dir, config, workspace, labels_path, shards, fold) for fold in planned]
        for manifest in manifests:
            early.before_cache(config, workspace, manifest)
        with timed("cache"):
            pairs = list(zip(planned, manifests, strict=True))
            caches = [cache(manifest, config, workspace, shards, fold.name) for fold, manifest in pairs]
    scored = [
        _score(fold, manifest, cached, config, workspace, timed)
        for (fold, manifest), cached in zip(pairs, caches, strict=True)
    ]
    request = CrossvalRequest(preset=preset, overrides=overrides or {}, folds=folds)
    crossval = pool(scored, request, workspace)
    seconds = timed.total()
    if out:
        write(crossval, seconds, workspace, out)
    page = (workspace.path(crossval) / Crossval.PAGE).read_text(encoding="utf-8")
    return Crossvalidated(
        crossval=crossval, page=page, seconds=seconds, workspace=str(workspace.root), out=str(out or "")
    )


def _score(
    fold: Fold,
    manifest: Manifest,
    cached: RecordCache,
    config: Config,
    workspace: Workspace,
    timed: durations.Clock,
) -> ScoredFold:
    """Train on the other folds, and score the videos of one."""
    log.info("fold %d of %d: %s", fold.number, fold.num_folds, fold.name)
    with timed("features"):
        stored_features = features(cached, config, workspace, fold.name)
    with timed("train"):
        checkpoint = policy.named(train, fold.name)(cached, config, workspace, stored_features)
    with timed("evaluate"):
        evaluation = policy.named(evaluate, fold.name)(checkpoint, cached, config, workspace, stored_features)
    return ScoredFold(fold=fold, manifest=manifest, cache=cached, checkpoint=checkpoint, evaluation=evaluation)
