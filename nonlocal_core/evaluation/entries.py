"""Which entry of the registry a person means."""

from __future__ import annotations

from typing import Any

from nonlocal_core import registry
from nonlocal_core.artifacts import Workspace
from nonlocal_core.errors import InputError


def find(name: str, workspace: Workspace) -> tuple[str, dict[str, Any]]:
    """The version and the facts of `champion` or of an entry such as v0001.

    Raises: InputError if there is no such entry.
    """
    known = registry.entries(workspace)
    if not known:
        raise InputError(f"the registry of {workspace.root} has no entry yet: train one with flows/full.py")
    version = registry.read(workspace).champion if name == "champion" else name
    if version is None:
        raise InputError(f"there is no champion yet: name one of {', '.join(known)}")
    if version not in known:
        raise InputError(f"there is no entry {name!r}: there are {', '.join(known)}, and champion")
    return version, known[version]
