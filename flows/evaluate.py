"""An existing checkpoint, scored on a folder of labelled videos.

python flows/evaluate.py [PRESET] checkpoint=FILE|v0001|champion videos_dir=DIR [key=value ...]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from flows import command_line
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.evaluation import headline
from tasks import early
from tasks.cache import cache
from tasks.evaluate import evaluate, given_checkpoint
from tasks.index import index
from tasks.policy import check_runner


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


@flow(name="evaluate", flow_run_name="evaluate-{checkpoint}")
def evaluate_checkpoint(
    preset: str = "tiny",
    overrides: dict[str, Any] | None = None,
    checkpoint: str = "champion",
    videos_dir: Path | str | None = None,
    workspace_dir: Path = Path("workspace"),
    labels_path: Path | None = None,
    runner: str = "threads",
) -> Scored:
    """Index, cache and evaluate.

    Clips, frames and network are those of the checkpoint, unless `overrides` changes them.  The preset sets how to
    index and evaluate.

    Args:
        preset: named settings
        overrides: settings that differ from the preset, such as {"evaluate.protocol": "10x3"}
        checkpoint: a file, a registry entry such as v0003, or champion
        videos_dir: folder of labelled videos, or its URI such as s3://bucket/videos
        workspace_dir: folder that all results live in
        labels_path: JSON file of label ids; those of the checkpoint if there is none
        runner: where shards of index and cache run: threads, processes, dask, ray, or a cluster's address
    """
    resolve(preset, overrides or {})
    check_runner(runner)
    if videos_dir is None:
        raise InputError("evaluate needs videos: name their folder with videos_dir=DIR")
    workspace = Workspace(workspace_dir)
    kept = given_checkpoint(checkpoint, workspace)
    config = resolve(preset, overrides or {}, kept.settings)
    if config.evaluate.crop_size < config.train.crop_size:
        raise ConfigError(
            f"evaluate.crop_size={config.evaluate.crop_size} is smaller than the crops of"
            f" {config.train.crop_size} that the network was trained on: name the preset of its training, or"
            " evaluate.protocol=10x3"
        )
    manifest = index(videos_dir, config, workspace, labels_path or kept.labels_path, runner)
    early.before_cache(config, workspace, manifest, kept.labels_path)
    cached = cache(manifest, config, workspace, runner)
    evaluation = evaluate(kept.checkpoint, cached, config, workspace)
    return Scored(checkpoint=kept.checkpoint, cache=cached, evaluation=evaluation, workspace=str(workspace.root))


if __name__ == "__main__":
    purpose = "A checkpoint and a folder of labelled videos in, scores out."
    command_line.run("evaluate", purpose, evaluate_checkpoint, ("evaluate", "index", "cache", "clip", "runtime"))
