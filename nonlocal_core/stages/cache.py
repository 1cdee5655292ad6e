"""cache: a manifest in, decoded and resized frames out.

Frames are stored by the content of a file.  A content that an earlier run decoded with the same settings is never
decoded again, whatever has changed in the manifest.  The contents that the store lacks are cut into shards.
Every file is decoded once, from the first frame to the last, in a process of its own, which it may crash or hang.
A broken file becomes a record without frames that gives the reason.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import remove_unfinished, write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Frozen, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import fetch, locations
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.manifest import probe_cache
from nonlocal_core.data.records import cache_plan, cache_table, encoding, store
from nonlocal_core.data.records.shard_writer import Record, Writer, writing
from nonlocal_core.data.video import decord_frames
from nonlocal_core.errors import ConfigError, DamagedError, InputError, WorkspaceError, as_ours
from nonlocal_core.process import bounds, workers
from nonlocal_core.process.progress import Progress, Within

log = logging.getLogger(__name__)

VERSION = 3
SAMPLE_FILE = "sample.json"
MARGIN = 1.1  # an estimate from a few videos may be too low by this factor


class CacheShard(Frozen):
    """Some of the contents that a cache needs."""

    key: str
    number: int
    name: str


class CachePlan(Frozen):
    """The contents to decode; without shards if all are decoded."""

    key: str
    shards: tuple[CacheShard, ...]
    began: float
    """when the plan was begun (seconds since 1970)"""


def key(manifest: Manifest, config: Config) -> str:
    """The key of a cache."""
    return key_from(manifest.digest, config)


def key_from(manifest_digest: str, config: Config) -> str:
    """The key of a cache of a manifest with this digest."""
    return key_of("cache", VERSION, [config.cache], [manifest_digest, *_reader_of(config)])


def _reader_of(config: Config) -> list[str]:
    """What reads clips from video files, which decides their last bits; nothing where frames are kept."""
    return [config.cache.jump] if config.cache.codec == "none" else []


def cache(manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    """The decoded and resized frames of a manifest's videos.

    Raises: InputError if too many videos cannot be decoded; WorkspaceError if the disk is too small.
    """
    planned = plan(manifest, config, workspace)
    for shard in planned.shards:
        build_shard(shard, manifest, config, workspace)
    return seal(planned, manifest, config, workspace)


def plan(manifest: Manifest, config: Config, workspace: Workspace, num_cores: int = 1) -> CachePlan:
    """The contents to decode, cut into shards; logs the time that they take on so many cores, and the disk space.

    The first shard, a few videos, is decoded here for this estimate.

    Raises: WorkspaceError if the disk is too small; InputError if frames would be read from object storage;
            ConfigError if decord would jump and is not there.
    """
    if config.cache.codec == "none" and config.cache.jump == "decord" and not decord_frames.is_installed():
        raise ConfigError("cache.jump=decord, and decord is not installed: leave it out, and PyAV jumps")
    if config.cache.codec == "none" and locations.is_uri(manifest.videos_dir):
        raise InputError(
            f"cache.codec=none reads each clip from its file, and these lie in {manifest.videos_dir}: keep their"
            " frames with cache.codec=jpeg, or copy them to a disk"
        )
    began = time.time()
    cache_key = key(manifest, config)
    folder = _records_dir(config, workspace)
    remove_unfinished(folder)
    with workspace.locked(f"records-{folder.name}"):
        rows = manifests.read(workspace.path(manifest) / Manifest.ROWS)
        needed, contents = cache_plan.needed(rows, config.cache, folder.name), store.contents(folder)
        missing = needed[~store.names(needed).isin(contents.index)]
        if old := workspace.find(RecordCache, cache_key):
            if missing.empty and _is_current(old, rows, contents, config, workspace):
                return CachePlan(key=cache_key, shards=(), began=began)
            if missing.empty:
                log.warning("%s has changed since it was made: it is made again", old.path)
            else:
                log.warning("%s has lost %d of the videos of %s", folder, len(missing), old.path)
            (workspace.path(old) / ARTIFACT_FILE).unlink()  # seal makes it again
        partial = workspace.partial(RecordCache, cache_key)
        planned = cache_plan.resumed(partial / cache_plan.FILE, needed, missing)
        if planned is None:
            stored = needed[~needed["sha256"].isin(missing["sha256"])]
            planned = pd.concat([cache_plan.cut(missing, config.runtime.cache_shard_videos), stored])
            cache_plan.write(partial / cache_plan.FILE, planned)
    todo = planned[planned["shard"].isin(planned.loc[planned["sha256"].isin(missing["sha256"]), "shard"])]
    names = {name: number for number, name in enumerate(planned["shard"].unique())}
    shards = tuple(CacheShard(key=cache_key, number=names[name], name=name) for name in todo["shard"].unique())
    if shards and shards[0].number == 0:
        build_shard(shards[0], manifest, config, workspace)
        todo = todo[todo["shard"] != shards[0].name]
    if not todo.empty and (partial / SAMPLE_FILE).exists():  # else another run has just made the first shard
        _log_estimate(partial / SAMPLE_FILE, todo, config, workspace, min(num_cores, len(shards)))
    return CachePlan(key=cache_key, shards=shards, began=began)


def _is_current(
    old: RecordCache, rows: pd.DataFrame, contents: pd.DataFrame, config: Config, workspace: Workspace
) -> bool:
    """Whether a finished cache is what would be made now; caches of before have no frame rates for clip.fps."""
    is_timed = bool(old.timing_digest) or not config.clip.fps
    joined = cache_table.join(rows, contents, config.cache)
    return is_timed and cache_table.digest_with_labels(joined, workspace.path(old)) == old.digest


def _log_estimate(sample: Path, todo: pd.DataFrame, config: Config, workspace: Workspace, num_cores: int) -> None:
    """Log the time and disk space for the videos to decode, and check that the disk has the space."""
    estimate = cache_plan.estimate(cache_plan.Measured(**json.loads(sample.read_bytes())), todo, config.cache)
    free = shutil.disk_usage(workspace.root).free
    need, left = store.gigabytes(estimate.num_bytes), store.gigabytes(free)
    duration = cache_plan.duration(estimate.seconds / num_cores)
    cores = "1 core" if num_cores == 1 else f"{num_cores} cores"
    log.info("%s more videos to cache: about %s on %s, %s; %s free", f"{len(todo):,}", duration, cores, need, left)
    if estimate.num_bytes * MARGIN > free:
        raise WorkspaceError(
            f"the cache takes about {need} more and {left} are free on the disk of {workspace.root}: free some,"
            " lower cache.jpeg_quality or cache.short_side, keep no frames with cache.codec=none, or name another"
            " workspace_dir=DIR"
        )


def build_shard(shard: CacheShard, manifest: Manifest, config: Config, workspace: Workspace) -> None:
    """Decode the videos of one shard, unless it is finished.

    Raises: InputError if a video is gone or has changed; WorkspaceError if the disk is full.
    """
    folder = _records_dir(config, workspace)
    with workspace.locked(f"records-{folder.name}-{shard.name}"):
        if store.is_complete(folder, shard.name):
            return
        partial = workspace.partial(RecordCache, shard.key)
        os.utime(partial)  # it is in use: what is old goes
        planned = cache_plan.read_shard(partial / cache_plan.FILE, shard.number)
        planned = planned.assign(name=store.names(planned), pixel_aspect=planned["pixel_aspect"].fillna(1.0))
        rows: list[Any] = planned.to_dict("records")
        try:
            with writing(folder, shard.name) as writer:
                measured = _fill(writer, manifest.videos_dir, rows, config, shard.number)
                if shard.number == 0:  # before it is finished: a finished first shard always has its measurements
                    write_json(partial / SAMPLE_FILE, measured._asdict())
        except _ChangedError as error:
            probe_cache.forget(workspace, error.place)
            raise InputError(f"{error.place} {error.reason}: run again, and index looks at it again") from None
        except OSError as error:
            raise as_ours(error) or error from None
        finally:
            fetch.remove_orphans()


class _ChangedError(Exception):
    """A file is not what index saw."""

    def __init__(self, place: str, reason: str) -> None:
        self.place, self.reason = place, reason


def _fill(
    writer: Writer, videos_dir: str, rows: list[dict[str, Any]], config: Config, number: int
) -> cache_plan.Measured:
    """Add the record of each video before the next one is begun, whose frames follow in the file."""
    places = [locations.join(videos_dir, row["path"]) for row in rows]
    settings = encoding.FrameSettings.of(config.cache)
    jobs = (
        encoding.Job(
            place, row["sha256"], row["kept"], settings, writer.path, writer.num_bytes, row["pixel_aspect"]
        )
        for place, row in zip(places, rows, strict=True)
    )
    within, measured = Within("cache", "frames"), cache_plan.NOTHING
    progress = Progress("cache", f"shard {number}", len(rows), "videos")
    outcomes = workers.each(
        encoding.encode_video, jobs, config.runtime.video_timeout_s, "frame", bounds.of(config.runtime),
        lambda job, done: within(job.place, done),
    )  # fmt: skip
    with closing(outcomes):
        for place, row, outcome in zip(places, rows, outcomes, strict=True):
            if isinstance(outcome, workers.Lost):
                outcome = encoding.broken(store.GIVEN_UP, outcome.reason)
            if outcome.status == encoding.CHANGED:
                raise _ChangedError(place, outcome.reason)
            if outcome.reason:
                log.warning("%s is left out: %s", row["path"], outcome.reason)
            size = outcome.num_frames, outcome.height, outcome.width
            writer.add(Record(row["name"], outcome.status, outcome.reason, *size), outcome.stored)
            measured = measured.plus(outcome)
            progress.advance()
    return measured


def seal(planned: CachePlan, manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    """The cache of a plan whose shards are all built.

    Raises: InputError if too many videos could not be decoded.
    """
    folder = _records_dir(config, workspace)

    def make(partial: Path) -> RecordCache:
        listed = manifests.read(workspace.path(manifest) / Manifest.ROWS)
        _check_labels(listed, manifest, workspace)
        rows = cache_table.join(listed, store.contents(folder), config.cache)
        _check_readable(rows, config.runtime.max_unreadable)
        cache_table.write(rows, partial / RecordCache.VIDEOS)
        if config.cache.codec == "none" and (num_kept := int((rows["num_bytes"] > 0).sum())):
            log.info("%d of %d videos are stored as JPEG, because jumps fail in them", num_kept, len(rows))
        shutil.copyfile(workspace.path(manifest) / Manifest.LABELS, partial / RecordCache.LABELS)
        for name in (cache_plan.FILE, SAMPLE_FILE):
            (partial / name).unlink(missing_ok=True)
        return RecordCache(
            key=planned.key,
            digest=cache_table.digest_with_labels(rows, partial),
            path=f"cache/{planned.key}",
            records=str(folder.relative_to(workspace.root)),
            settings=config.cache,
            videos_dir=manifest.videos_dir,
            manifest_digest=manifest.digest,
            split_digests={
                name: manifests.split_digest(listed, name) for name in sorted(listed["split"].unique())
            },
            num_videos=len(rows),
            num_ok=int((rows["status"] == "ok").sum()),
            num_frames=int(rows["num_frames"].sum()),
            num_bytes=int(rows["num_bytes"].sum()),
            timing_digest=cache_table.timing_digest(rows),
            **cache_table.digests_of_splits(rows, partial),
        )

    provenance = {"manifest": manifest.model_dump(mode="json"), "config": config.cache.model_dump(mode="json")}
    with workspace.locked(f"records-{folder.name}"):
        built = workspace.build(RecordCache, planned.key, make, provenance, planned.began)
    return built.model_copy(update={"videos_dir": manifest.videos_dir})


def _check_labels(rows: pd.DataFrame, manifest: Manifest, workspace: Workspace) -> None:
    """Check labels.json, which has no checksum, by the digest of the manifest."""
    file = workspace.path(manifest) / Manifest.LABELS
    try:
        labels = label_ids.read(file)
    except InputError:
        labels = []
    if digest_of(manifests.digest(rows), *labels) != manifest.digest:
        raise DamagedError(f"{file} is damaged: delete its folder and run index again")


def _check_readable(rows: pd.DataFrame, max_unreadable: float) -> None:
    counted = rows[~rows["status"].isin(manifests.NOT_COUNTED)]
    bad = counted[counted["status"] != "ok"]
    if len(bad) > max_unreadable * len(counted):
        raise InputError(
            f"{len(bad)} of {len(counted)} videos cannot be decoded ({bad['reason'].iloc[0]}, …): repair or remove"
            f" them, or allow more with runtime.max_unreadable={math.ceil(100 * len(bad) / len(counted)) / 100:g}"
        )


def _records_dir(config: Config, workspace: Workspace) -> Path:
    """The folder of the records that are decoded with these settings; their names say the shape of pixels."""
    settings = config.cache.model_copy(update={"pixels": "shown"})
    folder: Path = workspace.root / store.FOLDER / key_of("records", VERSION, [settings], _reader_of(config))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
