"""The error tree.

    NonlocalError                 everything this project raises on purpose; its text is one line for a person
    ├── ConfigError               a preset, key or value that does not exist or does not fit
    ├── InputError                the videos, labels or files that were named cannot be used
    │   ├── NotFiniteError        a network gives numbers that are not finite: its weights are of no use
    │   └── DecodeError           one video cannot be decoded: its row is quarantined, and the run goes on
    │       └── BoundError        it takes more than a setting of runtime allows; with another one it may do
    ├── WorkspaceError            the workspace cannot be written, or is in use by another run
    │   └── DamagedError          a finished file does not match its checksum
    ├── RemoteError               object storage or a server does not answer now; a later try may succeed
    ├── DivergenceError           the loss is not a finite number; the same seed would diverge again
    └── ChildError                a process died, or failed with an error that is not in this tree

A message says what is wrong and what to do.  Command lines print it without a traceback and exit with
`exit_code`; the pipeline tries again only where `is_worth_retrying` says so.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from nonlocal_core.escaping import one_line, several_lines

FULL_DISK = "the disk is full: free some space and run again"
TOO_MANY_FILES = "this process may not have more files open: allow more with ulimit -n, and run again"


class NonlocalError(Exception):
    """Base of every error that this project raises on purpose."""

    exit_code = 1
    worth_retrying = False

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ConfigError(NonlocalError):
    """A preset, key or value does not exist or does not fit."""

    exit_code = 2


class InputError(NonlocalError):
    """The videos, labels or files that were named cannot be used."""

    exit_code = 3


class NotFiniteError(InputError):
    """A network gives numbers that are not finite."""


class DecodeError(InputError):
    """One video cannot be decoded; `status` becomes the status of its row in the manifest."""

    def __init__(self, reason: str, status: str = "unreadable") -> None:
        super().__init__(reason)
        self.status = status


class BoundError(DecodeError):
    """One video takes more memory, time or pixels than a setting of runtime allows."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, status="given_up")


class WorkspaceError(NonlocalError):
    """The workspace cannot be written, or another run is using it."""

    exit_code = 4


class DamagedError(WorkspaceError):
    """A finished file does not match its checksum."""


class RemoteError(NonlocalError):
    """Object storage or a server does not answer now."""

    exit_code = 7
    worth_retrying = True


class DivergenceError(NonlocalError):
    """The loss is not a finite number."""

    exit_code = 5


class ChildError(NonlocalError):
    """A process died, or failed with an error that is not in this tree."""

    exit_code = 6

    def __init__(self, message: str, worth_retrying: bool = True) -> None:
        Exception.__init__(self, several_lines(message))  # with what the process said last
        self.worth_retrying = worth_retrying


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk or quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_out_of_files(error: BaseException) -> bool:
    """Whether an error says that no more files may be open."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def disk_fault(error: BaseException) -> str:
    """One line about a disk that does not work, or a right that is missing; empty for other errors."""
    if not isinstance(error, OSError):
        return ""
    if error.errno in (errno.EIO, errno.EROFS, errno.ESTALE):
        place = f", {error.filename}" if error.filename else ""  # of an open file Python knows no name
        return f"the disk does not work ({error.strerror}){place}: look at it and run again"
    if error.errno in (errno.EACCES, errno.EPERM) and error.filename is not None:
        return no_right(Path(os.fsdecode(error.filename)))
    return ""


def no_right(path: Path) -> str:
    """One line for somebody who may not read or write a file or folder: whose it is, and what to do."""
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        owner = f", which belongs to {path.owner()}"
    except (OSError, KeyError, NotImplementedError):
        owner = ""
    return (
        f"you have no right to use {path}{owner}: name another folder, or share this one by a common group, chmod"
        " -R g+rwX and umask 002"
    )


def as_ours(error: BaseException) -> NonlocalError | None:
    """An error as a `NonlocalError`; None if it is neither one nor a full disk, nor one file too many."""
    if isinstance(error, NonlocalError):
        return error
    if is_out_of_files(error):
        return WorkspaceError(TOO_MANY_FILES)
    return WorkspaceError(FULL_DISK) if is_full_disk(error) else None


def is_worth_retrying(error: BaseException) -> bool:
    """Whether another try may succeed, as after an error of files, memory or a native library."""
    if isinstance(error, NonlocalError):
        return error.worth_retrying
    if is_full_disk(error) or is_out_of_files(error) or isinstance(error, PermissionError):
        return False
    return isinstance(error, OSError | MemoryError | RuntimeError)


def all_errors() -> dict[str, type[NonlocalError]]:
    """Every class of the tree by its name, for errors that cross a process boundary."""
    classes = [NonlocalError]
    for cls in classes:  # the list grows while it is walked
        classes += cls.__subclasses__()
    return {cls.__name__: cls for cls in classes}


def few(names: Iterable[str], most: int = 5) -> str:
    """The first of some names and how many more there are, as part of a message."""
    listed = [one_line(name, 200) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
