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


def to_arrow(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """An Arrow table of these rows, with the columns and metadata of `schema`."""
    table = pa.Table.from_pandas(rows[schema.names], schema, preserve_index=False, nthreads=1)
    return table.replace_schema_metadata(schema.metadata)  # without that of pandas


def write(table: pa.Table, path: Path) -> None:
    """Write a table as a Parquet file."""
    write_groups([table], table.schema, path)


def write_groups(
    groups: Iterable[pa.Table], schema: pa.Schema, path: Path, compression: Literal["snappy", "zstd"] = "snappy"
) -> None:
    """Write tables of one schema as a Parquet file, a row group each; only one table is in memory at a time."""
    with (
        replacing(path) as unfinished,
        pq.ParquetWriter(unfinished, schema, write_page_checksum=True, compression=compression) as writer,
    ):
        for group in groups:
            writer.write_table(group)


@contextlib.contextmanager
def open_file(path: Path, schema: pa.Schema | None, what_to_do: str) -> Iterator[pq.ParquetFile]:
    """An open Parquet file of a schema, if one is given; reading compares pages with their checksums.

    Raises: FileNotFoundError if there is no file; DamagedError, which says what to do, if it cannot be read.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            stored = file.schema_arrow
            if schema and not (stored.equals(schema, check_metadata=False) and stored.metadata == schema.metadata):
                raise DamagedError(f"{path} was written by another version: {what_to_do}")
            yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name that is not text any more
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DamagedError(f"{path} is damaged ({reason}): {what_to_do}") from None


def read_groups(
    path: Path, schema: pa.Schema, what_to_do: str, numbers: Iterable[int] | None = None
) -> Iterator[pa.Table]:
    """The row groups of a Parquet file one after the other: those with these numbers, or all.

    Raises: as `read`.
    """
    with open_file(path, schema, what_to_do) as file:
        for number in range(file.num_row_groups) if numbers is None else numbers:
            yield file.read_row_group(number, use_threads=False)


def read(path: Path, schema: pa.Schema, what_to_do: str, columns: list[str] | None = None) -> pa.Table:
    """The table in a Parquet file, or some columns of it.

    Raises: FileNotFoundError if there is no file; DamagedError, which says what to do, if it does not match its
            checksums or the schema.
    """
    with open_file(path, schema, what_to_do) as file:
        return file.read(columns=columns, use_threads=False)


def read_rows(path: Path, schema: pa.Schema, what_to_do: str, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows of a Parquet file that must be there.

    Raises: DamagedError, which says what to do, if it is missing, or does not match its checksums or the schema.
    """
    try:
        rows: pd.DataFrame = read(path, schema, what_to_do, columns).to_pandas(use_threads=False)
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing: {what_to_do}") from None
    return rows
