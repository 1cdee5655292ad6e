"""register as a Prefect task."""

from __future__ import annotations

from prefect import task

from nonlocal_core import registry
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
    before = registry.read(workspace).champion
    made = stage.register(checkpoint, evaluation, cache, config, workspace)
    report.table(made)
    report.decision(made, workspace, is_new=made.is_champion and made.version != before)
    return made
