"""features as a Prefect task, in a process of its own."""

from __future__ import annotations

from prefect import task

from nonlocal_core.artifacts.references import Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.process import child
from nonlocal_core.stages import features as stage
from tasks import policy, report


def features(cache: RecordCache, config: Config, workspace: Workspace, name: str = "") -> Features | None:
    """What the trunk of a network gives for some views of each video; None if these settings keep no features.

    `name` tells the task run from others.
    """
    if not config.features.num_clips:
        return None
    return policy.named(make_features, name)(cache, config, workspace)


@task(name="features", task_run_name="features", **policy.options("features"))
def make_features(cache: RecordCache, config: Config, workspace: Workspace) -> Features:
    """What the trunk of a network gives for some views of each video."""
    report.show_in_prefect()
    arguments = (cache, config, workspace)
    stored_features = stage.find(*arguments) or child.call(stage.features, *arguments)
    report.table(stored_features)
    return stored_features
