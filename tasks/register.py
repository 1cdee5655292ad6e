"""register as a Prefect task."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from nonlocal_core.artifacts import Checkpoint, Entry, Evaluation, RecordCache, Workspace
from nonlocal_core.config import Config
from nonlocal_core.registry import told
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
    create_markdown_artifact(
        told.decision(workspace, made.version), key="registry-decision", description=made.reason
    )
    return made
