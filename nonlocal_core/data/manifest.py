"""The manifest: a parquet file with one row a video, readable or not.

video_id     what the video is called everywhere (class folders: its relative path; Kinetics: id and times)
path         where it lies, relative to the folder of the videos
label        its class, and label_id, the class as a number from 0
split        train, val or test
num_frames   frames that it should show; 0 if it cannot be read, as for the next four
fps          average frames per second
height       pixels, after rotation, and width
duration_s   seconds
size_bytes   -1 if it is listed but not on disk
sha256       of the content; "" where there is none
status       ok, unreadable, empty or missing
reason       one short phrase; "" if ok
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nonlocal_core.data import video
from nonlocal_core.data.layouts import Source
from nonlocal_core.errors import DamagedError, DecodeError, InputError
from nonlocal_core.sections import IndexConfig

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("path", pa.string()),
    ("label", pa.string()),
    ("label_id", pa.int32()),
    ("split", pa.string()),
    ("num_frames", pa.int32()),
    ("fps", pa.float64()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("duration_s", pa.float64()),
    ("size_bytes", pa.int64()),
    ("sha256", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.manifest": "1"})

_HASH_CHUNK_BYTES = 1 << 20
# What a later stage could notice.  A path may change where the video_id does not; the wording of a reason and the
# size say nothing that status and sha256 do not.
_DIGEST_COLUMNS = [name for name in SCHEMA.names if name not in ("path", "reason", "size_bytes")]


def probe_source(videos_dir: Path, source: Source) -> dict[str, Any]:
    """One row without its label_id.  A bad file gives a status and a reason, never an exception."""
    row: dict[str, Any] = {
        **source._asdict(),
        **dict.fromkeys(("num_frames", "height", "width"), 0),
        **dict.fromkeys(("fps", "duration_s"), 0.0),
        "sha256": "",
    }
    del row["mtime_ns"]
    path = videos_dir / source.path
    try:
        row["size_bytes"] = path.stat().st_size
        if row["size_bytes"] == 0:
            return row | {"status": "empty", "reason": "empty file"}
        row["sha256"] = _sha256(path)
        return (
            row
            | {name: value for name, value in video.probe(path)._asdict().items() if name in SCHEMA.names}
            | {"status": "ok", "reason": ""}
        )
    except FileNotFoundError:
        return row | {"size_bytes": -1, "status": "missing", "reason": "listed but not on disk"}
    except OSError as error:
        return row | {"status": "unreadable", "reason": f"cannot be opened: {error.strerror}"}
    except DecodeError as error:
        return row | {"status": "unreadable", "reason": str(error)}


def write(rows: pd.DataFrame, path: Path) -> None:
    """Put the manifest at `path`, whole or not at all."""
    table = pa.Table.from_pydict({name: rows[name].tolist() for name in SCHEMA.names}, schema=SCHEMA)
    unfinished = path.with_name(f"{path.name}.tmp")
    with unfinished.open("wb") as file:
        pq.write_table(table, file, write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def read(path: Path) -> pd.DataFrame:
    """The rows of a manifest, in the order in which they were written.

    Raises: InputError if there is none; DamagedError if it does not match its checksums or its columns.
    """
    if not path.is_file():
        raise InputError(f"there is no manifest {path}: run the index stage")
    try:
        # Without threads: with them, pandas and pyarrow sometimes abort the process at its end.
        table = pq.read_table(path, use_threads=False, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(
            f"{path} is damaged ({_first_line(error)}): delete its folder and run index again"
        ) from None
    if not table.schema.equals(SCHEMA, check_metadata=False) or table.schema.metadata != SCHEMA.metadata:
        raise DamagedError(f"{path} was written by another version: delete its folder and run index again")
    rows: pd.DataFrame = table.to_pandas(use_threads=False)
    return rows


def complete(rows: pd.DataFrame, index: IndexConfig, labels: list[str] | None) -> pd.DataFrame:
    """Rows with a label_id, and with a split where the layout named none, sorted by video_id.

    Ids follow `labels`, or the alphabet.  Splits are drawn label by label from contents: copies of a video stay
    together, and neither the order of the rows nor a broken video changes where another one goes.

    Raises: InputError if a label is not in `labels`.
    """
    names = sorted(set(rows["label"])) if labels is None else labels
    ids = {name: number for number, name in enumerate(names)}
    unknown = sorted(set(rows["label"]) - ids.keys())
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names[:5])}, …"
        raise InputError(f"{len(unknown)} labels are not in the list of labels, e.g. {unknown[0]!r}: {hint}")
    done = rows.sort_values("video_id", ignore_index=True)
    done["label_id"] = done["label"].map(ids).astype("int32")
    open_rows = done["split"] == ""
    done.loc[open_rows, "split"] = _draw_splits(done[open_rows], index)
    typed: pd.DataFrame = done[SCHEMA.names].astype({"num_frames": "int32", "height": "int32", "width": "int32"})
    return typed


def check(rows: pd.DataFrame, max_unreadable: float) -> None:
    """Nothing, if something can be learnt from these rows.

    Raises: InputError if too few videos are readable, there is one class only, a split has no readable video, or
            the same content is in two splits.
    """
    readable = rows[rows["status"] == "ok"]
    broken = rows[rows["status"] != "ok"]
    first = "; ".join(f"{row.path}: {row.reason}" for row in broken.head(3).itertuples())
    if readable.empty:
        raise InputError(f"none of the {len(rows)} videos can be read ({first}): is this the right folder?")
    if len(broken) > max_unreadable * len(rows):
        raise InputError(
            f"{len(broken)} of {len(rows)} videos cannot be read ({first}): repair or remove them, or"
            f" allow it with runtime.max_unreadable={np.ceil(100 * len(broken) / len(rows)) / 100:g}"
        )
    if readable["label"].nunique() == 1:
        raise InputError(
            f"all {len(readable)} readable videos have the label {readable['label'].iloc[0]!r}: add a second class"
        )
    for split in ("train", "val"):
        if not (readable["split"] == split).any():
            raise InputError(
                f"the {split} split has no readable video: add a {split} folder with some, or leave out all split"
                " folders and let index.val_fraction divide the videos"
            )
    _check_copies(readable)


def digest(rows: pd.DataFrame) -> str:
    """Hash of what a later stage could notice, in whatever order the rows are."""
    return _digest(rows, _DIGEST_COLUMNS)


def split_digest(rows: pd.DataFrame, split: str) -> str:
    """Hash of which contents with which labels make one split, in whatever order the rows are."""
    return _digest(rows[rows["split"] == split], ["video_id", "sha256", "label"])


def _draw_splits(rows: pd.DataFrame, index: IndexConfig) -> pd.Series[str]:
    """A split for each row: per label a share of its contents goes to val, and copies follow their content."""
    readable = rows[rows["status"] == "ok"]
    # A content under two labels counts for the first of them, so that it cannot be drawn twice.
    label_of = readable.sort_values("label").drop_duplicates("sha256").set_index("sha256")["label"]
    val: set[str] = set()
    for _, contents in label_of.groupby(label_of):
        ordered = sorted(contents.index, key=lambda sha256: _rank(index.split_seed, sha256))
        num_val = max(1, round(index.val_fraction * len(ordered)))
        val.update(ordered[: min(num_val, len(ordered) - 1)])
    # A broken video gets a split too, so that "x of N" has the same N whatever breaks.
    broken = rows[rows["status"] != "ok"]
    in_val = readable["sha256"].isin(val)
    lost = [
        _rank(index.split_seed, sha256 or video_id) < index.val_fraction * 2**64
        for sha256, video_id in zip(broken["sha256"], broken["video_id"], strict=True)
    ]
    chosen = pd.concat([in_val, pd.Series(lost, index=broken.index, dtype=bool)])
    splits: pd.Series[str] = pd.Series(np.where(chosen, "val", "train"), index=chosen.index).reindex(rows.index)
    return splits


def _rank(seed: int, name: str) -> int:
    """A number from 0 to 2**64 - 1 that looks random and always comes out the same."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{name}".encode(), digest_size=8).digest(), "big")


def _check_copies(readable: pd.DataFrame) -> None:
    """Raise if a content is in two splits: the score would be a memory test."""
    num_splits = readable.groupby("sha256")["split"].nunique()
    shared = num_splits.index[num_splits > 1]
    if len(shared) == 0:
        return
    copies = readable[readable["sha256"] == shared[0]].drop_duplicates("split").sort_values("split")
    names = " and ".join(f"{row.path} ({row.split})" for row in copies.itertuples())
    raise InputError(
        f"{len(shared)} videos lie in two splits with the same content, e.g. {names}: remove one of each pair"
    )


def _sha256(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            content.update(chunk)
    return content.hexdigest()


def _digest(rows: pd.DataFrame, columns: list[str]) -> str:
    content = hashlib.sha256()
    ordered = rows.sort_values("video_id")
    for row in zip(*(ordered[name].tolist() for name in columns), strict=True):
        content.update(json.dumps(row).encode() + b"\n")
    return content.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
