"""The weights that were fetched, in the folder of user_cache."""

from __future__ import annotations

from pathlib import Path

from nonlocal_core.artifacts import user_cache
from nonlocal_core.errors import InputError
from nonlocal_core.pretrained.table import TABLE


def checkpoint_path(name: str) -> Path:
    """The place of the checkpoint of some weights."""
    return user_cache.folder() / f"{name}.safetensors"


def find(name: str, setting: str) -> Path | None:
    """The checkpoint of the weights that a setting names; None if no weights have this name.

    Raises: InputError if they were not fetched yet.
    """
    if name not in TABLE:
        return None
    path = checkpoint_path(name)
    if not path.is_file():
        raise InputError(f"{setting}={name} is not here yet: python -m nonlocal_core.pretrained get {name}")
    return path
