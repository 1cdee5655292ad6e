"""train as a Prefect task, in a process of its own."""

from __future__ import annotations

from prefect import task

from nonlocal_core.artifacts.references import Checkpoint, Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.process import child
from nonlocal_core.stages import train as stage
from nonlocal_core.training import out_of_memory
from tasks import policy, report


@task(name="train", task_run_name="train", **policy.options("train"))
def train(
    cache: RecordCache, config: Config, workspace: Workspace, features: Features | None = None
) -> Checkpoint:
    """The network trained on the train split of a cache, or on the features that are kept of it."""
    report.show_in_prefect()

    def attempt(settings: Config) -> Checkpoint:
        return stage.find(cache, settings, workspace) or child.call(
            stage.train, cache, settings, workspace, features
        )

    note = workspace.root / Checkpoint.stage / f"{stage.key(cache, config, workspace)}.memory"
    checkpoint = out_of_memory.retry_halved(attempt, config, note)
    report.table(checkpoint)
    report.picture("training-curves", workspace.path(checkpoint) / Checkpoint.CURVES)
    return checkpoint
