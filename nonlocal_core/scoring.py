"""The logits of every view of a split, in chunks that devices and hosts share.

A chunk is a few videos.  Each finished chunk is a file, so what was killed goes on with the other chunks.  No
batch has views of two chunks, and the last batch of a chunk is padded, so a chunk's logits do not depend on the
device or on what it computed before.

    python -m nonlocal_core.scoring FOLDER HOST    on another host, when the first one says so
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nonlocal_core import command
from nonlocal_core.artifacts import label_ids, tables
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Features, Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import view_table
from nonlocal_core.process import child, cuda
from nonlocal_core.process.progress import Progress

if TYPE_CHECKING:
    from nonlocal_core.data.records.reader import RecordReader

log = logging.getLogger(__name__)

SHARES_FILE = "shares.json"
CHUNK_VIEWS = 64
"""least number of views of a chunk; they take a GPU a second, and two cores half a minute"""


class Job(Frozen):
    """What is scored, by what; its paths are the same on every host."""

    checkpoint: Checkpoint
    cache: RecordCache
    config: Config
    root: Path
    """the workspace"""
    features: Features | None
    """of the same views, where they are kept"""

    @property
    def workspace(self) -> Workspace:
        """The workspace of the cache, the checkpoint and the evaluation."""
        return Workspace(self.root)


class Chunk(NamedTuple):
    """Videos that are scored together: the file of their logits, and their rows in the cache's table."""

    file: Path
    rows: list[int]


class Shares(Frozen):
    """The chunks that the hosts share: each takes every n-th."""

    job: Job
    chunks: list[Chunk]


def of_split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a split, or all of them."""
    return rows if split == "all" else rows[rows["split"] == split]


def score(job: Job, rows: pd.DataFrame, folder: Path) -> None:
    """Write the logits of every view into a folder; finished chunks are not scored again."""
    if not (folder / Evaluation.VIEWS).exists():
        shares = Shares(job=job, chunks=chunks_of(rows, job.config.evaluate, folder))
        others = list(enumerate(_hosts(job)))[1:]
        if others:
            write_atomically(folder / SHARES_FILE, shares.model_dump_json().encode())
        for host, name in others:
            log.info("on %s: python -m nonlocal_core.scoring %s %d", name, folder, host)
        with contextlib.ExitStack() as held:
            _score_share(shares, 0)
            for host, _ in others:  # what is left of it, once it has ended or if it never came
                held.enter_context(job.workspace.locked(_lock(folder, host)))
                _score_share(shares, host)
            view_table.join([chunk.file for chunk in shares.chunks], folder / Evaluation.VIEWS)
            (folder / SHARES_FILE).unlink(missing_ok=True)
    for file in (*folder.glob("chunk-*"), *folder.glob(SHARES_FILE)):  # after a stop the second may be left
        file.unlink()


def _hosts(job: Job) -> list[str]:
    return job.config.runtime.hosts.split(",")


def _lock(folder: Path, host: int) -> str:
    """The name of the lock that another host holds while it scores its share."""
    return f"evaluate-{folder.stem}-host-{host}"


def _score_share(shares: Shares, host: int) -> None:
    """Write the chunks of one host that are not there yet, with the devices of this one."""
    num_hosts = len(_hosts(shares.job))
    chunks = shares.chunks[host::num_hosts]
    todo = [chunk for chunk in chunks if not chunk.file.exists()]
    num_devices = min(shares.job.config.runtime.num_devices // num_hosts, len(todo))
    call = partial(score_chunks, shares.job)
    if num_devices > 1:
        ranks = range(num_devices)
        calls = [partial(call, todo[rank::num_devices], rank, num_devices) for rank in ranks]
        child.call_all(calls, [cuda.one_device(rank) for rank in ranks])
    elif todo:
        call(todo, num_done=sum(len(chunk.rows) for chunk in chunks if chunk.file.exists()))


def take_part(folder: Path, host: int) -> None:
    """Score the share of a host of an evaluation that is made in a folder.

    Raises: InputError if none is made there that has such a share.
    """
    try:
        shares = Shares.model_validate_json((folder / SHARES_FILE).read_text())
    except FileNotFoundError:
        raise InputError(f"{folder}: no evaluation is made there, or it has ended") from None
    if not 0 < host < (num_hosts := len(_hosts(shares.job))):
        raise InputError(f"host {host}: there are {num_hosts}, and the first of them, 0, runs the flow")
    with shares.job.workspace.locked(_lock(folder, host)):
        if (folder / SHARES_FILE).exists():  # else the first host has made all of it meanwhile
            _score_share(shares, host)


def chunks_of(rows: pd.DataFrame, evaluate: EvaluateConfig, folder: Path) -> list[Chunk]:
    """The chunks of a split, in order; all but the last have whole batches and at least `CHUNK_VIEWS` views."""
    wanted = _wanted(rows, evaluate)
    if not wanted:
        raise InputError(f"no video of the split {evaluate.split} could be decoded: there is nothing to score")
    num_views = evaluate.num_clips * evaluate.num_crops
    step = evaluate.batch_clips // math.gcd(evaluate.batch_clips, num_views)
    size = step * math.ceil(CHUNK_VIEWS / (num_views * step))
    files = (folder / f"chunk-{number:06d}.parquet" for number in itertools.count())
    return [Chunk(next(files), wanted[start : start + size]) for start in range(0, len(wanted), size)]


def _wanted(rows: pd.DataFrame, evaluate: EvaluateConfig) -> list[int]:
    """The numbers of the rows that are scored."""
    split = of_split(rows, evaluate.split)
    return [int(row) for row in np.flatnonzero(rows.index.isin(split.index) & (rows["status"] == "ok"))]


def score_chunks(job: Job, chunks: list[Chunk], rank: int = 0, num_ranks: int = 1, num_done: int = 0) -> None:
    """Write the logits of all views of some chunks into their files; each device's process calls it once."""
    from nonlocal_core.data.records.reader import RecordReader

    reader, test = RecordReader(job.workspace, job.cache), job.config.evaluate
    num_videos = num_done + sum(len(chunk.rows) for chunk in chunks)
    what = test.split if num_ranks == 1 else f"{test.split}, device {rank + 1} of {num_ranks}"
    progress = Progress("evaluate", what, num_videos, "videos", done=num_done)
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
    kept, views = FeatureReader(job.workspace, job.features, reader.rows), _views(job)
    classify = parts.load_classifier(_weights(job), _labels(job), job.features)
    for chunk in chunks:
        yield [classify(kept.views(row, views)) for row in chunk.rows], f"NumPy {np.__version__}"
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
        _weights(job), _labels(job), job.config, job.features, job.workspace, num_views=num_views
    )
    rows = list(itertools.chain.from_iterable(chunk.rows for chunk in chunks))
    with contextlib.ExitStack() as stack:
        if job.features:
            kept = FeatureReader(job.workspace, job.features, reader.rows)
            clips: Iterator[NDArray[Any]] = (kept.views(row, _views(job)) for row in rows)
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


def _weights(job: Job) -> Path:
    return job.workspace.path(job.checkpoint) / job.checkpoint.file


def _labels(job: Job) -> list[str]:
    return label_ids.read(job.workspace.path(job.cache) / RecordCache.LABELS)


def main(words: list[str]) -> int:
    """Take part in an evaluation as another host; gives the exit status."""
    parser = command.parser("nonlocal_core.scoring", __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="in which the first host makes an evaluation")
    parser.add_argument("host", type=int, metavar="HOST", help="number of this host among runtime.hosts, from 1")
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return command.show(_lines(given.folder.absolute(), given.host))


def _lines(folder: Path, host: int) -> Iterator[str]:
    from nonlocal_core import scoring  # its processes find functions by the name of their module

    scoring.take_part(folder, host)
    yield f"the share of host {host} is scored"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
