"""The store of decoded videos: shards that are written once, whole or not at all, and never changed.

    WORKSPACE/records/KEY/, where KEY is a hash of the settings of cache:

    shard-ID.bin       the JPEGs of all its frames, one after the other
    shard-ID.parquet   one row a record (SCHEMA): its content and place, lengths and checksums of its frames

A record is a content: it is named by the sha256 of the video (`names`), and has no label, split or path.  ID is a
hash of the contents of a shard.  The parquet file is written last: a shard without it does not exist.
"""

from __future__ import annotations

import contextlib
import resource
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.errors import DamagedError

FOLDER = "records"
"""folder in the workspace, with a folder for each choice of settings"""
GIVEN_UP = "given_up"
"""status of a video that crashed or hung the decoder, perhaps by a fault of the machine"""

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("sha256", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("num_frames", pa.int32()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("digest", pa.string()),
    ("offset", pa.int64()),
    ("num_bytes", pa.int64()),
    ("lengths", pa.list_(pa.int32())),
    ("crc32", pa.list_(pa.uint32())),
]
SCHEMA = pa.schema(_COLUMNS)
_FRAME_COLUMNS = ("lengths", "crc32")
KEY_COLUMNS = tuple(name for name in SCHEMA.names if name not in _FRAME_COLUMNS)
PLACES = ("sha256", "status")
"""what says where the record of a content lies, with the name of its shard"""
VERSION_KEY, VERSION = b"nonlocal_core.records", b"2"
BYTES_KEY = b"nonlocal_core.records.bin_bytes"
ENGINE_KEY = b"nonlocal_core.records.engine"


def names(rows: pd.DataFrame) -> pd.Series[str]:
    """The names of the records of some contents: their sha256, and the shape of pixels that are no squares.

    Records of before, which are named by the sha256 alone, have such frames as they are stored.
    """
    aspect = rows["pixel_aspect"].astype(float)
    named: pd.Series[str] = rows["sha256"].where(aspect.isna(), rows["sha256"] + aspect.map("@{:.4f}".format))
    return named


def shard_id(contents: Iterable[str]) -> str:
    """The name of a shard for these contents, whatever their order."""
    return digest_of(*sorted(contents))


def is_complete(folder: Path, shard: str) -> bool:
    """Whether a shard was finished and has all its bytes; checksums are compared when frames are read."""
    bin_path, table_path = paths(folder, shard)
    try:
        with tables.open_file(table_path, None, what_to_do(table_path)) as file:
            return _has_its_bytes(file.schema_arrow, bin_path)
    except (FileNotFoundError, DamagedError):
        return False


def engine_of(folder: Path, shard: str) -> str:
    """What computed a shard, in words; empty if it does not say so.

    Raises: FileNotFoundError if there is no such shard; DamagedError if its table cannot be read.
    """
    table_path = paths(folder, shard).table_path
    with tables.open_file(table_path, None, what_to_do(table_path)) as file:
        return (file.schema_arrow.metadata or {}).get(ENGINE_KEY, b"").decode(errors="replace")


def scan(folder: Path, columns: Sequence[str] = KEY_COLUMNS) -> pd.DataFrame:
    """The records of all complete shards without their frames, each with its `shard` and its `row` in it.

    Raises: DamagedError if a table does not match its checksums.
    """
    tables = []
    for table_path in sorted(folder.glob("shard-*.parquet")):
        shard = table_path.stem.removeprefix("shard-")
        table = _read(table_path, list(columns))
        if table is not None:
            place = {"shard": pa.array([shard] * len(table)), "row": pa.array(np.arange(len(table)))}
            for name, column in place.items():
                table = table.append_column(name, column)
            tables.append(table.replace_schema_metadata(None))
    if not tables:
        return pd.DataFrame({name: [] for name in (*columns, "shard", "row")})
    # Without threads: with them, pandas and pyarrow sometimes abort the process at its end.
    return pa.concat_tables(tables).to_pandas(use_threads=False)


def contents(folder: Path, columns: Sequence[str] = KEY_COLUMNS) -> pd.DataFrame:
    """One record a content, indexed by sha256.

    Two runs may have written a content twice; a record that was given up counts only if there is no other.
    `columns` are all, or those of `PLACES` alone.

    Raises: DamagedError if a table does not match its checksums.
    """
    return deduplicate(scan(folder, columns)).set_index("sha256")


def deduplicate(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a content of a scan."""
    given_up = rows["status"] == GIVEN_UP
    return pd.concat([rows[~given_up], rows[given_up]]).drop_duplicates("sha256")


def positions(rows: pd.DataFrame, sha256: pd.Series[str]) -> NDArray[np.int64]:
    """The positions of some contents in the rows of `contents`; -1 if one is not there."""
    return rows.index.get_indexer(pd.Index(sha256)).astype(np.int64)


class Shard:
    """An open shard, from which any number of threads may read any frames; its file stays open.

    Raises: DamagedError if it is not complete, or its table does not match its checksums.
    """

    def __init__(self, folder: Path, shard: str) -> None:
        self.path, table_path = paths(folder, shard)
        table = _read(table_path, ["sha256", "offset", *_FRAME_COLUMNS])
        if table is None:
            raise DamagedError(f"{self.path} is missing or does not have all its bytes: {what_to_do(self.path)}")
        self._sha256 = table.column("sha256").to_pylist()
        # pyarrow-stubs do not know that a column of lists is made of ListArrays.
        lengths, crc32 = (_joined(table.column(name)) for name in _FRAME_COLUMNS)
        self._first = lengths.offsets.to_numpy().astype(np.int64)
        self._offset = table.column("offset").to_numpy()
        self._lengths, self._crc32 = lengths.values.to_numpy(), crc32.values.to_numpy()
        # The file of a shard without readable videos is empty, and cannot be mapped.
        empty = not self.path.stat().st_size
        _allow_open_files()
        self._content = np.empty(0, np.uint8) if empty else np.memmap(self.path, np.uint8, "r")

    def num_stored(self, row: int) -> int:
        """The number of frames of a record that are in the shard."""
        return int(self._first[row + 1] - self._first[row])

    def jpegs(self, row: int, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """The JPEGs of some frames of a record, as views of the mapped file.

        Raises: IndexError if the record has no such frame; DamagedError if one does not match its checksum, for
                `damaged` to add where.
        """
        first, end = self._first[row : row + 2]
        if len(indices) and not 0 <= indices.min() <= indices.max() < end - first:
            raise IndexError(f"{self._sha256[row]} has {end - first} stored frames, not number {indices}")
        ends = self._offset[row] + np.cumsum(self._lengths[first:end], dtype=np.int64)
        jpegs = []
        for k in indices.tolist():
            jpeg = self._content[ends[k] - self._lengths[first + k] : ends[k]]
            if zlib.crc32(jpeg.data) != self._crc32[first + k]:
                raise DamagedError(f"frame {k} does not match its checksum")
            jpegs.append(jpeg)
        return jpegs

    def damaged(self, video: str, fault: str) -> DamagedError:
        """The error that names the shard, the video and how to build it again."""
        many = f"the {len(self._sha256)} videos of this shard"
        return DamagedError(f"{self.path}: video {video}, {fault}: {what_to_do(self.path, many)}")


class Files(NamedTuple):
    """The two files of a shard."""

    bin_path: Path
    table_path: Path


def paths(folder: Path, shard: str) -> Files:
    """The paths of a shard's files."""
    return Files(folder / f"shard-{shard}.bin", folder / f"shard-{shard}.parquet")


def what_to_do(file: Path, many: str = "its videos") -> str:
    """The command that builds a damaged shard again."""
    return f"rm '{file}', then the same command again, which makes {many} anew and nothing else"


def gigabytes(num_bytes: float) -> str:
    """A number of bytes as text for people: `17.2 GB`, `0.0042 GB`, `nothing`."""
    if not num_bytes:
        return "nothing"
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e9:.4f} GB"


def _read(table_path: Path, columns: list[str]) -> pa.Table | None:
    """Columns of a shard's table; None if the shard is not complete."""
    try:
        with tables.open_file(table_path, None, what_to_do(table_path)) as file:
            if not _has_its_bytes(file.schema_arrow, table_path.with_suffix(".bin")):
                return None
            if not file.schema_arrow.equals(SCHEMA):  # the footer has no checksum
                raise ValueError("it has other columns")
            return file.read(columns, use_threads=False)
    except FileNotFoundError:
        return None


def _allow_open_files() -> None:
    """Let this process have as many files open as its hard limit says: NumPy keeps that of each shard open.

    Most systems let a process have 1024 until it asks, which are the shards of 130,000 videos.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # a system that does not take "without limit" for a number
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _has_its_bytes(schema: pa.Schema, bin_path: Path) -> bool:
    metadata = schema.metadata or {}
    try:
        num_bytes = str(bin_path.stat().st_size).encode()
    except OSError:
        return False
    return metadata.get(VERSION_KEY) == VERSION and metadata.get(BYTES_KEY) == num_bytes


def _joined(column: Any) -> Any:
    """A column as one array, even if it has no rows."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
