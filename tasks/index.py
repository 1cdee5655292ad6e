"""index as Prefect tasks: plan, one task a shard, seal."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import toy
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation.crossval import Fold
from nonlocal_core.stages import index as stage
from tasks import policy, report


@task(name="toy-videos", task_run_name="toy-videos", **policy.options("index"))
def toy_videos(workspace: Workspace) -> Path:
    """The folder of generated videos, which are made now if they do not exist."""
    with workspace.locked("toy-videos"):
        return toy.make_toy_videos(workspace.root / "toy-videos")


def videos(videos_dir: Path | str | None, preset: str, workspace: Workspace) -> Path | str:
    """The folder of the videos to use; called from a flow.

    Raises: InputError if none is named, and the preset does not generate videos.
    """
    if videos_dir is not None:
        return videos_dir
    if preset != "tiny":
        raise InputError(f"the preset {preset} needs videos: name their folder with videos_dir=DIR")
    return toy_videos(workspace)


@task(name="index-plan", task_run_name="index-plan", **policy.options("index"))
def _plan(
    videos_dir: Path | str, config: Config, workspace: Workspace, labels_path: Path | None, fold: Fold | None
) -> stage.IndexPlan:
    report.show_in_prefect()
    planned = stage.plan(videos_dir, config, workspace, labels_path, fold)
    report.lines("inventory", planned.inventory, planned.videos_dir)
    return planned


@task(name="index-shard", task_run_name="index-shard-{shard.number}", **policy.shard_options("index"))
def _shard(shard: stage.IndexShard, config: Config, workspace: Workspace) -> None:
    report.show_in_prefect()
    stage.build_shard(shard, config, workspace)


@task(name="index", task_run_name="index", **policy.options("index"))
def _seal(planned: stage.IndexPlan, config: Config, workspace: Workspace) -> Manifest:
    report.show_in_prefect()
    manifest = stage.seal(planned, config, workspace)
    report.table(manifest)
    report.lines("inventory", workspace.provenance(manifest).get("inventory", ()), planned.videos_dir)
    return manifest


def index(
    videos_dir: Path | str,
    config: Config,
    workspace: Workspace,
    labels_path: Path | None,
    pool: policy.ShardPool,
    fold: Fold | None = None,
) -> Manifest:
    """The manifest of a folder of labelled videos, or of one fold of it; called from a flow."""
    name = fold.name if fold else ""
    planned = policy.named(_plan, name)(videos_dir, config, workspace, labels_path, fold)
    pool.map(policy.named(_shard, name), planned.shards, config=config, workspace=workspace)
    return policy.named(_seal, name)(planned, config, workspace)
