"""The probe of one video file: its hash, and what its container says.  Runs in a worker that a file may crash."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import NamedTuple

from nonlocal_core.data.layouts import fetch
from nonlocal_core.data.video import decoding, faults, pictures
from nonlocal_core.errors import DecodeError
from nonlocal_core.process import workers

_CHUNK_BYTES = 1 << 20


class Job(NamedTuple):
    """A file to probe."""

    place: str
    """path or URI"""
    sha256: str = ""
    """hash of its content, if known"""


class Facts(NamedTuple):
    """The result of a probe."""

    sha256: str
    """hash of the content; "" if there is none"""
    status: str
    """ok, unreadable, empty, audio_only or missing"""
    reason: str
    probe: decoding.Probe | None
    is_settled: bool
    """whether the same content always gives the same answer"""


def probe_file(job: Job) -> Facts:
    """The facts of one file; those of a bad file are a status and a reason.

    Raises: what `fetch.local_copy` raises for object storage.
    """
    try:
        with fetch.local_copy(job.place) as path:
            return _probe(path, job.sha256)
    except FileNotFoundError:
        return Facts("", "missing", "it was there a moment ago", None, False)


def _probe(path: Path, sha256: str) -> Facts:
    try:
        sha256 = sha256 or content_hash(path)
        return Facts(sha256, "ok", "", decoding.probe(path), True)
    except FileNotFoundError:
        raise
    except OSError as error:
        return Facts("", "unreadable", f"cannot be opened: {error.strerror}", None, False)
    except Exception as error:
        fault, is_settled = faults.fault_of(error), isinstance(error, DecodeError)
        if fault.status == "given_up":  # with other settings it may be read
            return Facts(sha256, "unreadable", fault.reason, None, False)
        return Facts(sha256, *fault, None, is_settled)


def hash_of(place: str) -> str:
    """The hash of a file's content; "" if it cannot be read, for whatever reason.

    Raises: what `fetch.local_copy` raises for object storage.
    """
    try:
        with fetch.local_copy(place) as path:
            return content_hash(path)
    except (OSError, DecodeError):
        return ""


def content_hash(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and contents of its pictures.

    Raises: DecodeError if it is empty, or neither file nor folder; OSError if it cannot be read.
    """
    if pictures.is_sequence(path):
        content = hashlib.sha256()
        for picture in pictures.list_pictures(path):
            content.update(picture.name.encode() + b"\0" + _hash_of_file(picture))
        return content.hexdigest()
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer
        raise DecodeError("not a file")
    if status.st_size == 0:
        raise DecodeError("empty file", status="empty")
    return _hash_of_file(path).hex()


def _hash_of_file(path: Path) -> bytes:
    content = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            content.update(chunk)
            workers.alive()
    return content.digest()
