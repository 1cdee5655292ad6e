"""Files and folders that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to: its file replaces `path` at the end, or is removed after an error."""
    unfinished = path.with_name(f"{path.name}.tmp{os.getpid()}")
    try:
        yield unfinished
        _sync(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON, whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, default=str).encode() + b"\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one JSON object a line; none if there is no such file.

    Raises: ValueError if a line is damaged.
    """
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of one file or of all files in a folder; nobody may be writing them."""
    for file in folder.glob(f"{name}.tmp*"):
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
