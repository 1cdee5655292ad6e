"""register as a Prefect task."""

from __future__ import annotations

from prefect import task

from nonlocal_core.artifacts import Checkpoint, Entry, Evaluation, RecordCache, Workspace
from nonlocal_core.config import Config
from nonlocal_core.stages import register as stage
from tasks import policy, report


@task(name="register", **policy.options("register"))
def register(
    checkpoint: Checkpoint, evaluation: Evaluation, cache: RecordCache, config: Config, workspace: Workspace
) -> Entry:
    """The registry entry of a scored checkpoint."""
    report.show_in_prefect()
    made = stage.register(checkpoint, evaluation, cache, config, workspace)
    report.table(made)
    report.page_of_entry(workspace, made.version, config.runtime)
    return made
