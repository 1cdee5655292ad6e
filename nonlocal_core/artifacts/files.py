"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is either whole or not there, also when the process or the machine dies."""
    partial = path.with_name(f"{path.name}.tmp{os.getpid()}")
    with partial.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would be there after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, for people to read too."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, default=str).encode() + b"\n")
