"""What earlier runs found out about files, so that nothing is opened twice.

    WORKSPACE/index/known/part-*.parquet   one row a file that was looked at, as it was then

A file is known by its place, size and time of change, and, once it has been hashed, by its content.  Parts are
only added; two runs may do so at once.  Many parts are joined into one now and then.  Deleting the folder costs
nothing but time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.data.manifest.manifest_table import PROBED
from nonlocal_core.errors import DamagedError

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("place", pa.string()),  # absolute path
    ("size_bytes", pa.int64()),
    ("stamp", pa.int64()),
    ("sha256", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("is_settled", pa.bool_()),  # not if a crash, a hang or trouble with the disk ended the look
    ("tries", pa.int32()),  # earlier and this look, as far as they were not
    *PROBED,
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.known": "1"})
"""its number is another one when `probes.look` says something else of a file"""
IDENTITY = ["place", "size_bytes", "stamp"]
MANY_PARTS = 40

_ZERO: dict[pa.DataType, str | bool] = {pa.string(): "", pa.bool_(): False}
_NO_FACTS: dict[str, Any] = {name: _ZERO.get(kind, 0) for name, kind in PROBED}
_NOTHING = {"place": "", "size_bytes": -1, "stamp": 0, "sha256": "", "status": "", "reason": ""}
_NOTHING |= {"is_settled": False, "tries": 0}

log = logging.getLogger(__name__)


def recall(folder: Path, listed: pd.DataFrame, columns: Sequence[str] = SCHEMA.names) -> pd.DataFrame:
    """The rows of `listed`, which has the columns of `IDENTITY`, with `columns` of what is known of each file.

    A file is to be looked at unless it `is_settled`; `tries` says how often that was in vain so far.
    """
    known = _read(folder, columns)
    positions = pd.MultiIndex.from_frame(known[IDENTITY]).get_indexer(pd.MultiIndex.from_frame(listed[IDENTITY]))
    nothing = int((known["place"] == "").to_numpy().argmax())
    facts = known.drop(columns=IDENTITY).iloc[np.where(positions < 0, nothing, positions)]
    return pd.concat([listed.reset_index(drop=True), facts.reset_index(drop=True)], axis=1)


def recall_sizes(folder: Path) -> set[int]:
    """The sizes of the contents that are known (bytes): a file of another size is new."""
    known = _read(folder, [])
    return set(known.loc[known["is_settled"], "size_bytes"])


def recall_contents(folder: Path, hashes: set[str]) -> dict[str, dict[str, Any]]:
    """What is known of some contents: hash, then the columns that follow from the content."""
    known = _read(folder, SCHEMA.names, hashes)
    names = ["sha256", "status", "reason", *_NO_FACTS]
    rows = known[known["is_settled"] & (known["sha256"] != "")][names].to_dict("records")
    return {row["sha256"]: {str(name): value for name, value in row.items()} for row in rows}


def add(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Put rows of `SCHEMA` into a part of their own; what was not probed may be left out."""
    columns = {column: [row.get(column, _NO_FACTS.get(column)) for row in rows] for column in SCHEMA.names}
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(pa.Table.from_pydict(columns, SCHEMA), part_path(folder, name))


def part_path(folder: Path, name: str) -> Path:
    """Where a part lies; it is whole if it is there."""
    return folder / f"part-{name}.parquet"


def join_parts(folder: Path) -> None:
    """Make one part of many; the caller sees to it that nobody else does."""
    paths = sorted(folder.glob("part-*.parquet"))
    if len(paths) <= MANY_PARTS:
        return
    rows = _read(folder, SCHEMA.names)
    rows = rows[rows["place"] != ""].sort_values(IDENTITY)
    joined = part_path(folder, digest_of(*(path.name for path in paths)))
    tables.write(tables.from_frame(rows, SCHEMA), joined)
    for path in paths:
        path.unlink(missing_ok=True)


def _read(folder: Path, columns: Sequence[str], hashes: set[str] | None = None) -> pd.DataFrame:
    """One row a file, from a look that settled it if there was one; and one row for no file."""
    wanted = list(dict.fromkeys([*IDENTITY, "is_settled", "tries", *columns]))
    table = pa.concat_tables(_parts(folder, wanted))
    if hashes is not None:
        table = table.filter(pc.is_in(table["sha256"], pa.array(sorted(hashes), pa.string())))
    found: pd.DataFrame = table.to_pandas(use_threads=False)
    if found["tries"].any():
        found["tries"] = found.groupby(IDENTITY)["tries"].transform("max")
    best_last = found.iloc[found["is_settled"].to_numpy().argsort(kind="stable")]
    return best_last.drop_duplicates(IDENTITY, keep="last", ignore_index=True)


def _parts(folder: Path, columns: list[str]) -> list[pa.Table]:
    """All parts, read again from the start if another run joins them meanwhile; before them, a row of nothing."""
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    nothing = pa.Table.from_pylist([{**_NO_FACTS, **_NOTHING}], schema)
    while True:
        found = [nothing]
        try:
            for path in sorted(folder.glob("part-*.parquet")):
                try:
                    part = tables.read(path, SCHEMA, "it is deleted, and its files are looked at again", columns)
                    found.append(part.select(columns).replace_schema_metadata(None))
                except DamagedError as error:
                    log.warning("%s", error)
                    path.unlink(missing_ok=True)
            return found
        except FileNotFoundError:
            continue
