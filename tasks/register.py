"""register as a Prefect task."""

from __future__ import annotations

import logging
import os

from prefect import task
from prefect.artifacts import create_markdown_artifact

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import NonlocalError
from nonlocal_core.registry import mlflow_mirror
from nonlocal_core.report import markdown
from nonlocal_core.stages import register as stage
from tasks import policy, report

log = logging.getLogger("nonlocal_core.tasks")


@task(name="register", **policy.options("register"))
def register(
    checkpoint: Checkpoint, evaluation: Evaluation, cache: RecordCache, config: Config, workspace: Workspace
) -> Entry:
    """The registry entry of a scored checkpoint."""
    report.show_in_prefect()
    before = registry.read(workspace).champion
    made = stage.register(checkpoint, evaluation, cache, config, workspace)
    report.table(made)
    report.page_of_entry(workspace, made.version, config.runtime)
    _track(workspace)
    create_markdown_artifact(
        markdown.decision(workspace, made.version), key="registry-decision", description=made.reason
    )
    if made.is_champion and made.version != before:
        report.new_champion(made, workspace)
    return made


def _track(workspace: Workspace) -> None:
    """Tell MLflow, where one is named; that it cannot be told is no failure of the entry."""
    if os.environ.get(mlflow_mirror.VARIABLE):
        try:
            for line in mlflow_mirror.track(workspace, None):
                log.info("MLflow: %s", line)
        except NonlocalError as error:
            log.warning("%s; `python -m nonlocal_core.registry %s track` does it later", error, workspace.root)
