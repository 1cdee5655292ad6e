"""The table of a cache: a manifest's videos with the result of decoding each; the frames lie in the store.

video_id, path, label, label_id, split     as in the manifest
status, reason                             the manifest's if it is not ok, else those of decoding
num_frames, height, width                  of the cached video; 0 if it is broken
start_fraction, end_fraction               the part of the video that clips are taken from (0…1)
sha256, size_bytes                         of the file
digest                                     of the frames; "" if it is broken
num_bytes                                  of the frames in the store
fps, times_s                               as in the manifest
pixel_aspect                               as in the manifest, of frames that are resized by it; else null
"""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import RecordCache, Usable
from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data.records import store
from nonlocal_core.errors import DamagedError

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("path", pa.string()),
    ("label", pa.string()),
    ("label_id", pa.int32()),
    ("split", pa.string()),
    ("status", pa.string()),
    ("reason", pa.string()),
    ("num_frames", pa.int32()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("start_fraction", pa.float64()),
    ("end_fraction", pa.float64()),
    ("sha256", pa.string()),
    ("size_bytes", pa.int64()),
    ("digest", pa.string()),
    ("num_bytes", pa.int64()),
    ("fps", pa.float64()),
    ("times_s", pa.list_(pa.float64())),
    ("pixel_aspect", pa.float64()),
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.cached": "1"})
OPTIONAL = ("fps", "times_s", "pixel_aspect")
_FROM_STORE = {"status": "", "reason": "", "num_frames": 0, "height": 0, "width": 0, "digest": "", "num_bytes": 0}
_DIGEST_COLUMNS = [
    *("video_id", "label_id", "split", "status", "num_frames", "start_fraction", "end_fraction", "digest"),
]


def join(manifest: pd.DataFrame, contents: pd.DataFrame, settings: CacheConfig) -> pd.DataFrame:
    """The rows of a manifest in their order, completed from the `contents` of the store.

    Raises: DamagedError if a readable video is not among the contents.
    """
    rows = with_pixels(manifest, settings).reset_index(drop=True)
    decoded = (rows["status"] == "ok").to_numpy()
    position = store.positions(contents, store.names(rows))[decoded]
    if (position < 0).any():
        raise DamagedError(f"{(position < 0).sum()} videos have lost their records: run the same command again")
    for name, default in _FROM_STORE.items():
        values = (
            rows[name].to_numpy(object) if name in ("status", "reason") else np.full(len(rows), default, object)
        )
        values[decoded] = contents[name].to_numpy(object)[position]
        rows[name] = values
    return rows[SCHEMA.names]


def with_pixels(manifest: pd.DataFrame, settings: CacheConfig) -> pd.DataFrame:
    """The rows of a manifest; if frames are kept as they are stored, no pixel has another shape than a square."""
    return manifest if settings.pixels == "shown" else manifest.assign(pixel_aspect=np.nan)


def digest(rows: pd.DataFrame) -> str:
    """Hash of what training and evaluation depend on, whatever the order of the rows."""
    content = hashlib.sha256()
    ordered = rows.sort_values("video_id")
    for row in zip(*(ordered[name].tolist() for name in _DIGEST_COLUMNS), strict=True):
        content.update(repr(row).encode())
    is_part = (ordered["start_fraction"] > 0) | (ordered["end_fraction"] < 1)
    if (by_time := ordered[is_part & ordered["times_s"].notna()]).size:
        content.update(timing_digest(by_time).encode())
    return content.hexdigest()


def digest_with_labels(rows: pd.DataFrame, folder: Path) -> str:
    """Hash of the same and of the ids of the labels, which the folder of the cache has."""
    return digest_of(digest(rows), (folder / RecordCache.LABELS).read_bytes())


def digests_of_splits(rows: pd.DataFrame, folder: Path) -> dict[str, Any]:
    """The fields `usable` and `coverage_digests` of the cache in a folder."""
    names = sorted(rows["split"].unique())
    usable = {}
    for chosen in (some for size in range(1, len(names) + 1) for some in itertools.combinations(names, size)):
        read = rows[(rows["status"] == "ok") & rows["split"].isin(chosen)]
        usable["+".join(chosen)] = Usable(
            digest=digest_with_labels(read, folder), timing_digest=timing_digest(read)
        )
    coverage = {name: digest_with_labels(rows[rows["split"] == name], folder) for name in names}
    return {"usable": usable, "coverage_digests": coverage}


def timing_digest(rows: pd.DataFrame) -> str:
    """Hash of when the frames of the videos are shown, whatever the order of the rows."""
    content = hashlib.sha256()
    columns = ("video_id", "fps", "times_s")
    ordered = rows.sort_values("video_id")
    for video_id, fps, times_s in zip(*(ordered[name].tolist() for name in columns), strict=True):
        content.update(repr((video_id, fps, None if times_s is None else np.asarray(times_s).tolist())).encode())
    return content.hexdigest()


def write(rows: pd.DataFrame, path: Path) -> None:
    """Write the table, whole or not at all."""
    tables.write(tables.to_arrow(rows, SCHEMA, OPTIONAL), path)


def read(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """The rows of a table, in the order of the manifest.

    Raises: DamagedError if it is not there or does not match its checksums.
    """
    what_to_do = f"rm -f '{path}', then the same command again, which decodes nothing anew"
    return tables.read_rows(path, SCHEMA, what_to_do, columns, OPTIONAL)
