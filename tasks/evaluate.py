"""evaluate as a Prefect task, in a process of its own."""

from __future__ import annotations

from typing import Any

from prefect import task

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ConfigError
from nonlocal_core.process import child
from nonlocal_core.registry import trained_network
from nonlocal_core.stages import evaluate as stage
from tasks import policy, report


@task(name="given-checkpoint", task_run_name="given-checkpoint", **policy.options("evaluate"))
def given_checkpoint(name: str, workspace: Workspace) -> trained_network.KeptCheckpoint:
    """The checkpoint that a person names, with its settings."""
    report.show_in_prefect()
    taken = child.call(trained_network.take, name, workspace)
    report.table(taken.checkpoint)
    return taken


def settings(taken: trained_network.KeptCheckpoint, preset: str, overrides: dict[str, Any]) -> Config:
    """The settings to score a checkpoint with; called from a flow.

    Raises: ConfigError if one does not fit.
    """
    config = trained_network.settings(taken.name, taken.settings, preset, overrides)
    if config.evaluate.crop_size < config.train.crop_size:
        raise ConfigError(
            f"evaluate.crop_size={config.evaluate.crop_size} is smaller than the crops of"
            f" {config.train.crop_size} that the network was trained on: leave it and the preset out, or name"
            " evaluate.protocol=10x3"
        )
    return config


def warn_of_leak(
    taken: trained_network.KeptCheckpoint, cache: RecordCache, config: Config, workspace: Workspace
) -> None:
    """Warn if a network learned from videos that it is scored on; called from a flow."""
    trained_network.warn_of_leak(taken, cache, config, workspace)


@task(name="evaluate", task_run_name="evaluate", **policy.options("evaluate"))
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
