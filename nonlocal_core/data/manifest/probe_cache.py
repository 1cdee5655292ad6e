"""The cache of probes: what earlier runs found out about files, so that no file is opened twice.

    WORKSPACE/index/known/part-*.parquet   one row a probed file, as it was then

A file is identified by its place, size and time of change and, once it was hashed, by its content.  Parts are only
added; two runs may do so at once.  Many parts are joined into one now and then.  Deleting the folder only costs
time.
"""

from __future__ import annotations

import contextlib
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
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.manifest.manifest_table import OPTIONAL, PROBED
from nonlocal_core.errors import DamagedError, WorkspaceError

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("place", pa.string()),  # absolute path or URI
    ("size_bytes", pa.int64()),
    ("stamp", pa.int64()),
    ("sha256", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("is_settled", pa.bool_()),  # false if a crash, a hang or an error of the disk ended the probe
    ("tries", pa.int32()),  # number of probes so far that did not settle it
    *PROBED,
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.known": "4"})
"""the number of `nonlocal_core.known` must change when `file_probe.probe_file` changes its answers"""
IDENTITY = ["place", "size_bytes", "stamp"]
MANY_PARTS = 40
FOLDER = "index/known"
LOCK = "index-known"
"""held by whoever changes parts that are there"""

_ZERO: dict[pa.DataType, str | bool] = {pa.string(): "", pa.bool_(): False}
_NO_FACTS: dict[str, Any] = {name: None if name in OPTIONAL else _ZERO.get(kind, 0) for name, kind in PROBED}
_NOTHING = {"place": "", "size_bytes": -1, "stamp": 0, "sha256": "", "status": "", "reason": ""}
_NOTHING |= {"is_settled": False, "tries": 0}

log = logging.getLogger(__name__)


def look_up(folder: Path, listed: pd.DataFrame, columns: Sequence[str] = SCHEMA.names) -> pd.DataFrame:
    """The rows of `listed`, which has the columns of `IDENTITY`, with `columns` of the cache for each file.

    A file must be probed unless it `is_settled`; `tries` is how often that has failed to settle it.
    """
    cached = _read(folder, columns)
    positions = pd.MultiIndex.from_frame(cached[IDENTITY]).get_indexer(pd.MultiIndex.from_frame(listed[IDENTITY]))
    empty_row = int((cached["place"] == "").to_numpy().argmax())
    facts = cached.drop(columns=IDENTITY).iloc[np.where(positions < 0, empty_row, positions)]
    return pd.concat([listed.reset_index(drop=True), facts.reset_index(drop=True)], axis=1)


def known_sizes(folder: Path) -> set[int]:
    """The sizes (bytes) of all contents in the cache: a file of another size is new."""
    table = pa.concat_tables(_parts(folder, ["size_bytes", "is_settled"]))
    return set(table.filter(table["is_settled"])["size_bytes"].unique().to_numpy().tolist())


def look_up_contents(folder: Path, hashes: set[str]) -> dict[str, dict[str, Any]]:
    """The cached columns of some contents that depend on the content alone, by hash."""
    cached = _read(folder, SCHEMA.names, hashes)
    names = ["sha256", "status", "reason", *_NO_FACTS]
    rows = cached[cached["is_settled"] & (cached["sha256"] != "")][names].to_dict("records")
    return {row["sha256"]: {str(name): value for name, value in row.items()} for row in rows}


def add(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows of `SCHEMA` into a part of their own; columns that were not probed may be left out."""
    columns = {column: [row.get(column, _NO_FACTS.get(column)) for row in rows] for column in SCHEMA.names}
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(pa.Table.from_pydict(columns, SCHEMA), part_path(folder, name))


def part_path(folder: Path, name: str) -> Path:
    """The file of a part, which is whole if it is there."""
    return folder / f"part-{name}.parquet"


def forget(workspace: Workspace, place: str) -> None:
    """Forget what is known of a file, so that the next run looks at it again; nothing where that cannot be."""
    folder = workspace.root / FOLDER
    with contextlib.suppress(OSError, WorkspaceError), workspace.locked(LOCK):
        for path in sorted(folder.glob("part-*.parquet")):
            rows = tables.read(path, SCHEMA, "run again").to_pandas(use_threads=False)
            is_of_place = rows["place"] == place
            if is_of_place.any():
                nothing = {**_NO_FACTS, **_NOTHING, "tries": rows.loc[is_of_place, "tries"] + 1}
                for name in nothing.keys() - set(IDENTITY):
                    rows.loc[is_of_place, name] = nothing[name]
                tables.write(tables.to_arrow(rows, SCHEMA), path)


def join_parts(folder: Path) -> None:
    """Join many parts into one; the caller holds `LOCK`."""
    paths = sorted(folder.glob("part-*.parquet"))
    if len(paths) <= MANY_PARTS:
        return
    rows = _read(folder, SCHEMA.names)
    rows = rows[rows["place"] != ""].sort_values(IDENTITY)
    joined = part_path(folder, digest_of(*(path.name for path in paths)))
    tables.write(tables.to_arrow(rows, SCHEMA), joined)
    for path in paths:
        path.unlink(missing_ok=True)


def _read(folder: Path, columns: Sequence[str], hashes: set[str] | None = None) -> pd.DataFrame:
    """One row a file, from a probe that settled it if there was one; and one empty row that stands for no file."""
    names = list(dict.fromkeys([*IDENTITY, "is_settled", "tries", *columns]))
    rows: pd.DataFrame = pa.concat_tables(_parts(folder, names, hashes)).to_pandas(use_threads=False)
    if rows["tries"].any():
        rows["tries"] = rows.groupby(IDENTITY)["tries"].transform("max")
    best_last = rows.iloc[rows["is_settled"].to_numpy().argsort(kind="stable")]
    return best_last.drop_duplicates(IDENTITY, keep="last", ignore_index=True)


def _parts(folder: Path, columns: list[str], hashes: set[str] | None = None) -> list[pa.Table]:
    """An empty row, then all parts, which are read again from the start if another run joins them meanwhile.

    With `hashes`, only the rows of these contents; of a part that has none, only the hashes are read.
    """
    schema = pa.schema([SCHEMA.field(name) for name in columns])
    empty = pa.Table.from_pylist([{**_NO_FACTS, **_NOTHING}], schema)
    wanted = None if hashes is None else pa.array(sorted(hashes), pa.string())
    while True:
        parts = [empty]
        try:
            for path in sorted(folder.glob("part-*.parquet")):
                try:
                    if (part := _read_part(path, columns, wanted)) is not None:
                        parts.append(part)
                except DamagedError as error:
                    log.warning("%s", error)
                    path.unlink(missing_ok=True)
            return parts
        except FileNotFoundError:
            continue


def _read_part(path: Path, columns: list[str], wanted: pa.StringArray | None) -> pa.Table | None:
    """The rows of a part, or those of the wanted contents; None if it has none of them."""

    def read(names: list[str]) -> pa.Table:
        part = tables.read(path, SCHEMA, "it is deleted, and its files are looked at again", names)
        return part.replace_schema_metadata(None)

    if wanted is None:
        return read(columns)
    is_wanted = pc.is_in(read(["sha256"])["sha256"], wanted)
    return read(columns).filter(is_wanted) if pc.any(is_wanted).as_py() else None
