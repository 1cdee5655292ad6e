"""The check for anything new to train on, as a Prefect task."""

from __future__ import annotations

from typing import Any, NamedTuple

from prefect import task

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Checkpoint, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.stages import cache as cache_stage
from nonlocal_core.stages import evaluate as evaluate_stage
from nonlocal_core.stages import train as train_stage
from tasks import policy, report

IGNORED = ("runtime", "registry")
"""sections of the settings that change no weight and no score"""


class Before(NamedTuple):
    """An entry that an earlier run made."""

    version: str
    checkpoint: Checkpoint
    is_scored: bool
    """whether its score is of the videos of today; if not, it is scored again"""


@task(name="made-before", task_run_name="made-before", **policy.options("register"))
def made_before(cache: RecordCache, config: Config, workspace: Workspace) -> Before | None:
    """The newest entry that learned from the same videos with the same settings, if there is one.

    The key of a training cannot tell: with the champion's weights at its start, it changes with each promotion.
    Entries made by an older version of a stage do not count, nor do those that must be scored again and have no
    weights any more.
    """
    report.show_in_prefect()
    state = registry.read(workspace)
    settings = _relevant(config.model_dump(mode="json"))
    for version, entry in reversed(registry.entries(workspace).items()):
        is_same = _relevant(entry.config) == settings and _has_current_keys(entry, cache, config)
        if is_same and state.decision(version):
            in_registry = {"path": f"{registry.FOLDER}/{version}", "file": registry.WEIGHTS_FILE}
            is_scored = entry.evaluation.key == evaluate_stage.key(entry.checkpoint, cache, config)
            if is_scored or version not in state.dropped:
                return Before(version, entry.checkpoint.model_copy(update=in_registry), is_scored)
    return None


def _relevant(config: dict[str, Any]) -> dict[str, Any]:
    return {name: section for name, section in config.items() if name not in IGNORED}


def _has_current_keys(entry: registry.Facts, cache: RecordCache, config: Config) -> bool:
    """Whether an entry's results are of the present versions of the stages, and it learned from this cache."""
    old_cache, training = entry.cache, entry.training
    try:
        trained = Config.model_validate({**entry.config, **training.config})
    except ValueError:  # of an older version
        return False
    init = training.init.digest if training.init else ""
    return (
        old_cache.key == cache_stage.key_from(old_cache.manifest_digest, config)
        and entry.checkpoint.key == train_stage.key_from(init, cache, trained)
        and entry.evaluation.key == evaluate_stage.key(entry.checkpoint, old_cache, config)
    )
