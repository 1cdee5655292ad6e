"""Whether a night has anything to do."""

from __future__ import annotations

from typing import Any

from nonlocal_core import registry
from nonlocal_core.artifacts import RecordCache, Workspace
from nonlocal_core.config import Config

NOT_ASKED = ("runtime", "registry")
"""sections that change no weight and no score"""


def made_before(cache: RecordCache, config: Config, workspace: Workspace) -> str | None:
    """The newest entry that was made of the same videos with the same settings, if there is one.

    A key cannot tell: a training that starts from the champion is another one after each promotion.
    """
    state = registry.read(workspace)
    asked = _asked(config.model_dump(mode="json"))
    for version, entry in reversed(registry.entries(workspace).items()):
        same = entry["cache"]["digest"] == cache.digest and _asked(entry["config"]) == asked
        if same and state.decision(version):
            return version
    return None


def _asked(config: dict[str, Any]) -> dict[str, Any]:
    return {name: section for name, section in config.items() if name not in NOT_ASKED}
