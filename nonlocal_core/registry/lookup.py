"""What a person names: an entry by its version or an alias, a checkpoint file, or published weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.pretrained import store, table
from nonlocal_core.registry.entries import WEIGHTS_FILE, check_weights, entry
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import CHAMPION, FOLDER, read, resolve


class Weights(NamedTuple):
    """A checkpoint that a person named."""

    name: str
    """v0001, or the name of a file or of published weights"""
    path: Path
    entry: Facts | None
    """None: it is a file, not an entry"""


def find_entry(workspace: Workspace, name: str) -> tuple[str, Facts]:
    """The version and the content of an entry, named by its version or an alias.

    Raises: InputError if there is no such entry; DamagedError if it cannot be read.
    """
    version = resolve(read(workspace), name)
    return version, entry(workspace, version)


def check_folder(folder: Path, name: str = CHAMPION) -> None:
    """Check that a folder has a registry, unless `name` is that of a file or of published weights.

    Raises: InputError if there is no registry.
    """
    if not (folder / FOLDER).is_dir() and not _is_file(name) and name not in table.TABLE:
        raise InputError(f"there is no registry in {folder}: name the folder of a workspace")


def _is_file(name: str) -> bool:
    return "." in name or "/" in name


def find_weights(workspace: Workspace, name: str, setting: str) -> Weights:
    """The checkpoint that a setting names: of an entry, published weights, or a file: its name has a dot or slash.

    Raises: InputError if there is no such entry or file, or the weights are not fetched yet; DamagedError if the
            entry is not whole.
    """
    if pretrained := store.find(name, setting):
        return Weights(name, pretrained, None)
    if _is_file(name):
        file = Path(name).expanduser()
        if not file.is_file():
            raise InputError(f"{setting}={name}: there is no file {file}")
        return Weights(file.name, file.absolute(), None)  # lineage is followed from any folder
    try:
        version, facts = find_entry(workspace, name)
        check_weights(version, read(workspace))
    except InputError as error:
        raise InputError(f"{setting}={name}: {error}") from None
    file = workspace.root / FOLDER / version / WEIGHTS_FILE
    if not file.is_file():
        raise DamagedError(f"{file} is gone: restore it, or take another entry")
    return Weights(version, file, facts)


def first_weights(workspace: Workspace, init: str) -> Path | None:
    """The file of the weights that train.init names; None for random weights.

    Raises: InputError if there is no such file or entry; DamagedError if the entry is not whole.
    """
    if init == "champion_if_any":
        init = CHAMPION if read(workspace).champion else ""
    return find_weights(workspace, init, "train.init").path if init else None
