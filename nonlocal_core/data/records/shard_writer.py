"""Writing a shard of the store: rows of records, and frames, which a worker may have written already."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.files import remove_unfinished, replacing
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.data.records import store
from nonlocal_core.data.records.frame_writer import FrameWriter, Stored


@dataclass(frozen=True)
class Record:
    """A decoded video that is to be written into a shard."""

    sha256: str
    """its name: the hash of the video file, and the shape of its pixels if they are no squares"""
    status: str
    """ok, unreadable or given_up"""
    reason: str
    """one short phrase; "" if ok"""
    num_frames: int
    """number of decoded frames; 0 if the video is broken"""
    height: int
    """pixels of a cached frame, as the width"""
    width: int
    frames: Sequence[Any] = ()
    """JPEGs (bytes) in the order of showing; empty if the video is broken or is read from its file, or if a worker
    has written them"""


class Writer:
    """A shard that grows by one record after the other."""

    def __init__(self, path: Path, settings_key: str) -> None:
        self.path = path
        """its file of frames"""
        self.num_bytes = 0
        """the length of the file, without what a broken video may have left behind it"""
        self.columns: dict[str, list[Any]] = {name: [] for name in store.SCHEMA.names}
        self._settings_key = settings_key

    def add(self, record: Record, stored: Stored | None = None) -> None:
        """Append a record; its frames, unless they are `stored` from `num_bytes` on."""
        if stored is None:
            with self.path.open("r+b") as file:
                writer = FrameWriter(file, self.num_bytes)
                for frame in record.frames:
                    writer.add(frame)
            stored = writer.stored
        lengths, crc32 = np.array(stored.lengths, np.int32), np.array(stored.crc32, "<u4")
        if not record.num_frames:
            digest = ""
        elif stored.crc32:
            digest = digest_of(crc32.tobytes())
        else:  # its frames come from the file and the settings
            digest = digest_of(record.sha256, self._settings_key)
        row = {**vars(record), "offset": self.num_bytes, "num_bytes": stored.num_bytes}
        row |= {"lengths": lengths, "crc32": crc32, "digest": digest}
        for name, column in self.columns.items():
            column.append(row[name])
        self.num_bytes += stored.num_bytes


@contextlib.contextmanager
def writing(folder: Path, shard: str, engine: str = "") -> Iterator[Writer]:
    """A shard to write into a folder; it is there, whole, after the block.

    `engine` is what computed it, in words, where something did.
    """
    bin_path, table_path = store.paths(folder, shard)
    table_path.unlink(missing_ok=True)  # an old table must not make the new bytes seem complete
    for path in (bin_path, table_path):
        remove_unfinished(folder, path.name)
    with replacing(bin_path) as unfinished:
        writer = Writer(unfinished, folder.name)
        yield writer
        os.truncate(unfinished, writer.num_bytes)
    metadata = {store.VERSION_KEY: store.VERSION, store.BYTES_KEY: str(writer.num_bytes).encode()}
    if engine:
        metadata[store.ENGINE_KEY] = engine.encode()
    table = pa.Table.from_pydict(writer.columns, schema=store.SCHEMA).replace_schema_metadata(metadata)
    tables.write(table, table_path)


def write_shard(folder: Path, shard: str, records: Iterable[Record], engine: str = "") -> None:
    """Write a shard of records whose frames are in memory, one record at a time."""
    with writing(folder, shard, engine) as writer:
        for record in records:
            writer.add(record)
