"""Old folders and files of a workspace, and how they go."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nonlocal_core import registry
from nonlocal_core.artifacts import locks
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, LOCKS, Workspace
from nonlocal_core.data.records import store
from nonlocal_core.registry import dropped_weights
from nonlocal_core.retention.needed import STAGES, Age, Needed, artifacts, day_of, needed, since

REPORTS = "reports"
PREDICT = "predict"
"""folder of what hosts have predicted together and not finished"""


class Old(NamedTuple):
    """What may go."""

    needed: Needed
    finished: list[Path]
    partial: list[Path]
    reports: list[Path]
    locks: list[Path]
    weights: list[Path]
    """of entries of the registry"""

    def unneeded(self, *, really: bool) -> set[Path]:
        """Folders of caches and features whose frames and activations need not stay; not those that are in use."""
        going = {folder for folder in (*self.finished, *self.partial) if not (really and folder.exists())}
        used = {folder for folder in self.needed.tables if _is_used(folder, self.needed.since_s)}
        return going | self.needed.tables - used


def find(workspace: Workspace, age: Age, *, weights: bool) -> Old:
    """What may go; weights of entries only if they are asked for.

    Raises: DamagedError if it cannot be known what something needs.
    """
    finished = artifacts(workspace)
    since_s = since(workspace, finished, age)
    stays = needed(workspace, finished, since_s)
    named = set(registry.read(workspace).aliases.values())
    reports = (workspace.root / REPORTS).glob("v*.html")
    building = (*(kind.stage for kind in STAGES), PREDICT)
    partial = (folder for name in building for folder in (workspace.root / name).glob("*.partial"))
    return Old(
        needed=stays,
        finished=[artifact.folder for artifact in finished if artifact.folder not in stays.whole | stays.tables],
        partial=[folder for folder in sorted(partial) if _last_written_s(folder) < since_s],
        reports=[file for file in sorted(reports) if file.stem not in named and file.stat().st_mtime < since_s],
        locks=[file for file in (workspace.root / LOCKS).glob("*.lock") if file.stat().st_mtime < since_s],
        weights=dropped_weights.candidates(workspace, since_s) if weights else [],
    )


def _last_written_s(folder: Path) -> float:
    """When something in a folder was written last; now, if something goes from it meanwhile."""
    try:
        return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
    except FileNotFoundError:  # a training gives a file that it has finished its name
        return time.time()


def lines(workspace: Workspace, old: Old, *, really: bool) -> Iterator[str]:
    """What goes, line by line; with `really`, it has gone when its line comes."""
    yield (
        f"what was used on {day_of(old.needed.since_s)} or later stays" if old.needed.since_s else "nothing is old"
    )
    does = "freed" if really else "would free"
    shares = _shares([*old.finished, *old.partial, *old.reports, *old.weights])
    groups = {**_by_stage(old.finished), **_by_stage(old.partial, "unfinished "), REPORTS: old.reports}
    for name, paths in groups.items():
        if paths:
            going = [path for path in paths if not really or _remove(workspace, path, old.needed.since_s)]
            num_bytes = sum(shares[path] for path in going)
            yield f"{name}: {does} {store.gigabytes(num_bytes)}: {len(going)} not used since then"
    if old.weights:
        num_bytes = sum(shares[file] for file in old.weights)
        if really:
            dropped_weights.drop(workspace, old.weights)
        yield f"registry: {does} {store.gigabytes(num_bytes)}: the weights of {len(old.weights)} entries"
    if old.locks:
        removed = sum(not really or _remove_lock(file) for file in old.locks)
        yield f"{LOCKS}: {removed} locks that nobody holds"
    for folder in sorted(old.needed.tables):
        if folder.is_dir():
            yield f"  kept of {folder.relative_to(workspace.root)}: its table, for the lineage of an entry"


def _by_stage(folders: list[Path], prefix: str = "") -> dict[str, list[Path]]:
    names = Counter(folder.parent.name for folder in folders)
    return {prefix + name: [folder for folder in folders if folder.parent.name == name] for name in names}


def _is_used(folder: Path, since_s: float) -> bool:
    return folder.exists() and folder.stat().st_mtime >= since_s


def _shares(paths: list[Path]) -> dict[Path, int]:
    """The bytes that each path frees, if all of them go: a file with two names is one file."""
    files = {
        path: [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()] for path in paths
    }
    stats = {file: file.stat() for below in files.values() for file in below}
    going = Counter(stat.st_ino for stat in stats.values())
    return {
        path: sum(
            stats[file].st_size // stats[file].st_nlink
            for file in below
            if going[stats[file].st_ino] == stats[file].st_nlink
        )
        for path, below in files.items()
    }


def _remove(workspace: Workspace, path: Path, since_s: float) -> bool:
    """Remove a folder or a file; false if somebody uses it after all."""
    if path.is_file():
        path.unlink()
        return True
    name = f"{path.parent.name}-{path.name.removesuffix('.partial')}"
    with locks.hold_if_free(workspace.root / LOCKS, name) as is_free:
        if not is_free or _is_used(path, since_s):
            return False
        (path / ARTIFACT_FILE).unlink(missing_ok=True)  # first: without it, the folder does not exist
        shutil.rmtree(path)
    return True


def _remove_lock(file: Path) -> bool:
    with locks.hold_if_free(file.parent, file.stem) as is_free:
        if is_free:
            file.unlink(missing_ok=True)
    return is_free
