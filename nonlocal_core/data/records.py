"""Cached videos: a shard is a pair of files, written once, found whole or not at all.

    shard-NNNNN.bin       the JPEGs of all its frames, one after the other
    shard-NNNNN.parquet   one row a record (SCHEMA), with place, length and checksum of every frame

The parquet file is written last: a shard without it does not exist.  Frames are RGB wherever they are arrays.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nonlocal_core.errors import DamagedError

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("label", pa.string()),
    ("label_id", pa.int32()),
    ("split", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("num_frames", pa.int32()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("offsets", pa.list_(pa.int64())),
    ("lengths", pa.list_(pa.int32())),
    ("crc32", pa.list_(pa.uint32())),
]
SCHEMA = pa.schema(_COLUMNS)
_FRAME_COLUMNS = ("offsets", "lengths", "crc32")
_VERSION_KEY, _VERSION = b"nonlocal_core.records", b"1"
_BYTES_KEY = b"nonlocal_core.records.bin_bytes"
_WHAT_TO_DO = "delete the folder of the cache and run cache again"


@dataclass(frozen=True)
class Record:
    """One video on its way into a shard; a broken one has no frames, and a status and reason."""

    video_id: str
    label: str
    label_id: int
    split: str
    status: str
    reason: str
    frames: list[bytes]
    """JPEGs in the order of showing"""
    height: int
    """pixels of a cached frame"""
    width: int


def encode(frame_HWC: NDArray[np.uint8], quality: int) -> bytes:
    """The JPEG of one RGB frame; the same frame always gives the same bytes."""
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:  # cv2 refuses only what no decoder yields: more than 65,500 pixels along a side
        raise ValueError(f"a frame of shape {frame_HWC.shape} does not fit into a JPEG")
    return bytes(jpeg)


def decode_frames(jpegs: Sequence[NDArray[np.uint8]], height: int, width: int) -> NDArray[np.uint8]:
    """The frames of some JPEGs.

    Shape:  (len(jpegs), height, width, 3), RGB.
    Raises: DamagedError that counts the frames from 0, if one is not a JPEG of this size.
    """
    frames_THWC = np.empty((len(jpegs), height, width, 3), np.uint8)
    for t, jpeg in enumerate(jpegs):
        frame_bgr = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        if frame_bgr is None or frame_bgr.shape != (height, width, 3):
            raise DamagedError(f"frame {t} is not a JPEG of {width}x{height} px")
        cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2RGB, dst=frames_THWC[t])  # swaps while it copies
    return frames_THWC


def write_shard(folder: Path, number: int, records: Iterable[Record]) -> None:
    """Put one shard into `folder`; only one record is in memory at a time."""
    bin_path, table_path = _paths(folder, number)
    table_path.unlink(missing_ok=True)  # no old table may vouch for the new bytes
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    num_bytes = 0
    unfinished = bin_path.with_name(f"{bin_path.name}.tmp")
    with unfinished.open("wb") as file:
        for record in records:
            lengths = [len(jpeg) for jpeg in record.frames]
            starts = num_bytes + np.cumsum([0, *lengths[:-1]], dtype=np.int64)[: len(lengths)]
            row = {**vars(record), "num_frames": len(lengths), "offsets": starts, "lengths": lengths}
            row["crc32"] = [zlib.crc32(jpeg) for jpeg in record.frames]
            for name, column in columns.items():
                column.append(row[name])
            file.writelines(record.frames)
            num_bytes += sum(lengths)
        _sync(file)
    os.replace(unfinished, bin_path)
    metadata = {_VERSION_KEY: _VERSION, _BYTES_KEY: str(num_bytes).encode()}
    table = pa.Table.from_pydict(columns, schema=SCHEMA).replace_schema_metadata(metadata)
    unfinished = table_path.with_name(f"{table_path.name}.tmp")
    with unfinished.open("wb") as file:
        pq.write_table(table, file, write_page_checksum=True)
        _sync(file)
    os.replace(unfinished, table_path)
    _sync_folder(folder)


def shard_is_complete(folder: Path, number: int) -> bool:
    """Whether a shard was finished and has all its bytes; their checksums are looked at when they are read."""
    bin_path, table_path = _paths(folder, number)
    try:
        metadata = pq.read_schema(table_path).metadata or {}
        num_bytes = bin_path.stat().st_size
    except (OSError, pa.ArrowException):
        return False
    return metadata.get(_VERSION_KEY) == _VERSION and metadata.get(_BYTES_KEY) == str(num_bytes).encode()


def read_table(folder: Path) -> pd.DataFrame:
    """The rows of all shards, each with the number of its `shard`; no frame is read.

    Raises: DamagedError if there is no shard, or a table does not match its checksums.
    """
    return _read_rows(folder, SCHEMA.names)


def table_digest(rows: pd.DataFrame) -> str:
    """Hash of what was cached, frame by frame, however it was cut into shards."""
    content = hashlib.sha256()
    said = rows.sort_values("video_id")[["video_id", "label_id", "split", "status", "num_frames", "crc32"]]
    for *fields, crc32 in said.to_numpy(object).tolist():
        content.update(repr(tuple(fields)).encode())
        content.update(np.asarray(crc32, "<u4").tobytes())
    return content.hexdigest()


class _Shard(NamedTuple):
    """An open shard: its bytes, and where the frames of its records begin."""

    content: NDArray[np.uint8]
    first: NDArray[np.int64]
    """(records + 1,): where the frames of a record begin in the next three"""
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]
    crc32: NDArray[np.uint32]


class RecordReader:
    """Frames of cached videos, any of them, from any number of threads.

    `rows` has one row a record in the order of the shards; a record is named by its row number.

    Raises: DamagedError if there is no shard, or a table does not match its checksums.
    """

    def __init__(self, folder: Path) -> None:
        self.rows = _read_rows(folder, [name for name in SCHEMA.names if name not in _FRAME_COLUMNS])
        self._folder = folder
        self._shard_of = self.rows["shard"].to_numpy()
        self._row_in_shard = self.rows.groupby("shard").cumcount().to_numpy()
        self._size_of = self.rows[["height", "width"]].to_numpy()
        self._video_ids = self.rows["video_id"].tolist()
        self._shards: dict[int, _Shard] = {}
        self._opening = threading.Lock()

    def frames(self, row_number: int, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The frames of one record at `indices`, which may repeat; each is decoded once.

        Shape:  (len(indices), height, width, 3), RGB.
        Raises: IndexError if the record has no such frame; DamagedError if one does not match its checksum.
        """
        number = int(self._shard_of[row_number])
        shard = self._shards.get(number) or self._open(number)
        first, end = shard.first[self._row_in_shard[row_number] :][:2]
        distinct, places = np.unique(indices, return_inverse=True)
        if len(distinct) and not 0 <= distinct[0] <= distinct[-1] < end - first:
            raise IndexError(
                f"{self._video_ids[row_number]} has {end - first} cached frames, not number {indices}"
            )
        jpegs = []
        for k in distinct:
            start, length = int(shard.offsets[first + k]), int(shard.lengths[first + k])
            jpeg = shard.content[start : start + length]
            if zlib.crc32(jpeg.data) != shard.crc32[first + k]:
                raise self._damaged(row_number, f"frame {k} does not match its checksum")
            jpegs.append(jpeg)
        height, width = (int(pixels) for pixels in self._size_of[row_number])
        try:
            frames_THWC = decode_frames(jpegs, height, width)
        except DamagedError as error:
            raise self._damaged(row_number, f"frames {distinct.tolist()}: {error}") from None
        in_order = len(places) == len(distinct) and bool((np.diff(places) > 0).all())
        return frames_THWC if in_order else frames_THWC[places]

    def _open(self, number: int) -> _Shard:
        with self._opening:
            if number not in self._shards:
                self._shards[number] = _open_shard(self._folder, number)
        return self._shards[number]

    def _damaged(self, row_number: int, what: str) -> DamagedError:
        bin_path, _ = _paths(self._folder, int(self._shard_of[row_number]))
        return DamagedError(f"{bin_path}: video {self._video_ids[row_number]}, {what}: {_WHAT_TO_DO}")


def _open_shard(folder: Path, number: int) -> _Shard:
    bin_path, table_path = _paths(folder, number)
    if not shard_is_complete(folder, number):
        raise DamagedError(f"{bin_path} is missing or does not have all its bytes: {_WHAT_TO_DO}")
    table = _read_parquet(table_path, list(_FRAME_COLUMNS))
    # pyarrow-stubs do not know that a column of lists is made of ListArrays.
    lists: list[Any] = [table.column(name).combine_chunks() for name in _FRAME_COLUMNS]
    offsets, lengths, crc32 = lists
    # An empty file cannot be mapped: a shard in which no video could be read.
    content = np.memmap(bin_path, np.uint8, "r") if bin_path.stat().st_size else np.empty(0, np.uint8)
    return _Shard(
        content=content,
        first=offsets.offsets.to_numpy().astype(np.int64),
        offsets=offsets.values.to_numpy(),
        lengths=lengths.values.to_numpy(),
        crc32=crc32.values.to_numpy(),
    )


def _read_rows(folder: Path, columns: list[str]) -> pd.DataFrame:
    paths = sorted(folder.glob("shard-*.parquet"))
    if not paths:
        raise DamagedError(f"there is no shard in {folder}: {_WHAT_TO_DO}")
    tables = []
    for path in paths:
        table = _read_parquet(path, columns).replace_schema_metadata(None)
        number = int(path.stem.removeprefix("shard-"))
        tables.append(table.append_column("shard", pa.array([number] * len(table), pa.int32())))
    # Without threads: with them, pandas and pyarrow sometimes abort the process at its end.
    return pa.concat_tables(tables).to_pandas(use_threads=False)


def _read_parquet(path: Path, columns: list[str]) -> pa.Table:
    try:
        table = pq.read_table(path, columns=columns, use_threads=False, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        raise DamagedError(f"{path} does not match its checksums: {_WHAT_TO_DO}") from None
    if (table.schema.metadata or {}).get(_VERSION_KEY) != _VERSION:
        raise DamagedError(f"{path} was written by another version: {_WHAT_TO_DO}")
    return table


def _paths(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"shard-{number:05d}.bin", folder / f"shard-{number:05d}.parquet"


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the renames in a folder outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
