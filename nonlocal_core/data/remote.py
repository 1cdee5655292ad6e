"""Videos in object storage: s3://BUCKET/FOLDER, gs://, and what else pyarrow has a file system for.

A folder is listed once, with sizes and times of change; nothing is opened for that.  What has to be read is
fetched to a temporary file.  It is removed after use, and by `remove_orphans` if its process dies before.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import io
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO
from urllib.parse import quote, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from nonlocal_core import isolation
from nonlocal_core.data import pictures
from nonlocal_core.errors import FULL_DISK, InputError, RemoteError, WorkspaceError, is_full_disk

CHUNK_BYTES = 8 << 20
"""each is one request"""

_PREFIX = "nonlocal-fetched-"
_MOST_CHARACTERS = 60  # of a file name: a key may have more than a file system takes
# What another try would not change, in the words of AWS and of Google.
_REFUSED = re.compile(
    "ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|"
    "EXPIRED_TOKEN|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN|HTTP (response code|status) (30|40[0134])|"
    "PERMISSION_DENIED|UNAUTHENTICATED"
)


class Found(NamedTuple):
    """What a listing says of a file."""

    size_bytes: int
    stamp: int
    """time of change (ns); S3 knows whole seconds"""


@dataclass(frozen=True)
class Listing:
    """What lies below the folder `uri`, by paths relative to it."""

    uri: str
    files: dict[str, Found]
    folders: dict[str, set[str]]
    """the paths of what is directly in each; that of the top is "" """


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder as it was when its top folder was listed, with as much of `pathlib.Path` as layouts ask."""

    path: str
    """relative to the folder that was listed"""
    listing: Listing = field(compare=False, repr=False)

    def __str__(self) -> str:
        return join(self.listing.uri, self.path)

    def __truediv__(self, path: str) -> RemotePath:
        return RemotePath(posixpath.join(self.path, path).rstrip("/"), self.listing)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def found(self) -> Found:
        """Size and time of change; -1 and 0 if there is no such file."""
        return self.listing.files.get(self.path, Found(-1, 0))

    def is_file(self) -> bool:
        """Whether there is a file of this name."""
        return self.path in self.listing.files

    def is_dir(self) -> bool:
        """Whether there is a folder of this name."""
        return self.path in self.listing.folders

    def iterdir(self) -> Iterator[RemotePath]:
        """What lies directly in the folder."""
        for path in self.listing.folders.get(self.path, ()):
            yield RemotePath(path, self.listing)

    def open(self, encoding: str, errors: str = "strict", newline: str | None = None) -> TextIO:
        """The text of the file.

        Raises: FileNotFoundError, RemoteError and InputError as `chunks`.
        """
        content = b"".join(chunks(*resolve(str(self))))
        return io.TextIOWrapper(io.BytesIO(content), encoding, errors, newline)

    def read_text(self, encoding: str) -> str:
        """The text of the file, all at once."""
        return self.open(encoding).read()


def is_uri(place: str | Path) -> bool:
    """Whether a place is named by a URI, not by a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", str(place)) is not None


def join(folder: str, path: str) -> str:
    """Where a file below a folder lies, whichever way the folder is named."""
    if not is_uri(folder):
        return f"{folder}/{path}"
    head, mark, query = folder.partition("?")
    return f"{head}/{quote(path)}{mark}{query}" if path else folder


def list_folder(uri: str) -> RemotePath:
    """All that lies below a folder, listed once.

    Raises: InputError if there is no such folder, or one may not list it; RemoteError if it cannot be listed now.
    """
    head, mark, query = uri.partition("?")
    uri = f"{head.rstrip('/')}{mark}{query}"
    storage, top = resolve(uri)
    try:
        with asking(uri):
            infos = storage.get_file_info(fs.FileSelector(top, recursive=True))
    except FileNotFoundError:
        raise InputError(f"there is no folder {uri}: give the folder that the videos lie in") from None
    listing = Listing(uri, {}, {"": set()})
    for info in infos:
        path = info.path[len(top) :].strip("/")
        if info.type == fs.FileType.File:
            listing.files[path] = Found(info.size, info.mtime_ns or 0)
        else:
            listing.folders.setdefault(path, set())
        while path:  # not every storage has folders of its own
            parent = posixpath.dirname(path)
            siblings = listing.folders.setdefault(parent, set())
            if path in siblings:
                break
            siblings.add(path)
            path = parent
    return RemotePath("", listing)


@contextlib.contextmanager
def fetched(place: str) -> Iterator[Path]:
    """A file or a folder of pictures: itself if it is on a file system, else a copy that is removed afterwards.

    Raises: FileNotFoundError if it is not there; WorkspaceError if the temporary folder is full; RemoteError and
            InputError as `chunks`.
    """
    if not is_uri(place):
        yield Path(place)
        return
    storage, path = resolve(place)
    with _temporary_folder() as folder:
        target = folder / posixpath.basename(path)[-_MOST_CHARACTERS:]
        try:
            _fetch(storage, path, target)
        except FileNotFoundError:
            with asking(place):
                infos = storage.get_file_info(fs.FileSelector(path))
            target.unlink(missing_ok=True)
            target.mkdir()
            for info in infos:
                if info.type == fs.FileType.File and info.base_name.lower().endswith(pictures.SUFFIXES):
                    _fetch(storage, info.path, target / info.base_name)
        yield target


def remove_orphans() -> None:
    """Remove what was fetched by processes that are dead."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if any(folder.iterdir()):  # one that was just made is about to be locked
                shutil.rmtree(folder)


def resolve(uri: str) -> tuple[fs.FileSystem, str]:
    """The storage of a URI, and the path there.

    Raises: InputError if there is no storage of this kind, or the URI holds a password.
    """
    parts = urlsplit(uri)
    if parts.password is not None:
        raise InputError(
            f"{parts.scheme}://…@{parts.hostname} holds a password, which would be kept and shown: take it out and"
            " put it where the storage's own tools look for it, such as AWS_SECRET_ACCESS_KEY"
        )
    with asking(uri):
        storage, top = _storage(f"{parts.scheme}://{parts.netloc}/{'?' if parts.query else ''}{parts.query}")
    return storage, f"{top.rstrip('/')}/{unquote(parts.path).strip('/')}".rstrip("/")


@functools.lru_cache(maxsize=8)
def _storage(uri: str) -> tuple[fs.FileSystem, str]:
    return fs.FileSystem.from_uri(uri)


def chunks(storage: fs.FileSystem, path: str) -> Iterator[bytes]:
    """The content of a file, piece by piece.

    Raises: FileNotFoundError if it is not there; RemoteError if it cannot be read now; InputError if one may not.
    """
    with asking(path), storage.open_input_file(path) as file:
        left = file.size()
        while chunk := file.read(CHUNK_BYTES):
            left -= len(chunk)
            yield chunk
        if left:
            raise OSError(f"{left} bytes are missing at its end")


@contextlib.contextmanager
def asking(what: str) -> Iterator[None]:
    """A request: what goes wrong in it becomes one line, and it is told whether another try may end better.

    Raises: RemoteError, if it may; InputError, if not; FileNotFoundError as it is.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_full_disk(error):
            raise WorkspaceError(FULL_DISK) from None
        said = " ".join(re.sub(r"\(Request ID.*?\)", "", str(error)).split())
        if _REFUSED.search(said):
            raise InputError(
                f"{what} is refused: check the bucket's name, its region and your credentials ({said})"
            ) from None
        raise RemoteError(f"{what} cannot be reached now ({said})") from None
    except pa.ArrowException as error:
        raise InputError(f"{what} is no URI that can be used ({error}): give one as s3://BUCKET/FOLDER") from None


def _fetch(storage: fs.FileSystem, path: str, target: Path) -> None:
    content = chunks(storage, path)
    first = next(content, b"")
    try:
        with target.open("wb") as file:
            file.write(first)
            for chunk in content:
                file.write(chunk)
                isolation.alive()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise WorkspaceError(
            f"{path} cannot be fetched to {target.parent.parent} ({error.strerror}): free some space there, or"
            " name another folder with the variable TMPDIR"
        ) from None


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that is removed afterwards, and locked as long as its process lives."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, _locked(Path(name), fcntl.LOCK_EX):
        yield Path(name)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
