"""evaluate as a Prefect task, in a process of its own."""

from __future__ import annotations

from prefect import task

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.process import child
from nonlocal_core.registry import lookup
from nonlocal_core.stages import evaluate as stage
from tasks import policy, report


@task(name="given-checkpoint", **policy.options("evaluate"))
def given_checkpoint(name: str, workspace: Workspace) -> lookup.KeptCheckpoint:
    """The checkpoint that a person names, with its settings."""
    report.show_in_prefect()
    kept = child.call(lookup.take, name, workspace)
    report.table(kept.checkpoint)
    return kept


@task(name="evaluate", **policy.options("evaluate"))
def evaluate(
    checkpoint: Checkpoint,
    cache: RecordCache,
    config: Config,
    workspace: Workspace,
    features: Features | None = None,
) -> Evaluation:
    """The scores of every video of a split."""
    report.show_in_prefect()
    arguments = (checkpoint, cache, config, workspace)
    evaluation = stage.find(*arguments) or child.call(stage.evaluate, *arguments, features)
    report.table(evaluation)
    report.page("evaluation-report", workspace.path(evaluation) / Evaluation.REPORT)
    return evaluation
