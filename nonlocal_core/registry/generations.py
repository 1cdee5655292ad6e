"""What the ancestors of an entry were trained on: a score on such videos says nothing about new ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nonlocal_core.artifacts import tensors
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace, read_artifact
from nonlocal_core.errors import DamagedError
from nonlocal_core.registry.entries import WEIGHTS_FILE, entries
from nonlocal_core.registry.facts import Facts, Leak, Parent
from nonlocal_core.registry.state_file import FOLDER

if TYPE_CHECKING:
    import pandas as pd

_VERSION = re.compile(r"v\d{4,}")


def leak(workspace: Workspace, parent: Parent | None, cache: RecordCache, split: str) -> Leak | None:
    """How many videos of a split the ancestors of a training learned from, by content; None if there are none.

    Raises: DamagedError if the cache or an entry cannot be read.
    """
    if parent is None:
        return None
    rows = _rows(workspace, cache)
    scored = set(rows.loc[(rows["split"] == split) | (split == "all"), "sha256"])
    all_leaked: set[str] = set()
    by, unknown = [], []
    for name, learned_from in _ancestors(workspace, parent):
        if learned_from is None:
            unknown.append(name)
        elif leaked := scored & learned_from:
            all_leaked |= leaked
            by.append(name)
    if not all_leaked and not unknown:
        return None
    return Leak(num_videos=len(all_leaked), of=len(scored), split=split, by=tuple(by), unknown=tuple(unknown))


def parent_of(file: Path, digest: str, workspace: Workspace) -> Parent:
    """The weights in a file, by their version if they are an entry's."""
    is_entry = _VERSION.fullmatch(file.parent.name) and file.parent.parent == workspace.root / FOLDER
    version = {"version": file.parent.name} if is_entry else {}
    return Parent.model_validate({"file": str(file), "digest": digest, **version})


def _ancestors(workspace: Workspace, parent: Parent) -> Iterator[tuple[str, set[str] | None]]:
    """Each ancestor, the nearest first, with the contents that it learned from; None where they are not known."""
    home, version = _entry_of(workspace, parent)
    if not version:
        yield from _of_file(workspace, Path(parent.file))
        return
    by_version, seen = entries(home), set()
    while version in by_version and version not in seen:
        seen.add(version)
        facts: Facts = by_version[version]
        yield version, _learned_from(home, facts.cache)
        if facts.parent is None:
            return
        following, version = facts.parent, facts.parent.version
        if not version:
            yield from _of_file(home, Path(following.file))
            return
    if version and version not in seen:  # somebody has deleted it
        yield version, None


def _entry_of(workspace: Workspace, parent: Parent) -> tuple[Workspace, str | None]:
    """The entry that weights are, or were copied from, and its workspace, which may be another."""
    file = Path(parent.file)
    if parent.version or not file.is_absolute():
        return workspace, parent.version
    folder = file.parent
    if _VERSION.fullmatch(folder.name) and folder.parent.name == FOLDER and folder.parent.parent != workspace.root:
        return Workspace(folder.parent.parent, only_read=True), folder.name
    if digest := _described(file).get("weights_digest"):
        for copied in sorted((workspace.root / FOLDER).glob(f"v*/{WEIGHTS_FILE}")):
            if _described(copied).get("weights_digest") == digest:
                return workspace, copied.parent.name
    return workspace, None


def _of_file(workspace: Workspace, file: Path) -> Iterator[tuple[str, set[str] | None]]:
    """What the weights in a file that is no entry learned from; nothing for those of others."""
    if digest := _described(file).get("cache_digest"):
        cache = _cache_of(workspace, digest)
        yield file.name, _learned_from(workspace, cache) if cache else None


def _learned_from(workspace: Workspace, cache: RecordCache) -> set[str] | None:
    try:
        rows = _rows(workspace, cache)
    except (OSError, DamagedError):
        return None
    return set(rows.loc[rows["split"] == "train", "sha256"])


def _rows(workspace: Workspace, cache: RecordCache) -> pd.DataFrame:
    """Split and content of the videos of a cache that can be read."""
    from nonlocal_core.data.records import cache_table

    rows = cache_table.read(workspace.root / cache.path / RecordCache.VIDEOS, ["split", "sha256", "status"])
    return rows[rows["status"] == "ok"]


def _described(file: Path) -> dict[str, str]:
    """The description in a file of weights; nothing if it has none."""
    try:
        described = json.loads(tensors.read_header(file)[0]["description"])
    except (OSError, ValueError, KeyError, TypeError, DamagedError):
        return {}
    return described if isinstance(described, dict) else {}


def _cache_of(workspace: Workspace, digest: str) -> RecordCache | None:
    """The cache with a digest, if it lies in this workspace."""
    for artifact in sorted((workspace.root / RecordCache.stage).glob(f"*/{ARTIFACT_FILE}")):
        try:
            reference, _ = read_artifact(RecordCache, artifact.parent)
        except DamagedError:
            continue
        if reference.digest == digest:
            return reference
    return None
