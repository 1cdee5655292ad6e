"""The entries: folders that are written once and never changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from nonlocal_core.artifacts.files import publish, write_json
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import FOLDER, State

if TYPE_CHECKING:
    import pyarrow as pa

ENTRY_FILE = "entry.json"
WEIGHTS_FILE = "checkpoint.safetensors"
RANKS_FILE = "ranks.parquet"
BLOCK_BYTES = 1 << 20


def entries(workspace: Workspace) -> dict[str, Facts]:
    """Every entry by its version, oldest first.

    Raises: DamagedError if one cannot be read.
    """
    files = sorted(
        (workspace.root / FOLDER).glob(f"v*[0-9]/{ENTRY_FILE}"), key=lambda file: number(file.parent.name)
    )
    return {file.parent.name: _read(file) for file in files}


def entry(workspace: Workspace, version: str) -> Facts:
    """One entry.

    Raises: InputError if there is none of this version; DamagedError if it cannot be read.
    """
    file = workspace.root / FOLDER / version / ENTRY_FILE
    if not file.exists():
        known = ", ".join(sorted(folder.parent.name for folder in file.parents[1].glob(f"v*[0-9]/{ENTRY_FILE}")))
        raise InputError(f"there is no entry {version}: there are {known or 'none yet'}")
    return _read(file)


def _read(file: Path) -> Facts:
    try:
        return Facts.model_validate_json(file.read_bytes())
    except ValueError:
        raise DamagedError(f"{file} is damaged: restore it, or delete {file.parent}") from None


def number(version: str) -> int:
    """The number of a version."""
    return int(version[1:])


def line_of(facts: Facts) -> str:
    """The name of the line of an entry: same labels and ids, same videos, same protocol."""
    labels = json.dumps(facts.labels, sort_keys=True)
    return digest_of(labels, facts.evaluation.split_digest, facts.evaluation.protocol)[:8]


def keep(folder: Path, weights: Path, ranks: pa.Table, facts: Facts) -> None:
    """Make the folder of an entry, with the digests of its files; it is there whole or not at all.

    Raises: DamagedError if the weights are not there.
    """
    from nonlocal_core.artifacts import tables  # pandas takes a second to import, and few commands need it

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        shutil.copyfile(weights, partial / WEIGHTS_FILE)
    except FileNotFoundError:
        raise DamagedError(f"{weights} is gone: run the same command again, which trains anew") from None
    tables.write(ranks, partial / RANKS_FILE)
    files = {name: sha256_of(partial / name) for name in (WEIGHTS_FILE, RANKS_FILE)}
    kept = facts.model_copy(update={"files": files})
    write_json(partial / ENTRY_FILE, kept.model_dump(mode="json", exclude_unset=True))
    publish(partial, folder)


def sha256_of(file: Path) -> str:
    """The digest of a file's content."""
    content = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()


def verify(workspace: Workspace, version: str, state: State) -> list[str]:
    """What differs between an entry's files and their digests, a line each; nothing if it is whole.

    Raises: InputError if there is no entry of this version.
    """
    folder = workspace.root / FOLDER / version
    try:
        facts = entry(workspace, version)
    except DamagedError:
        return [f"{version}/{ENTRY_FILE} cannot be read"]
    found = []
    if state.decision(version) is None:
        found.append(f"{version} is not decided on: its process was killed; the same command again decides")
    elif sha256_of(folder / ENTRY_FILE) != state.digests.get(version):
        found.append(f"{version}/{ENTRY_FILE} differs from its digest in registry.json")
    for name, digest in sorted(facts.files.items()):
        if not (folder / name).is_file():
            found.append(f"{version}/{name} is missing")
        elif sha256_of(folder / name) != digest:
            found.append(f"{version}/{name} differs from its digest")
    known = {ENTRY_FILE, *facts.files}
    found += [
        f"{version}/{file.name} is no part of the entry" for file in folder.iterdir() if file.name not in known
    ]
    return found


def check(workspace: Workspace, version: str, state: State) -> None:
    """Check that an entry is whole.

    Raises: InputError if there is no entry of this version; DamagedError that names what differs.
    """
    if found := verify(workspace, version, state):
        raise DamagedError(f"{'; '.join(found)}: restore the folder registry/{version}, or take another entry")


def checkpoint_of(workspace: Workspace, version: str) -> Checkpoint:
    """The checkpoint that lies in an entry, as a reference that stages take.

    Raises: InputError if there is no entry of this version; DamagedError if it cannot be read.
    """
    return entry(workspace, version).checkpoint.model_copy(
        update={"path": f"{FOLDER}/{version}", "file": WEIGHTS_FILE}
    )
