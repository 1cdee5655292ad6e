"""The plan of a cache: the contents that are still to be decoded, cut into shards, and an estimate of their cost.

plan.parquet has one row group a shard, and one row a content that the cache needs:

sha256, path, num_frames, height, width   of one video with this content
kept        whether its frames may have to be stored; if not, they are read from the file
shard       name of its shard; "" if the store had it when the plan was made
store       name of the store
pixel_aspect  width of a pixel over its height; null if frames need not be resized by it
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from nonlocal_core.artifacts import tables
from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data.records import cache_table, store
from nonlocal_core.data.records.encoding import Encoded
from nonlocal_core.errors import DamagedError

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("sha256", pa.string()),
    ("path", pa.string()),
    ("num_frames", pa.int32()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("kept", pa.bool_()),
    ("shard", pa.string()),
    ("store", pa.string()),
    ("pixel_aspect", pa.float64()),
]
_OPTIONAL = ("pixel_aspect",)
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.cache_plan": "1"})

FILE = "plan.parquet"
WHAT_TO_DO = "delete its folder and run again"
NUM_SAMPLED = 8
"""number of videos in the first shard, from which time and disk space are estimated"""


class Measured(NamedTuple):
    """The time, work and disk space that some videos took."""

    seconds: float
    work_px: float
    """number of pixels that were decoded or compressed"""
    num_bytes: int
    kept_px: float
    """number of pixels that were compressed"""

    def plus(self, video: Encoded) -> Measured:
        """The sum with one more video; a broken one adds nothing."""
        if video.reason:
            return self
        kept_px = len(video.stored.lengths) * video.height * video.width
        return Measured(
            seconds=self.seconds + video.seconds,
            work_px=self.work_px + video.source_px + kept_px,
            num_bytes=self.num_bytes + video.stored.num_bytes,
            kept_px=self.kept_px + kept_px,
        )


NOTHING = Measured(0.0, 0.0, 0, 0.0)


class Estimate(NamedTuple):
    """The time and disk space that the rest will take."""

    seconds: float
    """seconds of one core"""
    num_bytes: int


def needed(manifest: pd.DataFrame, settings: CacheConfig, store_name: str) -> pd.DataFrame:
    """One row a readable content of a manifest: what the cache needs."""
    manifest = cache_table.with_pixels(manifest, settings)
    rows = manifest[manifest["status"] == "ok"].drop_duplicates("sha256").reset_index(drop=True)
    rows["kept"] = True if settings.codec == "jpeg" else ~rows["seek_safe"].astype(bool)
    rows["shard"], rows["store"] = "", store_name
    return rows[SCHEMA.names]


def resumed(path: Path, needed: pd.DataFrame, missing: pd.DataFrame) -> pd.DataFrame | None:
    """The plan that a killed run left, if its shards contain all that is missing now; else None."""
    try:
        rows = read(path)
    except DamagedError:
        return None
    in_shards = store.names(rows[rows["shard"] != ""])
    covers = store.names(needed).isin(store.names(rows)).all() and store.names(missing).isin(in_shards).all()
    return rows if covers else None


def cut(rows: pd.DataFrame, size: int) -> pd.DataFrame:
    """The rows in the order of their shards, each with the name of its shard.

    The first shard is a sample: a few videos of each kind (kept or not), spread from small to large.
    """
    num_each = NUM_SAMPLED // max(rows["kept"].nunique(), 1)
    by_size = rows.assign(work=_decoded_px(rows)).sort_values("work", kind="stable")
    sampled: list[Any] = []
    for _, kind in by_size.groupby("kept"):
        # The middles of equal parts: the largest video of all would take long and say little about the others.
        sampled += {kind.index[(2 * i + 1) * len(kind) // (2 * num_each)] for i in range(num_each)}
    rest = rows.index.difference(sampled)
    shards = [rest[i : i + size].tolist() for i in range(0, len(rest), size)]
    parts = [rows.loc[chosen] for chosen in (sorted(sampled), *shards)]
    plan: pd.DataFrame = pd.concat([part.assign(shard=store.shard_id(store.names(part))) for part in parts])
    return plan


def write(path: Path, rows: pd.DataFrame) -> None:
    """Write a plan, whole or not at all, with a row group for each shard."""
    schema = tables.present(rows, SCHEMA, _OPTIONAL)
    parts = (tables.to_arrow(part, schema) for _, part in rows.groupby("shard", sort=False))
    tables.write_groups(parts, schema, path)


def read(path: Path) -> pd.DataFrame:
    """All rows of a plan.

    Raises: DamagedError if it is missing or does not match its checksums.
    """
    return tables.read_rows(path, SCHEMA, WHAT_TO_DO, optional=_OPTIONAL)


def read_shard(path: Path, number: int) -> pd.DataFrame:
    """The rows of one shard.

    Raises: DamagedError if they do not match their checksums.
    """
    group = next(tables.read_groups(path, SCHEMA, WHAT_TO_DO, [number], _OPTIONAL))
    rows: pd.DataFrame = group.to_pandas(use_threads=False)
    return rows


def estimate(measured: Measured, rows: pd.DataFrame, settings: CacheConfig) -> Estimate:
    """The estimate for some rows: time and bytes grow with the pixels that are decoded and compressed."""
    kept_px = float(_kept_px(rows, settings).sum())
    work_px = float(_decoded_px(rows).sum()) + kept_px
    return Estimate(
        seconds=measured.seconds * work_px / max(measured.work_px, 1.0),
        num_bytes=int(measured.num_bytes * kept_px / max(measured.kept_px, 1.0)),
    )


def _decoded_px(rows: pd.DataFrame) -> pd.Series[float]:
    return rows["num_frames"].astype(float) * rows["height"] * rows["width"]


def _kept_px(rows: pd.DataFrame, settings: CacheConfig) -> pd.Series[float]:
    aspect = rows["pixel_aspect"].fillna(1.0)
    short_side = np.minimum(rows["height"], rows["width"] * aspect).clip(lower=1)
    kept_px: pd.Series[float] = rows["kept"] * _decoded_px(rows) * aspect * (settings.short_side / short_side) ** 2
    return kept_px


def duration(seconds: float) -> str:
    """Seconds as text for people: `45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
