"""evaluate: a checkpoint and a record cache in, the scores of a split and its report out.

Videos are scored in chunks of a few.  Each finished chunk is a file, so a killed evaluation resumes with the other
chunks.  Several devices share the chunks, and so do several hosts.  No batch has views of two chunks, and the last
batch of a chunk is padded, so a chunk's logits do not depend on the device or on what it computed before.

    python -m nonlocal_core.stages.evaluate FOLDER HOST    the share of another host; the stage logs when
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
from nonlocal_core.artifacts.files import write_atomically, write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Features, Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import locations
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.evaluation import figures, score_table, view_table
from nonlocal_core.evaluation.figures import Figures
from nonlocal_core.process import child, cuda
from nonlocal_core.process.progress import Progress
from nonlocal_core.report import markdown

if TYPE_CHECKING:
    from nonlocal_core.data.records.reader import RecordReader

log = logging.getLogger(__name__)

VERSION = 2
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


def find(checkpoint: Checkpoint, cache: RecordCache, config: Config, workspace: Workspace) -> Evaluation | None:
    """The finished evaluation of this checkpoint on this cache, if there is one."""
    return workspace.find(Evaluation, key(checkpoint, cache, config))


def key(checkpoint: Checkpoint, cache: RecordCache, config: Config) -> str:
    """The key of an evaluation; the views of a protocol count, not its name."""
    views = config.evaluate.model_copy(update={"protocol": "own"})
    read = cache.scored(config.evaluate.split, config.clip)
    return key_of("evaluate", VERSION, [config.clip, views], [checkpoint.digest, *read])


def protocol(config: Config) -> str:
    """The views of an evaluation as text; only those with the same text and the same frames can be compared."""
    test, clip = config.evaluate, config.clip
    text = (
        f"{test.split}, {test.num_clips} clips x {test.num_crops} crops of {clip.name}, "
        f"{test.crop_size} px of {config.cache.short_side}"
    )
    offsets = f"random {test.seed}" if test.offsets == "random" else test.offsets
    ways = {"sampling": clip.sampling, "short videos": clip.short_videos, "offsets": offsets, "head": test.head}
    if test.num_crops == 3 or test.crops == "slowfast":  # the centre alone is the same in the other two
        ways["crops"] = test.crops
    defaults = ("interval", "repeat_last", "spread", "trained", "ends")
    return ", ".join([text, *(f"{name} {way}" for name, way in ways.items() if way not in defaults)])


def evaluate(
    checkpoint: Checkpoint,
    cache: RecordCache,
    config: Config,
    workspace: Workspace,
    features: Features | None = None,
) -> Evaluation:
    """The scores of every video of a split, with their figures.

    Where the views that are scored are kept as features, the trunk does not look at them again.

    Raises: InputError if no video of the split could be decoded, or the checkpoint knows other labels; ChildError
            if the process of a device dies.
    """
    evaluation_key = key(checkpoint, cache, config)

    def make(folder: Path) -> Evaluation:
        from nonlocal_core.data.records.reader import RecordReader

        reader, labels = RecordReader(workspace, cache), label_ids.read(workspace.path(cache) / RecordCache.LABELS)
        kept = features if features and _are_the_views(features, config) else None
        job = Job(checkpoint=checkpoint, cache=cache, config=config, root=workspace.root, features=kept)
        _score(job, reader.rows, folder)
        scored = view_table.score(folder / Evaluation.VIEWS)
        score_table.write(scored, folder / Evaluation.SCORES)
        split = _split(reader.rows, config.evaluate.split)
        if scored["video_id"].tolist() != split.loc[split["status"] == "ok", "video_id"].tolist():
            raise DamagedError(f"{folder} has the views of other videos: delete it and run again")
        paths = (locations.join(cache.videos_dir, path) for path in split["path"])
        results = figures.figures(scored, labels)
        results["worst"] = figures.worst(scored, labels, dict(zip(split["video_id"], paths, strict=True)))
        evaluation = _evaluation(evaluation_key, cache, config, scored, results, split)
        engine = provenance["engine"] = view_table.engines(folder / Evaluation.VIEWS)
        evaluation = evaluation.model_copy(update={"engine": engine})
        basis = {name: getattr(evaluation, name) for name in ("protocol", "frames", "coverage", "num_videos")}
        write_json(folder / Evaluation.METRICS, {**basis, "left_out": figures.left_out(split), **results})
        markdown.write(folder, evaluation, results, split)
        return evaluation

    provenance: dict[str, Any] = {
        "checkpoint": checkpoint.model_dump(mode="json"),
        "cache": cache.model_dump(mode="json"),
        "config": config.model_dump(mode="json", include={"clip", "evaluate"}),
    }
    return workspace.build(Evaluation, evaluation_key, make, provenance)


def _evaluation(
    key: str, cache: RecordCache, config: Config, scored: pd.DataFrame, results: Figures, split: pd.DataFrame
) -> Evaluation:
    name, by_split = config.evaluate.split, cache.split_digests
    return Evaluation(
        key=key,
        digest=_digest(scored),
        path=f"evaluate/{key}",
        split=name,
        protocol=protocol(config),
        split_digest=digest_of(*sorted(by_split.items())) if name == "all" else by_split[name],
        top1=results["top"]["1"]["value"],
        top5=results["top"]["5"]["value"],
        num_scored=len(scored),
        num_videos=len(split),
        coverage=figures.coverage(len(scored), split),
        loss=results["loss"],
        mean_class_accuracy=results["mean_class_accuracy"],
        num_labels=len(results["labels"]),
        frames=config.cache.frames,
        guessing=results["guessing"],
    )


def _are_the_views(features: Features, config: Config) -> bool:
    """Whether kept features are of the views that are scored."""
    test, kept = config.evaluate, features.settings
    same = (test.num_clips, test.num_crops, test.crop_size) == (kept.num_clips, kept.num_crops, kept.crop_size)
    ways = (test.offsets, test.head, test.crops)
    return same and features.clip == config.clip and ways == ("spread", "trained", "ends")


def _split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    return rows if split == "all" else rows[rows["split"] == split]


def _digest(scored: pd.DataFrame) -> str:
    label_N = scored["label_id"].to_numpy(np.int64)
    return digest_of(*scored["video_id"], label_N.tobytes(), np.stack(scored["scores"].to_list()).tobytes())


def _score(job: Job, rows: pd.DataFrame, folder: Path) -> None:
    """Write the logits of every view into a folder; finished chunks are not scored again."""
    if not (folder / Evaluation.VIEWS).exists():
        shares = Shares(job=job, chunks=_chunks(rows, job.config.evaluate, folder))
        others = list(enumerate(_hosts(job)))[1:]
        if others:
            write_atomically(folder / SHARES_FILE, shares.model_dump_json().encode())
        for host, name in others:
            log.info("on %s: python -m nonlocal_core.stages.evaluate %s %d", name, folder, host)
        with contextlib.ExitStack() as held:
            _score_share(shares, 0)
            for host, _ in others:  # what is left of it, once it has ended or if it never came
                held.enter_context(job.workspace.locked(_lock(folder, host)))
                _score_share(shares, host)
            view_table.join([chunk.file for chunk in shares.chunks], folder / Evaluation.VIEWS)
            (folder / SHARES_FILE).unlink(missing_ok=True)
    for file in folder.glob("chunk-*"):
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
    score = partial(score_chunks, shares.job)
    if num_devices > 1:
        ranks = range(num_devices)
        calls = [partial(score, todo[rank::num_devices], rank, num_devices) for rank in ranks]
        child.call_all(calls, [cuda.one_device(rank) for rank in ranks])
    elif todo:
        score(todo, num_done=sum(len(chunk.rows) for chunk in chunks if chunk.file.exists()))


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


def _chunks(rows: pd.DataFrame, evaluate: EvaluateConfig, folder: Path) -> list[Chunk]:
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
    split = _split(rows, evaluate.split)
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


def main() -> None:
    """Take part in an evaluation as another host."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        folder, host = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    except (IndexError, ValueError):
        sys.exit("usage: python -m nonlocal_core.stages.evaluate FOLDER HOST, as the stage on the first host says")
    from nonlocal_core.stages import evaluate as module  # its processes find functions by the name of their module

    try:
        module.take_part(folder, host)
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(command.failed(error))


if __name__ == "__main__":
    main()
