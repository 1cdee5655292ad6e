"""Parquet files that are written whole or not at all, and read with their checksums.

They are read without threads: with them, pandas and pyarrow sometimes abort the process at its end.

Some columns of a schema are `optional`: a file has them only if some row has a value there.  So files of before
and files that need no such column are alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nonlocal_core.artifacts.files import replacing
from nonlocal_core.errors import DamagedError, is_out_of_files


def to_arrow(rows: pd.DataFrame, schema: pa.Schema, optional: Collection[str] = ()) -> pa.Table:
    """An Arrow table of these rows, with the columns and metadata of `schema`."""
    schema = present(rows, schema, optional)
    table = pa.Table.from_pandas(rows[schema.names], schema, preserve_index=False, nthreads=1)
    return table.replace_schema_metadata(schema.metadata)  # without that of pandas


def present(rows: pd.DataFrame, schema: pa.Schema, optional: Collection[str]) -> pa.Schema:
    """The schema without the optional columns in which no row has a value."""
    return _without(schema, {name for name in optional if name not in rows or rows[name].isna().all()})


def _without(schema: pa.Schema, names: Collection[str]) -> pa.Schema:
    return pa.schema([field for field in schema if field.name not in names], metadata=schema.metadata)  # type: ignore[arg-type]


def write(table: pa.Table, path: Path) -> None:
    """Write a table as a Parquet file."""
    write_groups([table], table.schema, path)


def write_groups(
    groups: Iterable[pa.Table], schema: pa.Schema, path: Path, compression: Literal["snappy", "zstd"] = "snappy"
) -> None:
    """Write tables of one schema as a Parquet file, a row group each; only one table is in memory at a time.

    Dictionaries are for texts: those of numbers that hardly ever repeat, such as logits, take half as much again.
    """
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    how: dict[str, Any] = {"write_page_checksum": True, "compression": compression, "use_dictionary": texts}
    with replacing(path) as unfinished, pq.ParquetWriter(unfinished, schema, **how) as writer:
        for group in groups:
            writer.write_table(group)


@contextlib.contextmanager
def open_file(
    path: Path, schema: pa.Schema | None, what_to_do: str, optional: Collection[str] = ()
) -> Iterator[pq.ParquetFile]:
    """An open Parquet file of a schema, if one is given; reading compares pages with their checksums.

    Raises: FileNotFoundError if there is no file; DamagedError, which says what to do, if it cannot be read;
            OSError if no more files may be open.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            stored = file.schema_arrow
            if schema:
                schema = _without(schema, set(optional) - set(stored.names))
            if schema and not (stored.equals(schema, check_metadata=False) and stored.metadata == schema.metadata):
                raise DamagedError(f"{path} was written by another version: {what_to_do}")
            yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name that is not text any more
        if is_out_of_files(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DamagedError(f"{path} is damaged ({reason}): {what_to_do}") from None


def read_groups(
    path: Path,
    schema: pa.Schema,
    what_to_do: str,
    numbers: Iterable[int] | None = None,
    optional: Collection[str] = (),
) -> Iterator[pa.Table]:
    """The row groups of a Parquet file one after the other: those with these numbers, or all.

    Optional columns that it lacks have no values.

    Raises: as `read`.
    """
    with open_file(path, schema, what_to_do, optional) as file:
        for number in range(file.num_row_groups) if numbers is None else numbers:
            yield _completed(file.read_row_group(number, use_threads=False), schema, schema.names)


def read(
    path: Path,
    schema: pa.Schema,
    what_to_do: str,
    columns: list[str] | None = None,
    optional: Collection[str] = (),
) -> pa.Table:
    """The table in a Parquet file, or some columns of it; optional columns that it lacks have no values.

    Raises: FileNotFoundError if there is no file; DamagedError, which says what to do, if it does not match its
            checksums or the schema.
    """
    names = schema.names if columns is None else columns
    with open_file(path, schema, what_to_do, optional) as file:
        table = file.read([name for name in names if name in file.schema_arrow.names], use_threads=False)
    return _completed(table, schema, names)


def _completed(table: pa.Table, schema: pa.Schema, names: list[str]) -> pa.Table:
    for name in names:
        if name not in table.column_names:
            table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
    return table.select(names)


def read_rows(
    path: Path,
    schema: pa.Schema,
    what_to_do: str,
    columns: list[str] | None = None,
    optional: Collection[str] = (),
) -> pd.DataFrame:
    """The rows of a Parquet file that must be there.

    Raises: DamagedError, which says what to do, if it is missing, or does not match its checksums or the schema.
    """
    try:
        rows: pd.DataFrame = read(path, schema, what_to_do, columns, optional).to_pandas(use_threads=False)
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing: {what_to_do}") from None
    return rows
