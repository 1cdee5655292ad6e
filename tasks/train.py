"""train as a Prefect task, in a process of its own."""

from __future__ import annotations

from prefect import task

from nonlocal_core import child
from nonlocal_core.artifacts import Checkpoint, RecordCache, Workspace
from nonlocal_core.config import Config
from nonlocal_core.stages import train as stage
from tasks import policy, report


@task(name="train", **policy.options("train"))
def train(cache: RecordCache, config: Config, workspace: Workspace) -> Checkpoint:
    """The network trained on the train split of a cache."""
    report.show_in_prefect()
    made = stage.find(cache, config, workspace) or child.call(stage.train, cache, config, workspace)
    report.table(made)
    report.picture("training-curves", workspace.path(made) / "curves.png")
    return made
