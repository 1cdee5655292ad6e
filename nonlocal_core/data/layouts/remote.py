"""Videos in object storage: s3://BUCKET/FOLDER, gs://, and whatever else pyarrow has a file system for.

A folder is listed once, with sizes and times of change; no file is opened for that.
"""

from __future__ import annotations

import contextlib
import functools
import io
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from nonlocal_core.data.layouts import locations
from nonlocal_core.errors import InputError, RemoteError, as_ours

CHUNK_BYTES = 8 << 20
"""size of one request"""

# Errors that another try would not change, in the words of AWS and of Google.
_REFUSED = re.compile(
    "ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|"
    "EXPIRED_TOKEN|UNRECOGNIZED_CLIENT|MISSING_AUTHENTICATION_TOKEN|HTTP (response code|status) (30|40[0134])|"
    "PERMISSION_DENIED|UNAUTHENTICATED"
)


class FileInfo(NamedTuple):
    """Size and time of change of a file in a listing."""

    size_bytes: int
    stamp: int
    """time of change (ns); in S3, whole seconds"""


@dataclass(frozen=True)
class Listing:
    """All that lies below the folder `uri`, by paths relative to it."""

    uri: str
    files: dict[str, FileInfo]
    folders: dict[str, set[str]]
    """the paths directly in each folder; the top folder is "" """


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder as it was listed, with those methods of `pathlib.Path` that layouts use."""

    path: str
    """relative to the listed folder"""
    listing: Listing = field(compare=False, repr=False)

    def __str__(self) -> str:
        return locations.join(self.listing.uri, self.path)

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
    def info(self) -> FileInfo:
        """Size and time of change; -1 and 0 if there is no such file."""
        return self.listing.files.get(self.path, FileInfo(-1, 0))

    def is_file(self) -> bool:
        """Whether there is a file of this name."""
        return self.path in self.listing.files

    def is_dir(self) -> bool:
        """Whether there is a folder of this name."""
        return self.path in self.listing.folders

    def iterdir(self) -> Iterator[RemotePath]:
        """The files and folders directly in the folder."""
        for path in self.listing.folders.get(self.path, ()):
            yield RemotePath(path, self.listing)

    def open(self, encoding: str, errors: str = "strict", newline: str | None = None) -> TextIO:
        """The file, opened to read its text.

        Raises: FileNotFoundError, RemoteError and InputError as `chunks`.
        """
        content = b"".join(chunks(*resolve(str(self))))
        return io.TextIOWrapper(io.BytesIO(content), encoding, errors, newline)

    def read_text(self, encoding: str) -> str:
        """The whole text of the file."""
        return self.open(encoding=encoding).read()


def list_folder(uri: str) -> RemotePath:
    """All that lies below a folder, listed once.

    Raises: InputError if there is no such folder, or access is denied; RemoteError if it cannot be listed now.
    """
    head, mark, query = uri.partition("?")
    uri = f"{head.rstrip('/')}{mark}{query}"
    storage, top = resolve(uri)
    try:
        with request(uri):
            infos = storage.get_file_info(fs.FileSelector(top, recursive=True))
    except FileNotFoundError:
        raise InputError(f"there is no folder {uri}: give the folder that the videos lie in") from None
    listing = Listing(uri, {}, {"": set()})
    for info in infos:
        path = info.path[len(top) :].strip("/")
        if info.type == fs.FileType.File:
            listing.files[path] = FileInfo(info.size, info.mtime_ns or 0)
        else:
            listing.folders.setdefault(path, set())
        while path:  # not every storage lists folders
            parent = posixpath.dirname(path)
            siblings = listing.folders.setdefault(parent, set())
            if path in siblings:
                break
            siblings.add(path)
            path = parent
    return RemotePath("", listing)


def list_files(storage: fs.FileSystem, path: str) -> list[str]:
    """The names of the files directly in a folder.

    Raises: FileNotFoundError if it is not there; RemoteError and InputError as `chunks`.
    """
    with request(path):
        infos = storage.get_file_info(fs.FileSelector(path))
    return [info.base_name for info in infos if info.type == fs.FileType.File]


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
    with request(uri):
        storage, top = _storage(f"{parts.scheme}://{parts.netloc}/{'?' if parts.query else ''}{parts.query}")
    return storage, f"{top.rstrip('/')}/{unquote(parts.path).strip('/')}".rstrip("/")


@functools.lru_cache(maxsize=8)
def _storage(uri: str) -> tuple[fs.FileSystem, str]:
    return fs.FileSystem.from_uri(uri)


def chunks(storage: fs.FileSystem, path: str) -> Iterator[bytes]:
    """The content of a file, piece by piece.

    Raises: FileNotFoundError if it is not there; RemoteError if it cannot be read now; InputError if access is
            denied.
    """
    with request(path), storage.open_input_file(path) as file:
        left = file.size()
        while chunk := file.read(CHUNK_BYTES):
            left -= len(chunk)
            yield chunk
        if left:
            raise OSError(f"{left} bytes are missing at its end")


@contextlib.contextmanager
def request(address: str) -> Iterator[None]:
    """The context of a request to storage: an error in it becomes one line.

    Raises: RemoteError if another try may succeed; InputError if not; FileNotFoundError as it is.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if full_disk := as_ours(error):
            raise full_disk from None
        reason = " ".join(re.sub(r"\(Request ID.*?\)", "", str(error)).split())
        if _REFUSED.search(reason):
            raise InputError(
                f"{address} is refused: check the bucket's name, its region and your credentials ({reason})"
            ) from None
        raise RemoteError(f"{address} cannot be reached now ({reason})") from None
    except pa.ArrowException as error:
        raise InputError(
            f"{address} is no URI that can be used ({error}): give one as s3://BUCKET/FOLDER"
        ) from None
