"""The table of the logits of every view, from which all or fewer views are scored again without the network.

video_id, label, label_id    as in the cache's table
clip, crop                   which view of the video, from 0; of three crops, 1 is the one in the centre
logits                       float32, one a class
engine                       what computed them, in words; not in files of earlier versions

A row group has whole videos, so that a file larger than the memory is read in parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nonlocal_core.artifacts import tables
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import views

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("label", pa.string()),
    ("label_id", pa.int32()),
    ("clip", pa.int32()),
    ("crop", pa.int32()),
    ("logits", pa.list_(pa.float32())),
    ("engine", pa.string()),
]
OPTIONAL = ("engine",)
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.views": "1"})


def table(rows: pd.DataFrame, logits: Sequence[NDArray[np.float32]], num_crops: int, engine: str = "") -> pa.Table:
    """The views of some videos; `rows` has their ids and labels, `engine` says what computed the logits."""
    num_views = [len(logits_VK) for logits_VK in logits]
    logits_VK = np.concatenate(logits).astype(np.float32)
    view = np.concatenate([np.arange(count, dtype=np.int32) for count in num_views])
    ends = np.arange(len(logits_VK) + 1, dtype=np.int32) * logits_VK.shape[1]
    columns = [pa.array(np.repeat(rows[name].to_numpy(), num_views)) for name in ("video_id", "label", "label_id")]
    columns += [pa.array(view // num_crops), pa.array(view % num_crops)]
    columns.append(pa.ListArray.from_arrays(pa.array(ends), pa.array(logits_VK.ravel())))
    columns.append(pa.array([engine] * len(logits_VK)))
    typed = [column.cast(field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.table(typed, schema=SCHEMA)


def join(parts: Iterable[Path], path: Path) -> None:
    """Put the views of some files into one, in their order, a row group each; whole or not at all.

    Raises: DamagedError if a part does not match its checksums.
    """
    whole = (tables.read(part, SCHEMA, "delete it and run again", optional=OPTIONAL) for part in parts)
    tables.write_groups(whole, SCHEMA, path, compression="zstd")


def engines(path: Path) -> str:
    """What computed the logits of a file, in words: a killed evaluation may go on with another engine."""
    names = tables.read(path, SCHEMA, "delete its folder and evaluate again", ["engine"], OPTIONAL)["engine"]
    return "; ".join(sorted(filter(None, names.unique().to_pylist())))


def videos(path: Path) -> Iterator[tuple[str, str, int, NDArray[np.float32]]]:
    """Each video's id, label, label id and logits, in the order of the file.

    Shape:  (num_clips, num_crops, K)
    Raises: InputError if there is no such file; DamagedError if it does not match its checksums.
    """
    if not path.exists():
        raise InputError(f"there is no {path}: name the folder of an evaluation, workspace/evaluate/KEY")
    for rows in tables.read_groups(path, SCHEMA, "delete its folder and evaluate again", optional=OPTIONAL):
        yield from _videos_of(rows)


def _videos_of(rows: pa.Table) -> Iterator[tuple[str, str, int, NDArray[np.float32]]]:
    clips, crops = (rows[name].to_numpy() for name in ("clip", "crop"))
    logits_VK = pc.list_flatten(rows["logits"]).to_numpy().reshape(len(rows), -1)
    first = np.flatnonzero((clips == 0) & (crops == 0))
    for start, end in zip(first, [*first[1:], len(rows)], strict=True):
        shape = (int(clips[end - 1]) + 1, int(crops[end - 1]) + 1, -1)
        identity = (rows[name][int(start)].as_py() for name in ("video_id", "label", "label_id"))
        video_id, label, label_id = identity
        yield video_id, label, label_id, logits_VK[start:end].reshape(shape)


def score(path: Path, num_clips: int | None = None, num_crops: int | None = None) -> pd.DataFrame:
    """One row a video with the mean of its views' scores, of all views or of fewer.

    Fewer clips are evenly spread from first to last, a single one is the middle one; a single crop is the centre.

    Raises: InputError if there are fewer clips or crops than that.
    """
    rows = []
    for video_id, label, label_id, logits in videos(path):
        chosen = logits[choose(logits.shape[0], num_clips, "clips")]
        chosen = chosen[:, choose(logits.shape[1], num_crops, "crops")]
        rows.append((video_id, label, label_id, views.average(chosen.reshape(-1, logits.shape[-1]))))
    scored: pd.DataFrame = pd.DataFrame(rows, columns=["video_id", "label", "label_id", "scores"])
    return scored


def choose(num: int, wanted: int | None, kind: str) -> list[int]:
    """The indices of `wanted` of `num` clips or crops: evenly spread; a single one is the middle one."""
    if wanted is None or wanted == num:
        return list(range(num))
    if not 1 <= wanted <= num:
        raise InputError(f"{wanted} {kind} cannot be taken from {num}: 1 to {num} can")
    return views.spread(num - 1, wanted)
