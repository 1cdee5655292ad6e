"""An existing checkpoint, scored on a folder of labelled videos.

python flows/evaluate.py [PRESET] checkpoint=FILE|v0001|champion videos_dir=DIR [key=value ...]
"""

from __future__ import annotations

if __name__ == "__main__":  # says its first line before the imports below, and imports this file again
    from flows.command_line import main

    main("evaluate")

from pathlib import Path
from typing import Any

from prefect import flow

from nonlocal_core import early
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import check_names, resolve
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import headline
from tasks.cache import cache
from tasks.choices import PresetOrNone, Runner
from tasks.evaluate import evaluate, given_checkpoint, settings, warn_of_leak
from tasks.index import index
from tasks.policy import check_runner, shard_pool
from tasks.signature import sign


class Scored(Frozen):
    """The scores of a checkpoint on the videos of a folder."""

    checkpoint: Checkpoint
    cache: RecordCache
    evaluation: Evaluation
    workspace: str

    def __str__(self) -> str:
        """A few lines for a person."""
        scored = self.evaluation
        figures = "\n".join(f"  {name}     {text}" for name, text in headline.of(scored).items())
        return f"""
  scored    {scored.coverage} ({scored.protocol})
{figures}
  report    {self.workspace}/{scored.path}/{scored.REPORT}
  more      python -m nonlocal_core.scores {self.workspace}/{scored.path}
"""


@flow(name="evaluate", flow_run_name="evaluate-{checkpoint}", on_running=[sign])
def evaluate_checkpoint(
    preset: PresetOrNone = "",
    overrides: dict[str, Any] | None = None,
    checkpoint: str = "champion",
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: Runner = "threads",
) -> Scored:
    """Index, cache and evaluate.

    Network, frames, clips and views are those of the checkpoint, unless `overrides` changes them, or a preset the
    views.

    Args:
        preset: named settings of index and evaluate; empty: the views of the checkpoint
        overrides: settings that differ from the preset, such as {"evaluate.protocol": "10x3"}
        checkpoint: a file, a registry entry such as v0003, or champion
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos
        workspace_dir: folder that all results live in
        labels_path: label ids: JSON, label_map.txt, classInd.txt or CSV; those of the checkpoint if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
    """
    check_names(overrides or {})
    resolve(preset or "tiny", {})
    check_runner(runner)
    if videos_dir is None:
        raise InputError("evaluate needs videos: name their folder with videos_dir=DIR")
    workspace = Workspace(workspace_dir)
    taken = given_checkpoint(checkpoint, workspace)
    config = settings(taken, preset, overrides or {})
    with shard_pool(runner) as pool:
        manifest = index(videos_dir, config, workspace, labels_path or taken.labels_path, pool)
        early.before_cache(config, workspace, manifest, taken.labels_path)
        cached = cache(manifest, config, workspace, pool)
    warn_of_leak(taken, cached, config, workspace)
    evaluation = evaluate(taken.checkpoint, cached, config, workspace)
    return Scored(checkpoint=taken.checkpoint, cache=cached, evaluation=evaluation, workspace=str(workspace.root))
