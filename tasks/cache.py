"""cache as Prefect tasks: plan, one task a shard, seal.

The stage itself decodes videos in other processes (nonlocal_core/process/workers.py), so a task is a plain call.
"""

from __future__ import annotations

from prefect import task

from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.stages import cache as stage
from tasks import policy, report


@task(name="cache-plan", task_run_name="cache-plan", **policy.options("cache"))
def _plan(manifest: Manifest, config: Config, workspace: Workspace) -> stage.CachePlan:
    report.show_in_prefect()
    return stage.plan(manifest, config, workspace, policy.num_shard_workers())


@task(name="cache-shard", task_run_name="cache-shard-{shard.number}", **policy.shard_options("cache"))
def _shard(shard: stage.CacheShard, manifest: Manifest, config: Config, workspace: Workspace) -> None:
    report.show_in_prefect()
    stage.build_shard(shard, manifest, config, workspace)


@task(name="cache", task_run_name="cache", **policy.options("cache"))
def _seal(planned: stage.CachePlan, manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    report.show_in_prefect()
    sealed = stage.seal(planned, manifest, config, workspace)
    report.table(sealed)
    return sealed


def cache(
    manifest: Manifest, config: Config, workspace: Workspace, pool: policy.ShardPool, fold_name: str = ""
) -> RecordCache:
    """The decoded frames of a manifest's videos; called from a flow."""
    planned = policy.named(_plan, fold_name)(manifest, config, workspace)
    shard = policy.named(_shard, fold_name)
    pool.map(shard, planned.shards, manifest=manifest, config=config, workspace=workspace)
    return policy.named(_seal, fold_name)(planned, manifest, config, workspace)
