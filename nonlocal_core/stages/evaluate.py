"""evaluate: a checkpoint and a record cache in, the scores of a split and its report out.

Videos are scored in chunks of a few; a finished chunk is a file, and a killed evaluation goes on with the others.
Several devices share the chunks.  A chunk is scored in batches of its own, the last one filled up with views that
no score is read from, so that its logits are the same whoever computes them and after whatever.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data import sampling
from nonlocal_core.data.layouts import locations
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.evaluation import figures, score_table, view_table
from nonlocal_core.process import child, cuda
from nonlocal_core.process.progress import Progress
from nonlocal_core.report import markdown

if TYPE_CHECKING:
    from nonlocal_core.data.records.reader import RecordReader

VERSION = 2
CHUNK_VIEWS = 64
"""fewest views of a chunk: a second of a GPU, half a minute of two cores"""


class Chunk(NamedTuple):
    """Videos that are scored together, by their rows in the cache's table, and the file of their logits."""

    file: Path
    rows: list[int]


def find(checkpoint: Checkpoint, cache: RecordCache, config: Config, workspace: Workspace) -> Evaluation | None:
    """The finished evaluation of this checkpoint on this cache, if there is one."""
    return workspace.find(Evaluation, key(checkpoint, cache, config))


def key(checkpoint: Checkpoint, cache: RecordCache, config: Config) -> str:
    """The key of an evaluation; what a protocol means counts, not its name."""
    views = config.evaluate.model_copy(update={"protocol": "own"})
    return key_of("evaluate", VERSION, [config.clip, views], [checkpoint.digest, cache.digest])


def protocol(config: Config) -> str:
    """The views of an evaluation, as text that two evaluations must share to be compared."""
    test, clip = config.evaluate, config.clip
    text = (
        f"{test.split}, {test.num_clips} clips x {test.num_crops} crops of {clip.clip_len}x{sampling.step(clip)}, "
        f"{test.crop_size} px of {config.cache.short_side}"
    )
    offsets = f"random {test.seed}" if test.offsets == "random" else test.offsets
    ways = {"sampling": clip.sampling, "short videos": clip.short_videos, "offsets": offsets, "head": test.head}
    usual = ("interval", "repeat_last", "spread", "trained")
    return ", ".join([text, *(f"{name} {way}" for name, way in ways.items() if way not in usual)])


def evaluate(checkpoint: Checkpoint, cache: RecordCache, config: Config, workspace: Workspace) -> Evaluation:
    """The scores of every video of a split, with their figures.

    Raises: InputError if no video of the split could be decoded, or the checkpoint knows other labels; ChildError
            if the process of a device dies.
    """
    asked = key(checkpoint, cache, config)

    def make(folder: Path) -> Evaluation:
        from nonlocal_core.data.records.reader import RecordReader

        reader, labels = RecordReader(workspace, cache), _labels(workspace, cache)
        _score(reader, checkpoint, cache, config, workspace, folder)
        scored = view_table.score(folder / Evaluation.VIEWS)
        score_table.write(scored, folder / Evaluation.SCORES)
        split = _split(reader.rows, config.evaluate.split)
        if scored["video_id"].tolist() != split.loc[split["status"] == "ok", "video_id"].tolist():
            raise DamagedError(f"{folder} has the views of other videos: delete it and run again")
        paths = (locations.join(cache.videos_dir, path) for path in split["path"])
        found = figures.figures(scored, labels)
        found["worst"] = figures.worst(scored, labels, dict(zip(split["video_id"], paths, strict=True)))
        evaluation = _evaluation(asked, cache, config, scored, found, split)
        said = {"protocol": evaluation.protocol, "coverage": evaluation.coverage, "num_videos": len(split)}
        write_json(folder / Evaluation.METRICS, {**said, "left_out": figures.left_out(split), **found})
        markdown.write(folder, evaluation, found, split)
        return evaluation

    provenance = {
        "checkpoint": checkpoint.model_dump(mode="json"),
        "cache": cache.model_dump(mode="json"),
        "config": {name: getattr(config, name).model_dump(mode="json") for name in ("clip", "evaluate")},
    }
    return workspace.build(Evaluation, asked, make, provenance)


def _evaluation(
    asked: str,
    cache: RecordCache,
    config: Config,
    scored: pd.DataFrame,
    found: figures.Figures,
    split: pd.DataFrame,
) -> Evaluation:
    return Evaluation(
        key=asked,
        digest=_digest(scored),
        path=f"evaluate/{asked}",
        split=config.evaluate.split,
        protocol=protocol(config),
        split_digest=_split_digest(cache, config.evaluate.split),
        top1=found["top"]["1"]["value"],
        top5=found["top"]["5"]["value"],
        num_scored=len(scored),
        num_videos=len(split),
        coverage=figures.coverage(len(scored), split),
        loss=found["loss"],
        mean_class_accuracy=found["mean_class_accuracy"],
    )


def _labels(workspace: Workspace, cache: RecordCache) -> list[str]:
    ids: dict[str, int] = json.loads((workspace.path(cache) / RecordCache.LABELS).read_text())
    return sorted(ids, key=ids.__getitem__)


def _split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    return rows if split == "all" else rows[rows["split"] == split]


def _split_digest(cache: RecordCache, split: str) -> str:
    return digest_of(*sorted(cache.split_digests.items())) if split == "all" else cache.split_digests[split]


def _digest(scored: pd.DataFrame) -> str:
    label_N = scored["label_id"].to_numpy(np.int64)
    return digest_of(*scored["video_id"], label_N.tobytes(), np.stack(scored["scores"].to_list()).tobytes())


def _score(
    reader: RecordReader,
    checkpoint: Checkpoint,
    cache: RecordCache,
    config: Config,
    workspace: Workspace,
    folder: Path,
) -> None:
    """Leave the logits of every view in a folder; chunks that are finished already are taken as they are."""
    if not (folder / Evaluation.VIEWS).exists():
        chunks = _chunks(reader.rows, config.evaluate, folder)
        todo = [chunk for chunk in chunks if not chunk.file.exists()]
        # Of several hosts, the one that this runs on.
        num_devices = min(config.runtime.num_devices // len(config.runtime.hosts.split(",")), len(todo))
        same = (checkpoint, cache, config, workspace)
        if num_devices > 1:
            shares = [
                partial(score_chunks, *same, todo[rank::num_devices], rank, num_devices)
                for rank in range(num_devices)
            ]
            child.call_all(shares, [_device_variables(rank) for rank in range(num_devices)])
        elif todo:
            num_videos, num_left = (sum(len(chunk.rows) for chunk in some) for some in (chunks, todo))
            score_chunks(*same, todo, num_done=num_videos - num_left)
        view_table.join([chunk.file for chunk in chunks], folder / Evaluation.VIEWS)
    for file in folder.glob("chunk-*"):
        file.unlink()


def _chunks(rows: pd.DataFrame, evaluate: EvaluateConfig, folder: Path) -> list[Chunk]:
    """The chunks of a split, in order: whole batches, at least `CHUNK_VIEWS` views, but for the last one."""
    split = _split(rows, evaluate.split)
    wanted = [int(row) for row in np.flatnonzero(rows.index.isin(split.index) & (rows["status"] == "ok"))]
    if not wanted:
        raise InputError(f"no video of the split {evaluate.split} could be decoded: there is nothing to score")
    num_views = evaluate.num_clips * evaluate.num_crops
    step = evaluate.batch_clips // math.gcd(evaluate.batch_clips, num_views)
    size = step * math.ceil(CHUNK_VIEWS / (num_views * step))
    starts = range(0, len(wanted), size)
    return [
        Chunk(folder / f"chunk-{number:06d}.parquet", wanted[start : start + size])
        for number, start in enumerate(starts)
    ]


def score_chunks(
    checkpoint: Checkpoint,
    cache: RecordCache,
    config: Config,
    workspace: Workspace,
    chunks: list[Chunk],
    rank: int = 0,
    num_ranks: int = 1,
    num_done: int = 0,
) -> None:
    """Write the logits of all views of some chunks into their files; called in one process a device."""
    cuda.load(config.runtime)  # before anything imports mindspore
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.reader import RecordReader
    from nonlocal_core.models import inference

    test = config.evaluate
    reader, labels = RecordReader(workspace, cache), _labels(workspace, cache)
    weights = workspace.path(checkpoint) / checkpoint.file
    network = inference.load(weights, labels, config.clip, test, config.runtime)
    rows = list(itertools.chain.from_iterable(chunk.rows for chunk in chunks))
    what = test.split if num_ranks == 1 else f"{test.split}, device {rank + 1} of {num_ranks}"
    progress = Progress("evaluate", what, num_done + len(rows), "videos", done=num_done)
    num_workers = config.runtime.num_workers or max(1, (os.cpu_count() or 1) // num_ranks)
    with contextlib.closing(loader.video_views(reader, rows, config.clip, test, num_workers)) as clips:
        for file, own in chunks:
            mine = itertools.islice(clips, len(own))
            logits = inference.logits_by_video(network, mine, test.batch_clips, progress)
            tables.write(view_table.table(reader.rows.iloc[own], logits, test.num_crops), file)


def _device_variables(rank: int) -> dict[str, str]:
    """The environment of a process that sees one device alone: the one of its number among those that we see."""
    variables = {}
    for name in ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"):
        seen = os.environ.get(name, "").split(",")
        variables[name] = seen[rank] if rank < len(seen) and seen[rank] else str(rank)
    return variables
