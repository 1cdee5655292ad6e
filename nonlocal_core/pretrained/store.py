"""The folder of the weights that were fetched: `~/.cache/nonlocal-i3d`, or `nonlocal-i3d` in XDG_CACHE_HOME."""

from __future__ import annotations

import os
from pathlib import Path

from nonlocal_core.errors import InputError
from nonlocal_core.pretrained.table import TABLE


def folder() -> Path:
    """The folder, which may not be there yet."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "nonlocal-i3d"


def checkpoint_path(name: str) -> Path:
    """The place of the checkpoint of some weights."""
    return folder() / f"{name}.safetensors"


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
