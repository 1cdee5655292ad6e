"""Which entry of the registry a person means."""

from __future__ import annotations

from nonlocal_core import registry
from nonlocal_core.artifacts import Workspace
from nonlocal_core.errors import InputError
from nonlocal_core.registry import Facts
from nonlocal_core.registry.state import resolve


def find(name: str, workspace: Workspace) -> tuple[str, Facts]:
    """The version and the facts of an alias such as `champion`, or of an entry such as v0001.

    Raises: InputError if there is no such alias or entry.
    """
    known = registry.entries(workspace)
    if not known:
        raise InputError(f"the registry of {workspace.root} has no entry yet: train one with flows/full.py")
    version = resolve(registry.read(workspace), name)
    if version not in known:
        raise InputError(f"there is no entry {name!r}: there are {', '.join(known)}, and champion")
    return version, known[version]
