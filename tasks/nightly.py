"""Whether a night has anything to do, as a Prefect task."""

from __future__ import annotations

from typing import Any

from prefect import task

from nonlocal_core import registry
from nonlocal_core.artifacts.keys import key_of
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.stages import cache as cache_stage
from nonlocal_core.stages import evaluate as evaluate_stage
from nonlocal_core.stages import train as train_stage
from tasks import policy, report

NOT_ASKED = ("runtime", "registry")
"""sections that change no weight and no score"""


@task(name="made-before", **policy.options("register"))
def made_before(cache: RecordCache, config: Config, workspace: Workspace) -> str | None:
    """The newest entry that was made of the same videos by the same settings, if there is one."""
    report.show_in_prefect()
    return find(cache, config, workspace)


def find(cache: RecordCache, config: Config, workspace: Workspace) -> str | None:
    """The newest entry that was made of the same videos with the same settings, if there is one.

    The key of today cannot tell: a training that starts from the champion is another one after each promotion.
    An entry that an older version of a stage has made does not count.
    """
    state = registry.read(workspace)
    asked = _asked(config.model_dump(mode="json"))
    for version, entry in reversed(registry.entries(workspace).items()):
        same = entry.cache.digest == cache.digest and _asked(entry.config) == asked
        if same and state.decision(version) and _by_these_stages(entry, cache, config):
            return version
    return None


def _asked(config: dict[str, Any]) -> dict[str, Any]:
    return {name: section for name, section in config.items() if name not in NOT_ASKED}


def _by_these_stages(entry: registry.Facts, cache: RecordCache, config: Config) -> bool:
    """Whether the stages of today would give an entry's results the keys that they have."""
    kept, training = entry.cache, entry.training
    try:
        trained = Config.model_validate({**entry.config, **training.config})
    except ValueError:  # of an older version
        return False
    init = training.init.digest if training.init else ""
    return (
        kept.key == key_of("cache", cache_stage.VERSION, [config.cache], [kept.manifest_digest])
        and entry.checkpoint.key == train_stage.key_from(init, cache, trained)
        and entry.evaluation.key == evaluate_stage.key(entry.checkpoint, cache, config)
    )
