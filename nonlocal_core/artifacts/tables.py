"""Parquet files that are written whole or not at all, and read with their checksums.

They are read without threads: with them, pandas and pyarrow sometimes abort the process at its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nonlocal_core.artifacts.files import replacing
from nonlocal_core.errors import DamagedError


def from_frame(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The columns of `schema` of these rows."""
    table = pa.Table.from_pandas(rows[schema.names], schema, preserve_index=False, nthreads=1)
    return table.replace_schema_metadata(schema.metadata)  # without that of pandas


def write(table: pa.Table, path: Path) -> None:
    """Put a table at `path`."""
    write_groups([table], table.schema, path)


def write_groups(
    groups: Iterable[pa.Table], schema: pa.Schema, path: Path, compression: Literal["snappy", "zstd"] = "snappy"
) -> None:
    """Put tables of one schema at `path`, each in row groups of its own; one at a time is in memory."""
    with (
        replacing(path) as unfinished,
        pq.ParquetWriter(unfinished, schema, write_page_checksum=True, compression=compression) as writer,
    ):
        for group in groups:
            writer.write_table(group)


@contextlib.contextmanager
def opened(path: Path, schema: pa.Schema | None, what_to_do: str) -> Iterator[pq.ParquetFile]:
    """An open parquet file of a schema, if one is given; its pages are compared with their checksums.

    Raises: FileNotFoundError if there is none; DamagedError, which says what to do, if it cannot be read.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            found = file.schema_arrow
            if schema and not (found.equals(schema, check_metadata=False) and found.metadata == schema.metadata):
                raise DamagedError(f"{path} was written by another version: {what_to_do}")
            yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name that is no text any more
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DamagedError(f"{path} is damaged ({first}): {what_to_do}") from None


def read_groups(
    path: Path, schema: pa.Schema, what_to_do: str, numbers: Iterable[int] | None = None
) -> Iterator[pa.Table]:
    """The row groups of the table at `path`, one at a time; of some numbers, or all.

    Raises: as `read`.
    """
    with opened(path, schema, what_to_do) as file:
        for number in range(file.num_row_groups) if numbers is None else numbers:
            yield file.read_row_group(number, use_threads=False)


def read(path: Path, schema: pa.Schema, what_to_do: str, columns: list[str] | None = None) -> pa.Table:
    """The table at `path`, or some columns of it.

    Raises: FileNotFoundError if there is none; DamagedError, which says what to do, if it does not match its
            checksums or the schema.
    """
    with opened(path, schema, what_to_do) as file:
        return file.read(columns=columns, use_threads=False)


def read_rows(path: Path, schema: pa.Schema, what_to_do: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows of a table that should be there.

    Raises: DamagedError, which says what to do, if it is missing, or does not match its checksums or the schema.
    """
    try:
        rows: pd.DataFrame = read(path, schema, what_to_do, columns).to_pandas(use_threads=False)
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing: {what_to_do}") from None
    return rows
