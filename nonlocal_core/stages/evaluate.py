"""evaluate: a checkpoint and a record cache in, the scores of a split and its report out.

Videos are scored in chunks of a fixed size; a finished chunk is a file, and a killed evaluation goes on with the
next one.  The last chunk is filled up to whole batches with views that no score is read from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nonlocal_core import cuda
from nonlocal_core.artifacts import (
    Checkpoint,
    Evaluation,
    RecordCache,
    Workspace,
    digest_of,
    key_of,
    write_atomically,
)
from nonlocal_core.config import Config
from nonlocal_core.data import sampling
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import metrics, report, views
from nonlocal_core.progress import Progress

if TYPE_CHECKING:
    from nonlocal_core.data.records import RecordReader

VERSION = 1
CHUNK_VIDEOS = 64
SCORES_FILE = "scores.parquet"


def find(checkpoint: Checkpoint, cache: RecordCache, config: Config, workspace: Workspace) -> Evaluation | None:
    """The finished evaluation of this checkpoint on this cache, if there is one."""
    return workspace.find(Evaluation, key(checkpoint, cache, config))


def key(checkpoint: Checkpoint, cache: RecordCache, config: Config) -> str:
    """The key of an evaluation."""
    return key_of("evaluate", VERSION, [config.clip, config.evaluate], [checkpoint.digest, cache.digest])


def protocol(config: Config) -> str:
    """The views of an evaluation, as text that two evaluations must share to be compared."""
    test, clip = config.evaluate, config.clip
    text = (
        f"{test.split}, {test.num_clips} clips x {test.num_crops} crops of {clip.clip_len}x{sampling.step(clip)}, "
        f"{test.crop_size} px of {config.cache.short_side}"
    )
    ways = {"sampling": clip.sampling, "short videos": clip.short_videos, "offsets": test.offsets}
    usual = ("interval", "repeat_last", "spread")
    return ", ".join([text, *(f"{name} {way}" for name, way in ways.items() if way not in usual)])


def evaluate(checkpoint: Checkpoint, cache: RecordCache, config: Config, workspace: Workspace) -> Evaluation:
    """The scores of every video of a split, with top-1 and top-5.

    Raises: InputError if no video of the split could be decoded, or the checkpoint knows other labels.
    """

    def make(folder: Path) -> Evaluation:
        from nonlocal_core.data.records import RecordReader

        reader = RecordReader(workspace, cache)
        ids = json.loads((workspace.path(cache) / RecordCache.LABELS).read_text())
        labels = sorted(ids, key=ids.__getitem__)
        scored = _scored(reader, labels, workspace.path(checkpoint) / checkpoint.file, config, folder)
        scores_NK = np.stack(scored["scores"].to_list())
        label_N = scored["label_id"].to_numpy(np.int64)
        split = reader.rows[reader.rows["split"] == config.evaluate.split]
        evaluation = Evaluation(
            key=key(checkpoint, cache, config),
            digest=digest_of(*scored["video_id"], label_N.tobytes(), scores_NK.tobytes()),
            path=f"evaluate/{key(checkpoint, cache, config)}",
            protocol=protocol(config),
            split_digest=cache.split_digests[config.evaluate.split],
            top1=metrics.topk(scores_NK, label_N, 1),
            top5=metrics.topk(scores_NK, label_N, 5),
            num_scored=len(scored),
            num_videos=len(split),
        )
        report.write(folder, evaluation, labels, scored, split)
        return evaluation

    provenance = {
        "checkpoint": checkpoint.model_dump(mode="json"),
        "cache": cache.model_dump(mode="json"),
        "config": {name: getattr(config, name).model_dump(mode="json") for name in ("clip", "evaluate")},
    }
    return workspace.build(Evaluation, key(checkpoint, cache, config), make, provenance)


def _scored(reader: RecordReader, labels: list[str], weights: Path, config: Config, folder: Path) -> pd.DataFrame:
    """One row a video with its scores; chunks that an earlier process finished are taken as they are."""
    cuda.load(config.runtime)
    from nonlocal_core.data import loader

    if (folder / SCORES_FILE).exists():
        return _read(folder / SCORES_FILE)
    wanted = loader.readable_rows(reader, config.evaluate.split)
    if not wanted:
        raise InputError(
            f"no video of the split {config.evaluate.split} could be decoded: there is nothing to score"
        )
    chunks = [wanted[i : i + CHUNK_VIDEOS] for i in range(0, len(wanted), CHUNK_VIDEOS)]
    files = [folder / f"scores-{number:05d}.parquet" for number in range(len(chunks))]
    todo = [(file, rows) for file, rows in zip(files, chunks, strict=True) if not file.exists()]
    if todo:
        _score_chunks(reader, todo, labels, weights, config, len(wanted))
    scored = pd.concat([_read(file) for file in files], ignore_index=True)
    _write(scored, folder / SCORES_FILE)
    for file in files:
        file.unlink()
    return scored


def _score_chunks(
    reader: RecordReader,
    todo: list[tuple[Path, list[int]]],
    labels: list[str],
    weights: Path,
    config: Config,
    num_videos: int,
) -> None:
    """Run the network over the videos of every unfinished chunk and keep their scores."""
    from nonlocal_core.data import loader
    from nonlocal_core.evaluation import inference

    network = inference.load(weights, labels, config.runtime)
    left = sum(len(rows) for _, rows in todo)
    progress = Progress("evaluate", config.evaluate.split, num_videos, "videos", done=num_videos - left)
    for file, rows in todo:
        clips = loader.video_views(reader, rows, config.clip, config.evaluate, config.runtime.num_workers)
        logits = inference.logits_by_video(network, clips, config.evaluate.batch_clips, progress)
        scored = reader.rows.iloc[rows][["video_id", "label", "label_id"]].copy()
        scored["scores"] = pd.Series([views.average(logits_VK) for logits_VK in logits], index=scored.index)
        _write(scored, file)


def _write(scored: pd.DataFrame, file: Path) -> None:
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(scored, preserve_index=False, nthreads=1), content)
    write_atomically(file, content.getvalue().to_pybytes())


def _read(file: Path) -> pd.DataFrame:
    # Without threads: with them, pandas and pyarrow sometimes abort the process at its end.
    scored: pd.DataFrame = pq.read_table(file, use_threads=False).to_pandas(use_threads=False)
    return scored
