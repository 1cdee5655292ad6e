"""What was used lately, and what that, the registry and a running process need.

The time of a finished folder says when it was last used: `Workspace` sets it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from nonlocal_core import registry
from nonlocal_core.artifacts import locks
from nonlocal_core.artifacts.files import read_checked_json
from nonlocal_core.artifacts.references import (
    Checkpoint,
    Evaluation,
    Features,
    Manifest,
    RecordCache,
    Reference,
)
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, LOCKS, Workspace
from nonlocal_core.errors import ConfigError, DamagedError

STAGES: tuple[type[Reference], ...] = (Manifest, RecordCache, Features, Checkpoint, Evaluation)
DAY_S = 86400.0


class Age(NamedTuple):
    """How long something must have been of no use before it may go; the longer of the two counts."""

    nights: int | None = None
    """days on which something was used; the last of them kept"""
    days: int | None = None

    def check(self) -> None:
        """Check its numbers: the last night stays.

        Raises: ConfigError if not.
        """
        if self.nights is not None and self.nights < 1:
            raise ConfigError(f"--keep-nights {self.nights}: keep at least 1")
        if self.days is not None and self.days < 0:
            raise ConfigError(f"--older-than {self.days}: name a number of days")


class Artifact(NamedTuple):
    """A finished artifact."""

    folder: Path
    used_s: float
    """when it was last used (seconds since 1970)"""
    inputs: tuple[str, ...]
    """the folders of what it was made of, relative to the workspace"""


class Needed(NamedTuple):
    """What stays."""

    since_s: float
    """what was used since then stays (seconds since 1970)"""
    whole: frozenset[Path]
    """folders that stay with all that they need"""
    tables: frozenset[Path]
    """caches of which only the table stays: a lineage says from it what an entry learned from"""


def artifacts(workspace: Workspace) -> list[Artifact]:
    """The finished artifacts of all stages.

    Raises: DamagedError if one cannot be read.
    """
    files = (file for kind in STAGES for file in sorted((workspace.root / kind.stage).glob(f"*/{ARTIFACT_FILE}")))
    return [_read(file) for file in files if file.parent.suffix != ".partial"]


def _read(file: Path) -> Artifact:
    try:
        provenance = read_checked_json(file)["provenance"]
        inputs = tuple(part["path"] for part in provenance.values() if isinstance(part, dict) and "path" in part)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DamagedError(f"{file} is damaged: delete {file.parent} and run again") from None
    return Artifact(file.parent, file.parent.stat().st_mtime, inputs)


def since(workspace: Workspace, finished: Iterable[Artifact], age: Age) -> float:
    """The time from which on everything stays: at the latest the last night, or a day before a running process."""
    nights = sorted({int(artifact.used_s // DAY_S) for artifact in finished}, reverse=True)
    if not nights:
        return 0.0
    limits = [nights[0] * DAY_S]
    if age.nights is not None:
        limits.append(nights[age.nights - 1] * DAY_S if len(nights) >= age.nights else 0.0)
    if age.days is not None:
        limits.append(time.time() - age.days * DAY_S)
    limits += [began_s - DAY_S for began_s in locks.held_since(workspace.root / LOCKS)]
    return min(limits)


def needed(workspace: Workspace, finished: list[Artifact], since_s: float) -> Needed:
    """What stays of the finished artifacts.

    Raises: DamagedError if the registry cannot be read.
    """
    state, entries = registry.read(workspace), registry.entries(workspace)
    named = [entries[version] for version in set(state.aliases.values()) if version in entries]
    roots = {artifact.folder for artifact in finished if artifact.used_s >= since_s}
    for entry in named:
        roots |= {workspace.root / part.path for part in (entry.cache, entry.evaluation, entry.checkpoint)}
    whole = frozenset(_with_inputs(workspace.root, finished, roots))
    tables = frozenset(workspace.root / entries[version].cache.path for version in _lineages(entries, state))
    return Needed(since_s, whole, tables - whole)


def _lineages(entries: dict[str, registry.Facts], state: registry.State) -> set[str]:
    """The entries that a training may start from, and their ancestors."""
    todo, seen = [version for version in entries if version not in state.dropped], set[str]()
    while todo:
        version = todo.pop()
        if version in entries and version not in seen:
            seen.add(version)
            parent = entries[version].parent
            todo += [parent.version] if parent and parent.version else []
    return seen


def _with_inputs(root: Path, finished: Iterable[Artifact], folders: Iterable[Path]) -> Iterator[Path]:
    inputs = {artifact.folder: artifact.inputs for artifact in finished}
    todo, seen = list(folders), set[Path]()
    while todo:
        folder = todo.pop()
        if folder not in seen:
            seen.add(folder)
            todo += [root / path for path in inputs.get(folder, ())]
    yield from seen


def day_of(time_s: float) -> str:
    """A time as its day, in UTC."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
