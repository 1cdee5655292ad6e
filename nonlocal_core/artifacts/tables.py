"""Parquet files that are written whole or not at all, and read with their checksums."""

from __future__ import annotations

from collections.abc import Iterable
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


def read(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """The table at `path`, or some columns of it.

    Raises: FileNotFoundError if there is none; DamagedError if it does not match its checksums or the schema.
    """
    try:
        # Without threads: with them, pandas and pyarrow sometimes abort the process at its end.
        file = pq.ParquetFile(path, page_checksum_verification=True)
        found = file.schema_arrow
        if not found.equals(schema, check_metadata=False) or found.metadata != schema.metadata:
            raise DamagedError(f"{path} was written by another version")
        return file.read(columns=columns, use_threads=False)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name that is no text any more
        first = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DamagedError(f"{path} is damaged ({first})") from None
