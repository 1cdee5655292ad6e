"""Entries without their weights: old ones to which no name points, and which lead no line.

What is known of them stays: entry.json for list, show and lineage, ranks.parquet for compare.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.registry.entries import ENTRY_FILE, WEIGHTS_FILE
from nonlocal_core.registry.state_file import FOLDER, State, now, read, write


def candidates(workspace: Workspace, since_s: float) -> list[Path]:
    """The weights of entries that were written before a time (seconds since 1970), and that nothing names."""
    state = read(workspace)
    versions = (decision.version for decision in state.decisions if not _is_named(state, decision.version))
    folders = (workspace.root / FOLDER / version for version in versions)
    files = (folder / WEIGHTS_FILE for folder in folders if _is_before(folder / ENTRY_FILE, since_s))
    return [file for file in files if file.is_file()]


def _is_before(file: Path, time_s: float) -> bool:
    return file.is_file() and file.stat().st_mtime < time_s


def drop(workspace: Workspace, files: Iterable[Path]) -> None:
    """Delete weights, and write down when; those of an entry that has been named meanwhile stay."""
    with workspace.locked(FOLDER):
        state = read(workspace)
        going = [file for file in files if not _is_named(state, file.parent.name)]
        dropped = {**state.dropped, **{file.parent.name: now() for file in going}}
        write(workspace, state.model_copy(update={"dropped": dropped}))
        for file in going:
            file.unlink(missing_ok=True)


def _is_named(state: State, version: str) -> bool:
    return version in state.aliases.values() or version in state.lines.values()
