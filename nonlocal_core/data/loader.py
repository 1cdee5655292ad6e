"""From cached records to the tensors that the network takes.

Clips are prepared by threads (JPEG decoding releases Python's lock) and stay uint8 until they are on the device.
What a clip looks like depends on (seed, epoch, video), never on the number of threads or of ranks.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.sections import ClipConfig, EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data import sampling, timing, transforms
from nonlocal_core.data.records.kept_features import FeatureReader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.timing import Stretch
from nonlocal_core.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")

PREFETCH_BYTES = 512 << 20
"""most memory of the clips that are prepared ahead; at least one always is"""


class Batch(NamedTuple):
    """The clips of one training step."""

    clip_NCTHW: NDArray[np.generic]
    """uint8; where features are kept, what the trunk gave for the clips (float32)"""
    label_N: NDArray[np.int32]
    rows: list[int]


class Drawn(NamedTuple):
    """A clip of an epoch: the row of its video, and how often train.balance has drawn it before."""

    row: int
    turn: int

    def purpose(self, name: str) -> str:
        """The purpose of a random choice for this clip."""
        return f"{name} {self.turn}" if self.turn else name


def readable_rows(reader: RecordReader, split: str) -> list[int]:
    """The row numbers of a split's videos that could be decoded."""
    return [int(row) for row in np.flatnonzero((reader.rows["split"] == split) & (reader.rows["status"] == "ok"))]


def rows_of_rank(rows: list[Item], rank: int, num_ranks: int) -> list[Item]:
    """One rank's part of some rows; the parts of all ranks, one after the other, are the rows."""
    return rows[len(rows) * rank // num_ranks : len(rows) * (rank + 1) // num_ranks]


def steps_per_epoch(num_videos: int, batch_size: int) -> int:
    """The number of whole batches in one epoch; the videos left over differ from epoch to epoch."""
    return max(1, num_videos // batch_size)


def train_batches(
    reader: RecordReader,
    rows: list[int],
    config: Config,
    epoch: int,
    skip: int = 0,
    rank: int = 0,
    num_ranks: int = 1,
) -> Iterator[Batch]:
    """The batches of one epoch after the first `skip`, a pure function of (seed, epoch).

    Each rank gets an equal part of the `train.batch_size` clips of a step.  The parts of all ranks, one after the
    other, are the batch of a single process.

    Shape:  clips (N / num_ranks, 3, T, crop, crop) uint8, labels (N / num_ranks,) int32.
    Raises: ConfigError if the ranks cannot share a batch equally; DamagedError if a record does not match its
            checksum.
    """
    seed, size = config.train.seed, config.train.batch_size
    labels = reader.rows["label_id"].to_numpy(np.int32)
    of_steps = _steps_of_rank(labels, rows, config, epoch, skip, rank, num_ranks)
    video_ids, part_of = reader.rows["video_id"].tolist(), _parts(reader)

    shape = (3, config.clip.clip_len, config.train.crop_size, config.train.crop_size)
    prepared: deque[NDArray[np.uint8]] = deque()

    def places() -> Iterator[tuple[Drawn, NDArray[np.uint8]]]:
        for step in of_steps:
            prepared.append(np.empty((len(step), *shape), np.uint8))
            yield from zip(step, prepared[-1], strict=True)

    def write_clip(place: tuple[Drawn, NDArray[np.uint8]]) -> None:
        drawn, clip_CTHW = place
        rng = sampling.generator(seed, epoch, video_ids[drawn.row], drawn.purpose("clip"))
        frames = reader.read(drawn.row, sampling.train_indices(part_of(drawn.row), config.clip, rng))
        transforms.train_view(frames, config.train, rng, out=clip_CTHW)

    ahead = min(2 * size, PREFETCH_BYTES // math.prod(shape))
    with closing(map_in_order(write_clip, places(), config.runtime.num_workers, ahead)) as written:
        for step in of_steps:
            for _ in step:
                next(written)
            step_rows = [row for row, _ in step]
            yield Batch(prepared.popleft(), labels[step_rows], step_rows)


def feature_batches(
    reader: RecordReader,
    feature_reader: FeatureReader,
    rows: list[int],
    config: Config,
    epoch: int,
    skip: int,
    rank: int = 0,
    num_ranks: int = 1,
) -> Iterator[Batch]:
    """The same batches, where features are kept: of each video, those of one of its views.

    Shape:  features (N / num_ranks, C) or (N / num_ranks, C, T, H, W), labels (N / num_ranks,) int32.
    Raises: as `train_batches`.
    """
    labels, video_ids = reader.rows["label_id"].to_numpy(np.int32), reader.rows["video_id"].tolist()

    def one_view(drawn: Drawn) -> NDArray[np.float32]:
        rng = sampling.generator(config.train.seed, epoch, video_ids[drawn.row], drawn.purpose("view"))
        return feature_reader.views(drawn.row, [int(rng.integers(feature_reader.features.num_views))]).squeeze(0)

    for step in _steps_of_rank(labels, rows, config, epoch, skip, rank, num_ranks):
        step_rows = [row for row, _ in step]
        yield Batch(np.stack([one_view(drawn) for drawn in step]), labels[step_rows], step_rows)


def _steps_of_rank(
    labels: NDArray[np.int32],
    rows: list[int],
    config: Config,
    epoch: int,
    skip: int,
    rank: int,
    num_ranks: int,
) -> list[list[Drawn]]:
    """One rank's clips of each step of an epoch after the first `skip`."""
    if config.train.batch_size % num_ranks:
        raise ConfigError(
            f"train.batch_size={config.train.batch_size} cannot be shared by {num_ranks} devices: take a multiple"
        )
    return [rows_of_rank(step, rank, num_ranks) for step in _steps(labels, rows, config, epoch)[skip:]]


def _steps(labels: NDArray[np.int32], rows: list[int], config: Config, epoch: int) -> list[list[Drawn]]:
    """The clips of each step of an epoch; a video that train.balance repeats gets another clip each time."""
    seed, size, balance = config.train.seed, config.train.batch_size, config.train.balance
    order = sampling.balanced_order(labels[rows], balance, seed, epoch)
    order = np.resize(order, steps_per_epoch(len(rows), size) * size)
    turns = sampling.turns(order) if balance else np.zeros_like(order)
    drawn = [Drawn(rows[place], turn) for place, turn in zip(order.tolist(), turns.tolist(), strict=True)]
    return [drawn[first : first + size] for first in range(0, len(drawn), size)]


def video_views(
    reader: RecordReader, rows: list[int], clip: ClipConfig, evaluate: EvaluateConfig, num_workers: int
) -> Generator[NDArray[np.uint8], None, None]:
    """All views of each video, in the order of `rows`; every frame of a video is decoded once.

    Shape:  (num_clips * num_crops, 3, T, crop, crop) uint8.
    Raises: DamagedError if a record does not match its checksum.
    """
    part_of, video_ids = _parts(reader), reader.rows["video_id"].tolist()

    def views(row: int) -> NDArray[np.uint8]:
        return views_of(partial(reader.frames, row), part_of(row), video_ids[row], clip, evaluate)

    num_bytes = evaluate.num_clips * evaluate.num_crops * 3 * clip.clip_len * evaluate.crop_size**2
    return map_in_order(views, rows, num_workers, min(4, PREFETCH_BYTES // num_bytes))


def views_of(
    frames_at: Callable[[NDArray[np.int64]], list[NDArray[np.uint8]]],
    part: Stretch,
    video_id: str,
    clip: ClipConfig,
    evaluate: EvaluateConfig,
) -> NDArray[np.uint8]:
    """All views of a part of a video.

    `frames_at` gives the frames of the video at some indices, which may repeat.

    Shape:  (num_clips * num_crops, 3, T, crop, crop) uint8.
    """
    indices = sampling.evaluation_indices(part, clip, evaluate, video_id)
    frames = frames_at(indices.ravel())
    clips = (frames[i : i + clip.clip_len] for i in range(0, len(frames), clip.clip_len))
    crops = (evaluate.crop_size, evaluate.num_crops, evaluate.crops)
    return np.concatenate([transforms.test_views(each, *crops) for each in clips])


def _parts(reader: RecordReader) -> Callable[[int], Stretch]:
    """A function from the row of a video to the part of it that clips are taken from."""
    names = ("num_frames", "fps", "times_s", "start_fraction", "end_fraction")
    rows = reader.rows.assign(fps=reader.rows["fps"].fillna(0.0))
    columns = [rows[name].tolist() for name in names]

    def part(row: int) -> Stretch:
        num_frames, fps, times_s, start, end = (column[row] for column in columns)
        return timing.whole(num_frames, fps, times_s).part(start * num_frames, end * num_frames)

    return part


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int, ahead: int
) -> Generator[Result, None, None]:
    """The results of a function in the order of the items; `ahead` of them, or one, are computed in advance."""
    pool = ThreadPoolExecutor(num_workers or os.cpu_count() or 1, thread_name_prefix="loader")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
