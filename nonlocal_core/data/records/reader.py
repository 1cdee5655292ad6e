"""Frames of cached videos, read from the store or, if the cache does not keep them, from the video files."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.manifest import probe_cache
from nonlocal_core.data.records import cache_table, decord_clips, encoding, store
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import DamagedError, DecodeError

_RUN_AGAIN = "run the same command again"


class RecordReader:
    """A reader of any frames of cached videos, for any number of threads.

    `rows` is the cache's table (data/records/cache_table.py); a video is identified by its row number.

    Raises: DamagedError if a table does not match its checksums, or the store lacks a video.
    """

    def __init__(self, workspace: Workspace, cache: RecordCache) -> None:
        cv2.setNumThreads(1)  # readers are called from threads; those of OpenCV would compete with them
        self.rows = cache_table.read(workspace.path(cache) / RecordCache.VIDEOS)
        self._cache, self._workspace = cache, workspace
        self._settings = encoding.FrameSettings.of(cache.settings)
        self._folder = workspace.root / cache.records
        self._videos_dir = Path(cache.videos_dir)
        self._size_of = self.rows[["height", "width"]].to_numpy()
        self._readable = (self.rows["status"] == "ok").to_numpy()
        self._in_file = self._readable & (self.rows["num_bytes"] == 0).to_numpy()
        self._decord = decord_clips.Pool() if cache.settings.jump == "decord" else None
        self._shards: dict[str, store.Shard] = {}
        self._opening = threading.Lock()
        self._shard_of, self._row_of = self._locate()

    def frames(self, row_number: int, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """The frames of one video at `indices`, which may repeat; each is decoded once.

        Shape:  (height, width, 3), RGB, each.
        Raises: IndexError if the video has no such frame; DamagedError if a frame is not the one that was cached.
        """
        return list(self.read(row_number, indices))

    def read(self, row_number: int, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """The same frames one after the other: using each before the next saves memory and time."""
        wanted = indices.tolist()
        uses, decoded = Counter(wanted), dict[int, NDArray[np.uint8]]()
        decode = self._from_file if self._in_file[row_number] else self._from_store
        fresh = decode(row_number, np.array(list(uses), np.int64))  # in the order of their first use
        for k in wanted:
            if k not in decoded:
                decoded[k] = next(fresh)
            uses[k] -= 1
            yield decoded[k] if uses[k] else decoded.pop(k)

    def _from_store(self, row_number: int, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        if not self._readable[row_number]:
            raise IndexError(f"{self._name(row_number)} has no cached frames")
        shard = self._shards.get(self._shard_of[row_number]) or self._open(row_number)
        size = self._size_of[row_number].tolist()
        try:
            for jpeg in shard.jpegs(int(self._row_of[row_number]), indices):
                yield encoding.decode(jpeg, *size)
        except DamagedError as error:
            raise shard.damaged(self._name(row_number), str(error)) from None

    def _from_file(self, row_number: int, indices: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        path = self._videos_dir / self._name(row_number, "path")
        num_frames, size_bytes = (int(self.rows[name].iloc[row_number]) for name in ("num_frames", "size_bytes"))
        if not 0 <= indices.min() <= indices.max() < num_frames:
            raise IndexError(f"{self._name(row_number)} has {num_frames} frames, not number {indices}")
        aspect = float(self.rows["pixel_aspect"].fillna(1.0).iloc[row_number])
        try:
            if path.is_file() and path.stat().st_size != size_bytes:
                raise DecodeError("it is not the file that was indexed")
            if self._decord and (jumped := self._decord.frames(path, indices, self._settings, aspect)):
                yield from jumped
                return
            yield from decoding.frames_at(
                path, num_frames, indices, lambda frame: encoding.resized(frame, self._settings, aspect)
            )
        except DecodeError as error:
            probe_cache.forget(self._workspace, str(path))
            raise DamagedError(f"{path}: {error}: run again, and index looks at it again") from None

    def _open(self, row_number: int) -> store.Shard:
        """The shard of a video, looked up again if a prune has moved its records since this reader was made."""
        with self._opening:
            if not store.is_complete(self._folder, self._shard_of[row_number]):
                self._shard_of, self._row_of = self._locate()
            name = self._shard_of[row_number]
            if name not in self._shards:
                self._shards[name] = store.Shard(self._folder, name)
            return self._shards[name]

    def _locate(self) -> tuple[list[str], NDArray[np.int64]]:
        """The shard of each video, and its row in the shard."""
        contents = store.contents(self._folder, store.PLACES)
        position = store.positions(contents, store.names(self.rows))
        missing = self._readable & (position < 0)
        if missing.any():
            first = self._name(int(missing.argmax()))
            raise DamagedError(
                f"{int(missing.sum())} cached videos are not in {self._folder}, e.g. {first}: {_RUN_AGAIN}, which"
                " decodes them anew and nothing else"
            )
        shards = np.append(contents["shard"].to_numpy(object), "")
        return shards[position].tolist(), np.append(contents["row"].to_numpy(np.int64), 0)[position]

    def _name(self, row_number: int, column: str = "video_id") -> str:
        return str(self.rows[column].iloc[row_number])
