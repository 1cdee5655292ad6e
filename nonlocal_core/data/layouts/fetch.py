"""Local files to read videos from: a file itself, or a temporary copy of one in object storage.

A copy is removed after use, and by `remove_orphans` if its process dies before.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import posixpath
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from nonlocal_core.data.layouts.locations import is_uri
from nonlocal_core.data.video import pictures
from nonlocal_core.errors import WorkspaceError
from nonlocal_core.process import workers

_PREFIX = "nonlocal-fetched-"
_WHAT_TO_DO = "free some space there, or name another folder with the variable TMPDIR"
_JUST_MADE_S = 60.0
_MOST_CHARACTERS = 60  # of a file name: in object storage it may be longer than a file system allows


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """A file or a folder of pictures: itself if it is on a file system, else a copy, removed afterwards.

    Raises: FileNotFoundError if it is not there; WorkspaceError if the temporary folder is full; RemoteError and
            InputError as `remote.chunks`.
    """
    if not is_uri(place):
        yield Path(place)
        return
    with _temporary_folder() as folder:
        # Storage that does not answer is tried again for minutes; without a sign of life the worker would end.
        with ThreadPoolExecutor(1) as pool:
            copy = pool.submit(_fetch, place, folder)
            while not wait([copy], workers.BEAT_S).done:
                workers.alive()
        yield copy.result()


def remove_orphans() -> None:
    """Remove the copies of dead processes."""
    try:
        top = Path(tempfile.gettempdir())
    except FileNotFoundError:  # every disk is full
        return
    for folder in top.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            # A folder that was just made is empty, and about to be locked.
            if any(folder.iterdir()) or time.time() - folder.stat().st_mtime > _JUST_MADE_S:
                shutil.rmtree(folder)


def _fetch(place: str, folder: Path) -> Path:
    from nonlocal_core.data.layouts import remote  # imports pyarrow, which a worker for local files does not need

    storage, path = remote.resolve(place)
    path, _, series = path.rpartition("/") if pictures.is_series(posixpath.basename(path)) else (path, "", "")
    target = folder / posixpath.basename(path)[-_MOST_CHARACTERS:]
    try:
        _write(remote.chunks(storage, path), target)
    except FileNotFoundError:
        names = remote.list_files(storage, path)
        target.mkdir()
        for name in names:
            if name.lower().endswith(pictures.SUFFIXES):
                _write(remote.chunks(storage, f"{path}/{name}"), target / name)
    return target / series


def _write(content: Iterator[bytes], target: Path) -> None:
    first = next(content, b"")
    try:
        with target.open("wb") as file:
            file.write(first)
            for chunk in content:
                file.write(chunk)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise WorkspaceError(
            f"{target.name} cannot be fetched to {tempfile.gettempdir()} ({error.strerror}): {_WHAT_TO_DO}"
        ) from None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that is removed afterwards, and locked as long as its process lives."""
    try:
        temporary = tempfile.TemporaryDirectory(prefix=_PREFIX)
    except OSError as error:
        raise WorkspaceError(f"no temporary folder can be made ({error.strerror}): {_WHAT_TO_DO}") from None
    with temporary as name, _locked(Path(name), fcntl.LOCK_EX):
        yield Path(name)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
