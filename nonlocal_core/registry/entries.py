"""The entries: folders that are written once and never changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nonlocal_core.artifacts.files import link_or_copy, publish, sha256_of, write_json
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import FOLDER, State, read

if TYPE_CHECKING:
    import pyarrow as pa

ENTRY_FILE = "entry.json"
WEIGHTS_FILE = "checkpoint.safetensors"
RANKS_FILE = "ranks.parquet"


def entries(workspace: Workspace) -> dict[str, Facts]:
    """Every entry by its version, oldest first.

    Raises: DamagedError if registry.json or one of them cannot be read, or is not what was registered.
    """
    folders = [file.parent for file in (workspace.root / FOLDER).glob(f"v*[0-9]/{ENTRY_FILE}")]
    state = read(workspace)
    return {
        folder.name: _read(folder, state) for folder in sorted(folders, key=lambda folder: number(folder.name))
    }


def entry(workspace: Workspace, version: str) -> Facts:
    """The content of one entry.

    Raises: InputError if there is no entry of this version; DamagedError as `entries`.
    """
    return _read(_folder(workspace, version), read(workspace))


def _folder(workspace: Workspace, version: str) -> Path:
    folder = workspace.root / FOLDER / version
    if not (folder / ENTRY_FILE).exists():
        versions = sorted(file.parent.name for file in folder.parent.glob(f"v*[0-9]/{ENTRY_FILE}"))
        raise InputError(f"there is no entry {version}: there are {', '.join(versions) or 'none yet'}")
    return folder


def _read(folder: Path, state: State) -> Facts:
    facts = _facts(folder)
    if _differs(folder, state):
        raise _damaged(folder)
    return facts


def _facts(folder: Path) -> Facts:
    try:
        return Facts.model_validate_json((folder / ENTRY_FILE).read_bytes())
    except ValueError:
        raise _damaged(folder) from None


def _differs(folder: Path, state: State) -> bool:
    """Whether entry.json is not the one that was decided on."""
    return state.digests.get(folder.name) not in (None, sha256_of(folder / ENTRY_FILE))


def _damaged(folder: Path) -> DamagedError:
    return DamagedError(f"{folder / ENTRY_FILE} is damaged: restore it, or delete {folder}")


def number(version: str) -> int:
    """The number of a version."""
    return int(version[1:])


def line_of(facts: Facts) -> str:
    """The name of an entry's line: the entries with the same labels and ids, videos, protocol and frames."""
    labels = json.dumps(facts.labels, sort_keys=True)
    # Lines of frames as they are by default have the names that they had before frames counted.
    frames = () if facts.frames == CacheConfig().frames else (facts.frames,)
    return digest_of(labels, facts.evaluation.split_digest, facts.evaluation.protocol, *frames)[:8]


def keep(folder: Path, weights: Path, ranks: pa.Table, facts: Facts) -> None:
    """Write the folder of an entry, whole or not at all, with the digests of its files.

    Raises: DamagedError if there is no file of weights.
    """
    from nonlocal_core.artifacts import tables  # pandas takes a second to import, and few commands need it

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        link_or_copy(weights, partial / WEIGHTS_FILE)
    except FileNotFoundError:
        raise DamagedError(f"{weights} is gone: run the same command again, which trains anew") from None
    tables.write(ranks, partial / RANKS_FILE)
    files = {name: sha256_of(partial / name) for name in (WEIGHTS_FILE, RANKS_FILE)}
    stored = facts.model_copy(update={"files": files})
    write_json(partial / ENTRY_FILE, stored.model_dump(mode="json", exclude_unset=True))
    publish(partial, folder)


def verify(workspace: Workspace, version: str, state: State) -> list[str]:
    """The faults of an entry, and the files that are no part of it, a line each; empty if the entry is whole.

    Raises: InputError if there is no entry of this version.
    """
    faults, folder = _faults(workspace, version, state), workspace.root / FOLDER / version
    try:
        own = {ENTRY_FILE, *_facts(folder).files}
    except DamagedError:
        return faults
    extra = {file.name for file in folder.iterdir()} - own
    return [*faults, *(f"{version}/{name} is no part of the entry" for name in sorted(extra))]


def _faults(workspace: Workspace, version: str, state: State) -> list[str]:
    """The differences between an entry's files and their digests, a line each."""
    folder = _folder(workspace, version)
    try:
        facts = _facts(folder)
    except DamagedError:
        return [f"{version}/{ENTRY_FILE} cannot be read"]
    faults = []
    if state.decision(version) is None:
        faults.append(f"{version} is not decided on: its process was killed; the same command again decides")
    elif _differs(folder, state) or version not in state.digests:
        faults.append(f"{version}/{ENTRY_FILE} differs from its digest in registry.json")
    for name, digest in sorted(facts.files.items()):
        if name == WEIGHTS_FILE and version in state.dropped:
            continue
        if not (folder / name).is_file():
            faults.append(f"{version}/{name} is missing")
        elif sha256_of(folder / name) != digest:
            faults.append(f"{version}/{name} differs from its digest")
    return faults


def check_weights(version: str, state: State) -> None:
    """Check that the weights of an entry were not dropped.

    Raises: InputError if they were.
    """
    if version in state.dropped:
        raise InputError(
            f"the weights of {version} were dropped on {state.dropped[version][:10]}: take another entry"
        )


def check(workspace: Workspace, version: str, state: State) -> None:
    """Check that an entry is whole; other files beside it do no harm.

    Raises: InputError if there is no entry of this version; DamagedError that names what differs.
    """
    if faults := _faults(workspace, version, state):
        raise DamagedError(f"{'; '.join(faults)}: restore the folder registry/{version}, or take another entry")


def checkpoint_of(workspace: Workspace, version: str) -> Checkpoint:
    """The checkpoint in an entry's folder, as a reference for the stages.

    Raises: InputError if there is no entry of this version; DamagedError if it cannot be read.
    """
    own = {"path": f"{FOLDER}/{version}", "file": WEIGHTS_FILE}
    return entry(workspace, version).checkpoint.model_copy(update=own)
