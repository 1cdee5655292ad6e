"""registry.json: which entry each name points to, the best of each line, every decision and every move."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from nonlocal_core.artifacts.files import read_checked_json, remove_unfinished, write_checked_json
from nonlocal_core.artifacts.references import Frozen
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import DamagedError, InputError

FOLDER = "registry"
REGISTRY_FILE = "registry.json"
CHAMPION, PREVIOUS = "champion", "previous"


class Decision(Frozen):
    """Why an entry became the champion, or did not."""

    version: str
    line: str
    """name of the line, whose entries can be compared"""
    leads: bool
    """it became the best of its line"""
    promoted: bool
    """it became the champion"""
    reason: str
    is_open: bool = False
    """whether it becomes the champion is left to a person"""
    champion_before: str | None
    rule: str
    """the rule of the decision, in words"""
    decided_at: str


class Move(Frozen):
    """A name that was moved."""

    alias: str
    before: str | None
    after: str | None
    reason: str
    moved_at: str


class State(Frozen):
    """The content of registry.json."""

    aliases: dict[str, str] = Field(default_factory=dict)
    lines: dict[str, str] = Field(default_factory=dict)
    """the best entry of each line"""
    digests: dict[str, str] = Field(default_factory=dict)
    """the SHA-256 of each entry.json, which holds those of the other files"""
    dropped: dict[str, str] = Field(default_factory=dict)
    """when the weights of an entry were dropped, because they were old and nothing named them"""
    decisions: tuple[Decision, ...] = ()
    moves: tuple[Move, ...] = ()

    @property
    def champion(self) -> str | None:
        """The promoted entry, if there is one."""
        return self.aliases.get(CHAMPION)

    def decision(self, version: str) -> Decision | None:
        """The decision on an entry, if there is one."""
        return next((decision for decision in self.decisions if decision.version == version), None)

    def names(self, version: str) -> list[str]:
        """The names that point to an entry."""
        return sorted(alias for alias, target in self.aliases.items() if target == version)

    def moved(self, alias: str, version: str | None, reason: str) -> State:
        """The state after a name was moved or, to None, dropped; `previous` follows the champion."""
        before = self.aliases.get(alias)
        if before == version:
            return self
        aliases = {name: target for name, target in self.aliases.items() if name != alias}
        if version is not None:
            aliases[alias] = version
        step = Move(alias=alias, before=before, after=version, reason=reason, moved_at=now())
        state = self.model_copy(update={"aliases": aliases, "moves": (*self.moves, step)})
        if alias == CHAMPION and before is not None:
            return state.moved(PREVIOUS, before, f"{CHAMPION} moved to {version}")
        return state


def now() -> str:
    """The time as text, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def file_of(workspace: Workspace) -> Path:
    """Where registry.json lies."""
    return workspace.root / FOLDER / REGISTRY_FILE


def read(workspace: Workspace) -> State:
    """Names, lines, decisions and moves.

    Raises: DamagedError if registry.json cannot be read.
    """
    file = file_of(workspace)
    try:
        return State.model_validate(read_checked_json(file))
    except FileNotFoundError:
        return State()
    except ValueError:
        raise DamagedError(f"{file} is damaged: restore it, or delete it to decide on the entries anew") from None


def write(workspace: Workspace, state: State) -> None:
    """Replace registry.json; the caller holds the lock of the registry."""
    file = file_of(workspace)
    remove_unfinished(file.parent, REGISTRY_FILE)
    write_checked_json(file, state.model_dump(mode="json"))


def resolve(state: State, name: str) -> str:
    """The version that a name or a version stands for.

    Raises: InputError if there is no such name.
    """
    if re.fullmatch(r"v\d{4,}", name):
        return name
    if name not in state.aliases:
        if not state.aliases:
            raise InputError("the registry has no entry yet: `python flows/full.py` trains and registers one")
        names = ", ".join(sorted(state.aliases))
        raise InputError(
            f"nothing is called {name!r} in the registry: name a version (v0001) or an alias ({names})"
        )
    return state.aliases[name]
