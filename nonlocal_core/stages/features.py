"""features: a record cache in, what the trunk of a network gives for some views of each video out.

The trunk is the network up to train.freeze, with the weights of train.init.  It does not learn, so it looks at
each view once, and train learns from what it gave.  That is stored by the content of a video, in shards: a killed
run resumes with the others, and what an earlier run has seen is never looked at again, whatever its label and
split are today.  Devices and hosts share the shards.
"""

from __future__ import annotations

import itertools
import math
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nonlocal_core import registry
from nonlocal_core.artifacts.files import remove_unfinished
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data.records import cache_table, kept_features, store
from nonlocal_core.errors import InputError
from nonlocal_core.process import cuda, shares
from nonlocal_core.process.progress import Progress
from nonlocal_core.process.shares import Chunk
from nonlocal_core.registry.lineage import packages

VERSION = 1
SHARD_VIEWS = 32
"""least number of views of a shard; they take two cores half a minute"""


class Job(shares.Job):
    """What is looked at: some rows of a cache's table.  The file of a chunk is the table of a shard."""

    cache: RecordCache
    folder: Path
    """the store"""


def find(cache: RecordCache, config: Config, workspace: Workspace) -> Features | None:
    """The finished features of these settings on this cache, if there are any and the store still has them."""
    features = workspace.find(Features, key(cache, config, workspace))
    if features and not _missing(_wanted(cache, config, workspace), workspace.root / features.activations).empty:
        return None
    return features


def key(cache: RecordCache, config: Config, workspace: Workspace) -> str:
    """The key of features; of splits it has those whose videos are looked at."""
    splits = _splits(config)
    read = cache.used(splits, config.clip)
    return key_of("features", VERSION, [], [_store_key(config, workspace), *read, ",".join(sorted(splits))])


def features(cache: RecordCache, config: Config, workspace: Workspace) -> Features:
    """What the trunk gives for the views of every video that is learned from, validated on or scored.

    Raises: InputError if train.init names nothing, or non-local blocks of the trunk would stay as they are drawn;
            ChildError if the process of a device dies.
    """
    features_key, folder = key(cache, config, workspace), _store(config, workspace)
    rows, init = _wanted(cache, config, workspace), _init(config, workspace)
    _write_plan(features_key, folder, rows, workspace)
    with workspace.locked(f"{kept_features.FOLDER}-{folder.name}"):
        _look_at(Job(config=config, root=workspace.root, weights=init, cache=cache, folder=folder), rows)

    def make(partial_folder: Path) -> Features:
        contents = store.contents(folder)
        listed = contents.loc[(names := kept_features.names(rows)).tolist()]
        table = pd.DataFrame(
            {"video_id": rows["video_id"].array, "content": names.array, "digest": listed["digest"].array}
        )
        kept_features.write_table(table, partial_folder / Features.VIDEOS)
        (partial_folder / Features.PLAN).unlink(missing_ok=True)
        trunk_digest, shape = kept_features.read_trunk(folder)
        engines = {store.engine_of(folder, shard) for shard in listed["shard"].unique()}
        provenance["engines"] = sorted(engines - {""}) or ["not known: an earlier version made all of them"]
        return Features(
            key=features_key,
            digest=digest_of(trunk_digest, *table["content"], *table["digest"]),
            path=f"{Features.stage}/{features_key}",
            activations=str(folder.relative_to(workspace.root)),
            trunk_digest=trunk_digest,
            last=config.train.freeze,
            settings=config.features,
            clip=config.clip,
            shape=shape,
            num_videos=len(table),
            num_views=_num_views(config),
            num_bytes=int(listed["num_bytes"].sum()),
        )

    provenance: dict[str, Any] = {
        "cache": cache.model_dump(mode="json"),
        "config": config.model_dump(mode="json", include={"clip", "model", "features"}),
        "init": config.train.init,
        "packages": packages(),
    }
    return workspace.build(Features, features_key, make, provenance)


def _write_plan(features_key: str, folder: Path, rows: pd.DataFrame, workspace: Workspace) -> None:
    """Write what unfinished features need of their store, for whoever looks for what nobody needs."""
    if not workspace.find(Features, features_key):
        plan = workspace.partial(Features, features_key) / Features.PLAN
        kept_features.write_plan(plan, folder.name, kept_features.names(rows).tolist())


def _splits(config: Config) -> set[str]:
    """The splits whose videos are looked at; all of them if all are scored."""
    validated = {"val"} if config.train.val_epochs else set()
    return {"train", config.evaluate.split, *validated}


def _wanted(cache: RecordCache, config: Config, workspace: Workspace) -> pd.DataFrame:
    """The rows of the cache's table whose features are kept; the index has their numbers."""
    rows = cache_table.read(workspace.path(cache) / RecordCache.VIDEOS).reset_index(drop=True)
    splits = _splits(config)
    return rows[(rows["status"] == "ok") & (rows["split"].isin(splits) | ("all" in splits))]


def _look_at(job: Job, rows: pd.DataFrame) -> None:
    """Write the features of some rows that the store lacks."""
    remove_unfinished(job.folder)
    chunks = _chunks(_missing(rows, job.folder), job.config, job.folder)
    for chunk in chunks:
        chunk.file.unlink(missing_ok=True)  # of a shard that has lost bytes
    shares.make(job, chunks, job.folder, compute_chunks)


def _missing(rows: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The rows whose features the store lacks, one a content."""
    names = kept_features.names(rows)
    return rows[~names.isin(store.contents(folder).index) & ~names.duplicated()]


def _store_key(config: Config, workspace: Workspace) -> str:
    """The key of the store: what decides the numbers of a video, beside the video."""
    sections = [_trunk_model(config), config.clip, config.features]
    batch = str(config.evaluate.batch_clips)  # the last digits depend on it
    weights = digest_of(_init(config, workspace).read_bytes())
    return key_of("activations", VERSION, sections, [weights, config.train.freeze, batch])


def _init(config: Config, workspace: Workspace) -> Path:
    """The file of the weights that the trunk has."""
    init = registry.first_weights(workspace, config.train.init)
    if init is None:
        raise InputError(f"train.init={config.train.init} names no weights yet, and features need some")
    return init.absolute()


def _trunk_model(config: Config) -> ModelConfig:
    """The settings of the network without those that change nothing in the trunk."""
    number = {"stem": 1, "res2": 2, "res3": 3, "res4": 4, "res5": 5}[config.train.freeze]
    after = {f"nl_res{stage}": () for stage in range(max(number + 1, 2), 6)}
    head = {} if config.train.freeze == "res5" else {"head": "pooled"}
    return config.model.model_copy(update={"dropout": 0.0, **head, **after})


def _store(config: Config, workspace: Workspace) -> Path:
    folder = workspace.root / kept_features.FOLDER / _store_key(config, workspace)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _num_views(config: Config) -> int:
    views = config.features
    return views.num_clips * views.num_crops * (2 if views.mirrored else 1)


def _chunks(missing: pd.DataFrame, config: Config, folder: Path) -> list[Chunk]:
    """Shards of some videos, each with at least `SHARD_VIEWS` views where there are so many."""
    size = math.ceil(SHARD_VIEWS / _num_views(config))
    names, numbers = kept_features.names(missing).tolist(), missing.index.tolist()
    starts = range(0, len(numbers), size)
    ids = (store.shard_id(names[start : start + size]) for start in starts)
    files = (store.paths(folder, shard).table_path for shard in ids)
    return [Chunk(file, numbers[start : start + size]) for file, start in zip(files, starts, strict=True)]


def take_part(folder: Path, host: int) -> None:
    """Look at the share of another host of the videos that the store in a folder lacks.

    Raises: InputError if nothing is looked at there, or it has no such share.
    """
    shares.take_part(folder, host, Job, compute_chunks)


def compute_chunks(job: Job, chunks: list[Chunk], rank: int = 0, num_ranks: int = 1, num_done: int = 0) -> None:
    """Write the features of some shards into the store; each device's process calls it once."""
    cuda.load(job.config.runtime)  # before anything imports mindspore
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.reader import RecordReader
    from nonlocal_core.models import inference

    workspace, config, stored = Workspace(job.root), job.config, job.config.features
    reader = RecordReader(workspace, job.cache)
    num_views = len(reader.rows) * _num_views(config)  # of all shards, whichever are missing
    network, trunk_digest = inference.load_trunk(job.weights, config, workspace, num_views)
    views = EvaluateConfig(num_clips=stored.num_clips, num_crops=stored.num_crops, crop_size=stored.crop_size)
    rows = list(itertools.chain.from_iterable(chunk.rows for chunk in chunks))
    name = "videos" if num_ranks == 1 else f"device {rank + 1} of {num_ranks}"
    progress = Progress("features", name, num_done + len(rows), "videos", done=num_done)
    num_workers = config.runtime.num_workers or max(1, (os.cpu_count() or 1) // num_ranks)
    with closing(loader.video_views(reader, rows, config.clip, views, num_workers)) as clips:
        for chunk in chunks:
            videos = itertools.islice(clips, len(chunk.rows))
            inputs = (np.concatenate([video, video[..., ::-1]]) if stored.mirrored else video for video in videos)
            outputs = inference.outputs_by_video(network, inputs, config.evaluate.batch_clips, progress)
            contents = kept_features.names(reader.rows.iloc[chunk.rows]).tolist()
            kept_features.write(job.folder, contents, outputs, trunk_digest, network.engine)
