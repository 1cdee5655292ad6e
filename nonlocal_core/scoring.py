"""The logits of every view of a split, in chunks that devices and hosts share.

A chunk is a few videos.  Each finished chunk is a file, so what was killed goes on with the other chunks.  No
batch has views of two chunks, and the last batch of a chunk is padded, so a chunk's logits do not depend on the
device or on what it computed before.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nonlocal_core.artifacts import label_ids, tables
from nonlocal_core.artifacts.references import Evaluation, Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import view_table
from nonlocal_core.process import cuda, shares
from nonlocal_core.process.progress import Progress
from nonlocal_core.process.shares import Chunk

if TYPE_CHECKING:
    from nonlocal_core.data.records.reader import RecordReader


class Job(shares.Job):
    """What is scored: some rows of a cache's table."""

    cache: RecordCache
    features: Features | None
    """of the same views, where they are kept"""

    @property
    def workspace(self) -> Workspace:
        """The workspace of the cache, the checkpoint and the evaluation."""
        return Workspace(self.root)


def of_split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a split, or all of them."""
    return rows if split == "all" else rows[rows["split"] == split]


def score(job: Job, rows: pd.DataFrame, folder: Path) -> None:
    """Write the logits of every view into a folder; finished chunks are not scored again."""
    if not (folder / Evaluation.VIEWS).exists():
        chunks = chunks_of(rows, job.config.evaluate, folder)
        shares.make(job, chunks, folder, score_chunks)
        view_table.join([chunk.file for chunk in chunks], folder / Evaluation.VIEWS)
    for file in folder.glob("chunk-*"):
        file.unlink()


def take_part(folder: Path, host: int) -> None:
    """Score the share of another host of the evaluation in a folder.

    Raises: InputError if nothing is shared there, or this host has no share of it.
    """
    shares.take_part(folder, host, Job, score_chunks)


def chunks_of(rows: pd.DataFrame, evaluate: EvaluateConfig, folder: Path) -> list[Chunk]:
    """The chunks of a split, in order; all but the last have whole batches."""
    wanted = _wanted(rows, evaluate)
    if not wanted:
        raise InputError(f"no video of the split {evaluate.split} could be decoded: there is nothing to score")
    num_views = evaluate.num_clips * evaluate.num_crops
    size = shares.videos_of_chunk(num_views, evaluate.batch_clips)
    return shares.chunks_of(wanted, size, folder, ".parquet")


def _wanted(rows: pd.DataFrame, evaluate: EvaluateConfig) -> list[int]:
    """The numbers of the rows that are scored."""
    split = of_split(rows, evaluate.split)
    return [int(row) for row in np.flatnonzero(rows.index.isin(split.index) & (rows["status"] == "ok"))]


def score_chunks(job: Job, chunks: list[Chunk], rank: int = 0, num_ranks: int = 1, num_done: int = 0) -> None:
    """Write the logits of all views of some chunks into their files; each device's process calls it once."""
    from nonlocal_core.data.records.reader import RecordReader

    reader, test = RecordReader(job.workspace, job.cache), job.config.evaluate
    num_videos = num_done + sum(len(chunk.rows) for chunk in chunks)
    name = test.split if num_ranks == 1 else f"{test.split}, device {rank + 1} of {num_ranks}"
    progress = Progress("evaluate", name, num_videos, "videos", done=num_done)
    pooled = job.features is not None and job.features.last == "res5"
    chunk_logits = _by_classifier if pooled else partial(_by_network, num_ranks=num_ranks)
    scored = zip(chunks, chunk_logits(job, reader, chunks, progress), strict=True)
    for (file, rows), (logits, engine) in scored:
        tables.write(view_table.table(reader.rows.iloc[rows], logits, test.num_crops, engine), file)


Logits = tuple[list[NDArray[np.float32]], str]
"""of each video of a chunk, one row a view; and what computed them, in words"""


def _by_classifier(job: Job, reader: RecordReader, chunks: list[Chunk], progress: Progress) -> Iterator[Logits]:
    """The logits of each chunk from pooled features, for which no network is built."""
    from nonlocal_core.data.records.kept_features import FeatureReader
    from nonlocal_core.models import parts

    assert job.features is not None
    feature_reader, views = FeatureReader(job.workspace, job.features, reader.rows), _views(job)
    classify = parts.load_classifier(job.weights, _labels(job), job.features)
    for chunk in chunks:
        yield [classify(feature_reader.views(row, views)) for row in chunk.rows], f"NumPy {np.__version__}"
        progress.advance(len(chunk.rows))


def _by_network(
    job: Job, reader: RecordReader, chunks: list[Chunk], progress: Progress, num_ranks: int
) -> Iterator[Logits]:
    """The logits of each chunk from clips, or from what the trunk gave for them."""
    runtime, test, clip = job.config.runtime, job.config.evaluate, job.config.clip
    cuda.load(runtime)  # before anything imports mindspore
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.kept_features import FeatureReader
    from nonlocal_core.models import inference

    # Of all chunks, so that one that goes on after a stop is computed as the others were.
    num_views = len(_wanted(reader.rows, test)) * len(_views(job))
    network = inference.load(
        job.weights, _labels(job), job.config, job.features, job.workspace, num_views=num_views
    )
    rows = list(itertools.chain.from_iterable(chunk.rows for chunk in chunks))
    with contextlib.ExitStack() as stack:
        if job.features:
            feature_reader = FeatureReader(job.workspace, job.features, reader.rows)
            clips: Iterator[NDArray[Any]] = (feature_reader.views(row, _views(job)) for row in rows)
        else:
            num_workers = runtime.num_workers or max(1, (os.cpu_count() or 1) // num_ranks)
            views = loader.video_views(reader, rows, clip, test, num_workers)
            clips = stack.enter_context(contextlib.closing(views))
        for chunk in chunks:
            chunk_clips = itertools.islice(clips, len(chunk.rows))
            logits = inference.outputs_by_video(network, chunk_clips, test.batch_clips, progress)
            yield logits, network.engine


def _views(job: Job) -> range:
    return range(job.config.evaluate.num_clips * job.config.evaluate.num_crops)


def _labels(job: Job) -> list[str]:
    return label_ids.read(job.workspace.path(job.cache) / RecordCache.LABELS)
