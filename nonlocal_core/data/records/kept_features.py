"""Kept features: what the trunk of a network gives for some views of each video, stored by content.

    WORKSPACE/activations/KEY/, where KEY is a hash of weights, network, clips and views

The files are those of store.py: a record is a part of a video, and each of its frames is the float32 numbers of
one view.  First come the views in the order of an evaluation, then, where they are kept, the same in the mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.files import read_checked_json, write_checked_json
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Features
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records import store
from nonlocal_core.data.records.shard_writer import Record, write_shard
from nonlocal_core.errors import DamagedError

FOLDER = "activations"
"""folder in the workspace, with a folder for each trunk, kind of clip and choice of views"""
TRUNK_FILE = "trunk.json"
"""file of a store with the digest of its trunk, and the shape of what that gives for a view"""


SCHEMA = pa.schema(
    [("video_id", pa.string()), ("content", pa.string()), ("digest", pa.string())],
    metadata={"nonlocal_core.features": "1"},
)
"""the table of the artifact: each video, the name of its record, and the digest of its numbers"""


def write_table(rows: pd.DataFrame, path: Path) -> None:
    """Write the table of an artifact."""
    tables.write(tables.to_arrow(rows, SCHEMA), path)


def contents_of(path: Path) -> list[str]:
    """The names of the records that an artifact needs, from its table.

    Raises: DamagedError if it is not there or does not match its checksums.
    """
    return tables.read_rows(path, SCHEMA, "delete its folder and run again", ["content"])["content"].tolist()


def write_plan(path: Path, folder_name: str, contents: list[str]) -> None:
    """Write which records of which store are being made, for whoever looks for what nobody needs."""
    write_checked_json(path, {"store": folder_name, "contents": contents})


def read_plan(path: Path) -> tuple[str, list[str]]:
    """The store, and the records that an unfinished artifact needs of it.

    Raises: DamagedError if it cannot be read.
    """
    try:
        plan = read_checked_json(path)
        return str(plan["store"]), list(plan["contents"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{path} is damaged: delete {path.parent} and run again") from None


def names(rows: pd.DataFrame) -> pd.Series[str]:
    """The names of the records of some rows of a cache's table: the video, its decoded frames, and its part."""
    columns = ("sha256", "digest", "start_fraction", "end_fraction")
    texts = [digest_of(*map(str, row)) for row in zip(*(rows[column] for column in columns), strict=True)]
    return pd.Series(texts, rows.index, dtype=str)


def write(
    folder: Path,
    contents: Sequence[str],
    features: Sequence[NDArray[np.float32]],
    trunk_digest: str,
    engine: str = "",
) -> None:
    """Write a shard of the features of some contents, each of the shape (views, C) or (views, C, T, H, W)."""
    write_checked_json(folder / TRUNK_FILE, {"digest": trunk_digest, "shape": features[0].shape[1:]})
    records = (
        Record(name, "ok", "", len(views), 1, views[0].size, [view.tobytes() for view in views])
        for name, views in zip(contents, features, strict=True)
    )
    write_shard(folder, store.shard_id(contents), records, engine)


def read_trunk(folder: Path) -> tuple[str, tuple[int, ...]]:
    """The digest of the trunk whose features a store holds, and the shape of what it gives for a view.

    Raises: DamagedError if it cannot be read.
    """
    file = folder / TRUNK_FILE
    try:
        trunk = read_checked_json(file)
        return str(trunk["digest"]), tuple(trunk["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{file} is damaged: delete {folder} and run again") from None


class FeatureReader:
    """A reader of the kept features of videos, by their row numbers in the cache's table `rows`.

    Raises: DamagedError if a table does not match its checksums, or the store lacks a video.
    """

    def __init__(self, workspace: Workspace, features: Features, rows: pd.DataFrame) -> None:
        self.features = features
        self._folder = workspace.root / features.activations
        self._names = names(rows).tolist()
        contents = store.contents(self._folder, store.PLACES)
        self._places: dict[str, tuple[str, int]] = {
            str(name): (str(shard), int(row))
            for name, shard, row in zip(contents.index, contents["shard"], contents["row"], strict=True)
        }
        self._shards: dict[str, store.Shard] = {}

    @property
    def middle(self) -> int:
        """The number of the view in the middle of a video."""
        settings = self.features.settings
        return settings.num_clips // 2 * settings.num_crops + settings.num_crops // 2

    def views(self, row: int, numbers: Sequence[int] | None = None) -> NDArray[np.float32]:
        """The features of a video's views, or of some of them.

        Shape:  (num_views, C), or (num_views, C, T, H, W).
        Raises: DamagedError if they are not in the store, or do not match their checksum.
        """
        name = self._names[row]
        if name not in self._places:
            raise DamagedError(f"the features of a video are not in {self._folder}: run the same command again")
        shard_name, place = self._places[name]
        if shard_name not in self._shards:
            self._shards[shard_name] = store.Shard(self._folder, shard_name)
        shard = self._shards[shard_name]
        wanted = range(self.features.num_views) if numbers is None else numbers
        try:
            stored = shard.jpegs(place, np.array(wanted, np.int64))
        except DamagedError as error:
            raise shard.damaged(name, str(error)) from None
        return np.stack([view.view(np.float32).reshape(self.features.shape) for view in stored])
