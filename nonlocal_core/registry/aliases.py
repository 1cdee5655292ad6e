"""Names that point to entries: moved under the lock, with a history, and only from where the caller expects."""

from __future__ import annotations

import re

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import InputError, WorkspaceError
from nonlocal_core.pretrained.table import TABLE
from nonlocal_core.registry.entries import check, check_weights, entry, line_of
from nonlocal_core.registry.state_file import CHAMPION, FOLDER, PREVIOUS, State, read, resolve, write

NOBODY = "none"
"""value of `expected` for a name that points nowhere"""
_NAME = re.compile(r"(?!v\d+$)(?!none$)(?!latest$)(?!champion_if_any$)[a-z][a-z0-9_-]{0,63}")


def promote(workspace: Workspace, name: str, expected: str | None = None, reason: str = "by hand") -> State:
    """The state with an entry as the champion and the best of its line; the old champion becomes `previous`.

    Raises: as `move`.
    """
    return _move(workspace, CHAMPION, name, expected, reason)


def rollback(workspace: Workspace, expected: str | None = None) -> State:
    """The state with the previous champion as the champion again.

    Raises: InputError if there is none; else as `move`.
    """
    return _move(workspace, CHAMPION, PREVIOUS, expected, "rolled back")


def move(workspace: Workspace, alias: str, name: str, expected: str | None = None) -> State:
    """The state after a person's own alias was moved to an entry.

    `expected` is the version that it is believed to point to, or "none".

    Raises: InputError if there is no such entry or the alias is reserved; WorkspaceError if it points elsewhere
        than expected; DamagedError if the entry is not whole.
    """
    _check_name(alias)
    if alias in TABLE:
        raise InputError(f"{alias!r} cannot be an alias: published weights have that name")
    return _move(workspace, alias, name, expected, "by hand")


def drop(workspace: Workspace, alias: str, expected: str | None = None) -> State:
    """The state without an alias of a person's own; raises as `move`."""
    _check_name(alias)
    with workspace.locked(FOLDER):
        state = read(workspace)
        _check_expected(state, alias, expected)
        if alias not in state.aliases:
            raise InputError(f"nothing is called {alias!r} in the registry")
        state = state.moved(alias, None, "dropped by hand")
        write(workspace, state)
    return state


def _move(workspace: Workspace, alias: str, name: str, expected: str | None, reason: str) -> State:
    with workspace.locked(FOLDER):
        state = read(workspace)
        _check_expected(state, alias, expected)
        if name == PREVIOUS and PREVIOUS not in state.aliases:
            raise InputError("there is no previous champion to go back to")
        version = resolve(state, name)
        check_weights(version, state)
        check(workspace, version, state)
        moved = state.moved(alias, version, reason)
        if alias == CHAMPION:
            lines = {**state.lines, line_of(entry(workspace, version)): version}
            moved = moved.model_copy(update={"lines": lines})
        if moved != state:
            write(workspace, moved)
    return moved


def _check_expected(state: State, alias: str, expected: str | None) -> None:
    current = state.aliases.get(alias, NOBODY)
    if expected is not None and current != expected:
        raise WorkspaceError(
            f"{alias} points to {current}, not to {expected}: it was moved meanwhile, nothing was changed"
        )


def _check_name(alias: str) -> None:
    if alias in (CHAMPION, PREVIOUS):
        raise InputError(f"{alias} is moved by promote and rollback only")
    if not _NAME.fullmatch(alias):
        raise InputError(
            f"{alias!r} cannot be an alias: small letters, digits, - and _, no version, none, latest or"
            " champion_if_any"
        )
