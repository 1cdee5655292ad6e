"""From cached records to the tensors that the network takes.

Clips are prepared by threads (JPEG decoding releases Python's lock) and stay uint8 until they are on the device.
What a clip looks like depends on (seed, epoch, video), never on the number of threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config import Config
from nonlocal_core.data import sampling, transforms
from nonlocal_core.data.records import RecordReader
from nonlocal_core.model_section import ModelConfig
from nonlocal_core.sections import ClipConfig, EvaluateConfig

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch(NamedTuple):
    """Clips of one training step."""

    clip_NCTHW: NDArray[np.uint8]
    label_N: NDArray[np.int32]
    rows: list[int]


def normalise(clip_NCTHW: ms.Tensor, model: ModelConfig) -> ms.Tensor:
    """The clip as the network takes it: float32, less the mean, over the deviation; runs on the device.

    Shape:  (N, 3, T, H, W), as the uint8 input.
    """
    mean = ms.Tensor(model.input_mean, ms.float32).reshape(1, 3, 1, 1, 1)
    std = ms.Tensor(model.input_std, ms.float32).reshape(1, 3, 1, 1, 1)
    return (clip_NCTHW.astype(ms.float32) - mean) / std


def readable_rows(reader: RecordReader, split: str) -> list[int]:
    """The row numbers of a split's videos that could be decoded."""
    return [int(row) for row in np.flatnonzero((reader.rows["split"] == split) & (reader.rows["status"] == "ok"))]


def steps_per_epoch(num_videos: int, batch_size: int) -> int:
    """Steps of one pass: whole batches; what is left over in one epoch's order is not in the next one's."""
    return max(1, num_videos // batch_size)


def train_batches(reader: RecordReader, rows: list[int], config: Config, epoch: int, skip: int) -> Iterator[Batch]:
    """The batches of one epoch without its first `skip`, a pure function of (seed, epoch).

    Shape:  clips (N, 3, T, crop, crop) uint8, labels (N,) int32.
    Raises: DamagedError if a record does not match its checksum.
    """
    size, seed = config.train.batch_size, config.train.seed
    labels = reader.rows["label_id"].to_numpy(np.int32)
    order = sampling.epoch_order(len(rows), seed, epoch)
    order = np.resize(order, steps_per_epoch(len(rows), size) * size)[skip * size :]

    def clip(row: int) -> NDArray[np.uint8]:
        record = reader.rows.iloc[row]
        rng = sampling.generator(seed, epoch, str(record["video_id"]), "clip")
        indices = sampling.train_indices(int(record["num_frames"]), config.clip, rng)
        frames = reader.frames(row, indices)
        return transforms.train_view(frames, config.train, rng)

    wanted = [rows[i] for i in order]
    clips = in_order(clip, wanted, config.runtime.num_workers, ahead=2 * size)
    for first in range(0, len(wanted), size):
        chosen = wanted[first : first + size]
        yield Batch(np.stack([next(clips) for _ in chosen]), labels[chosen], chosen)


def video_views(
    reader: RecordReader, rows: list[int], clip: ClipConfig, evaluate: EvaluateConfig, num_workers: int
) -> Iterator[NDArray[np.uint8]]:
    """All views of each video, in the order of `rows`; every frame of a video is decoded once.

    Shape:  (num_clips * num_crops, 3, T, crop, crop) uint8.
    Raises: DamagedError if a record does not match its checksum.
    """

    def views(row: int) -> NDArray[np.uint8]:
        num_frames = int(reader.rows["num_frames"].iloc[row])
        indices = sampling.test_indices(num_frames, clip, evaluate.num_clips, evaluate.offsets)
        distinct, where = np.unique(indices, return_inverse=True)
        frames = reader.frames(row, distinct)
        where = where.reshape(indices.shape)
        return np.concatenate(
            [transforms.test_views(frames[one], evaluate.crop_size, evaluate.num_crops) for one in where]
        )

    return in_order(views, rows, num_workers, ahead=4)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int, ahead: int
) -> Iterator[Result]:
    """The results in the order of the items, at most `ahead` of them prepared before they are taken."""
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
