"""Files and folders that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nonlocal_core.artifacts.keys import digest_of

CHECKSUM = "checksum"
BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to: its file replaces `path` at the end, or is removed after an error.

    The file is locked meanwhile, so that `remove_unfinished` leaves it alone.
    """
    unfinished = path.with_name(f"{path.name}.tmp{os.getpid()}")
    descriptor = _created_and_locked(unfinished)
    try:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    _sync(path.parent)


def _created_and_locked(file: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.suppress(OSError):  # of a file system without locks, where nothing unfinished is removed
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):  # removed before it was locked
            if os.path.samestat(os.fstat(descriptor), file.stat()):
                return descriptor
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(data)


def link_or_copy(source: Path, path: Path) -> None:
    """Give a finished file a second name, or copy it where there are no links; whole or not at all.

    Both names are one file on the disk, so it must never be written to: what is ours is replaced, never changed.
    """
    with replacing(path) as unfinished:
        unfinished.unlink()
        try:
            os.link(source, unfinished)
        except OSError:
            shutil.copyfile(source, unfinished)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON, whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, default=str).encode() + b"\n")


def write_checked_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with a checksum of itself, whole or not at all."""
    plain = json.loads(json.dumps(value, default=str))
    write_json(path, {**plain, CHECKSUM: _checksum(plain)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """A JSON object, without its checksum.

    Raises: OSError if the file cannot be opened; as `checked_json`.
    """
    return checked_json(path.read_bytes())


def checked_json(content: bytes) -> dict[str, Any]:
    """The JSON object in some bytes, without its checksum; those that earlier versions wrote have none.

    Raises: ValueError if it is no JSON object, or not what was written.
    """
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("the JSON is no object")
    checksum = value.pop(CHECKSUM, None)
    if checksum not in (None, _checksum(value)):
        raise ValueError("the JSON does not match its checksum")
    return value


def _checksum(value: dict[str, Any]) -> str:
    return digest_of(json.dumps(value, sort_keys=True))


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, as hexadecimal digits."""
    content = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line; none if there is no such file.

    Raises: ValueError if a line is damaged.
    """
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of one file or of all in a folder, and nothing that is being written."""
    for file in folder.glob(f"{name}.tmp*"):
        with contextlib.suppress(OSError), file.open("r+b") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink(missing_ok=True)


def publish(unfinished: Path, folder: Path) -> None:
    """Give a finished folder its final name."""
    sync_all(unfinished)
    os.rename(unfinished, folder)
    _sync(folder.parent)


def sync_all(folder: Path) -> None:
    """Wait until a folder and everything below it are safe from a power cut."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
