"""Networks that differ in one thing, trained and scored on the same videos: one table out.

python flows/ablate.py TABLE|PRESET ... [key=value|value ...]
"""

from __future__ import annotations

if __name__ == "__main__":  # says its first line before the imports below, and imports this file again
    from flows.command_line import main

    main("ablate")

import logging
from pathlib import Path
from typing import Any

from prefect import flow

from nonlocal_core import early
from nonlocal_core.artifacts.references import Frozen
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.evaluation.ablations import Ablation, Scored, variants
from tasks import policy
from tasks.ablate import compare
from tasks.cache import cache
from tasks.choices import Runner
from tasks.evaluate import evaluate
from tasks.features import features
from tasks.index import index, videos
from tasks.signature import sign
from tasks.train import train

log = logging.getLogger("nonlocal_core.flows")


class Compared(Frozen):
    """The table of an ablation, and its workspace."""

    ablation: Ablation
    page: str
    """the table in Markdown"""
    workspace: str

    def __str__(self) -> str:
        """The table for a person."""
        return f"\n{self.page}\n  table     {self.workspace}/{self.ablation.path}\n"


@flow(name="ablate", flow_run_name="ablate {names}", on_running=[sign])
def ablate(
    names: list[str],
    overrides: dict[str, Any] | None = None,
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: Runner = "threads",
) -> Compared:
    """Index and cache once, then train and evaluate each variant; nothing is registered.

    Args:
        names: tables of the paper, such as 2a, and presets
        overrides: settings of all variants; text such as "gaussian|dot_product" makes a variant of each value
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos; the preset tiny makes its own
        workspace_dir: folder that all results live in
        labels_path: file of label ids: JSON, label_map.txt, classInd.txt or CSV; alphabetical if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
    """
    chosen = variants(names, overrides or {})
    policy.check_runner(runner)
    workspace, first = Workspace(workspace_dir), chosen[0].config
    preset = chosen[0].name.split()[0]
    for variant in chosen:
        early.before_index(variant.config, workspace)
    with policy.shard_pool(runner) as pool:
        manifest = index(videos(videos_dir, preset, workspace), first, workspace, labels_path, pool)
        for variant in chosen:
            early.before_cache(variant.config, workspace, manifest)
        cached = cache(manifest, first, workspace, pool)
    scored = []
    for number, variant in enumerate(chosen, 1):
        log.info("variant %d of %d: %s", number, len(chosen), variant.name)
        name, config = variant.name, variant.config
        stored_features = features(cached, config, workspace, name)
        checkpoint = policy.named(train, name)(cached, config, workspace, stored_features)
        evaluation = policy.named(evaluate, name)(checkpoint, cached, config, workspace, stored_features)
        scored.append(Scored(variant=variant, checkpoint=checkpoint, evaluation=evaluation))
    ablation = compare(scored, workspace)
    page = (workspace.path(ablation) / Ablation.PAGE).read_text(encoding="utf-8")
    return Compared(ablation=ablation, page=page, workspace=str(workspace.root))
