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
from nonlocal_core.escaping import in_markdown
from nonlocal_core.registry import mlflow_mirror
from nonlocal_core.report import markdown
from nonlocal_core.stages import register as stage
from tasks import policy, report

log = logging.getLogger("nonlocal_core.tasks")


@task(name="register", task_run_name="register", **policy.options("register"))
def register(
    checkpoint: Checkpoint, evaluation: Evaluation, cache: RecordCache, config: Config, workspace: Workspace
) -> Entry:
    """The registry entry of a scored checkpoint."""
    report.show_in_prefect()
    before = registry.read(workspace).champion
    entry = stage.register(checkpoint, evaluation, cache, config, workspace)
    if entry.is_champion and entry.version != before:  # at once: for another try, it is the champion from before
        report.new_champion(entry, workspace)
    report.table(entry)
    report.page_of_entry(workspace, entry.version, config.runtime)
    _track(workspace)
    text = markdown.decision(workspace, entry.version)
    create_markdown_artifact(text, key="registry-decision", description=in_markdown(entry.reason))
    return entry


def _track(workspace: Workspace) -> None:
    """Send the entries to MLflow if a server is named; a failure is only logged, since the entry is complete."""
    if os.environ.get(mlflow_mirror.VARIABLE):
        try:
            for line in mlflow_mirror.track(workspace, None):
                log.info("MLflow: %s", line)
        except NonlocalError as error:
            log.warning(
                "%s; `python -m nonlocal_core.registry track workspace_dir=%s` does it later",
                error,
                workspace.root,
            )
