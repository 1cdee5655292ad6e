"""cache: a manifest in, decoded and resized frames out.

Frames lie in a store that knows contents, not videos: what an earlier run decoded with the same settings is never
decoded again, whatever else of the manifest has changed.  The contents that the store lacks are cut into shards.
Every source is decoded once, from its first frame to its last, in a process that it may crash or hang; a file that
turns out to be broken becomes a record with its reason and no frames.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Frozen, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import fetch, locations
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.records import cache_plan, cache_table, encoding, store
from nonlocal_core.errors import DamagedError, InputError, WorkspaceError, as_ours
from nonlocal_core.process import workers
from nonlocal_core.process.progress import Progress

log = logging.getLogger(__name__)

VERSION = 2
SAMPLE_FILE = "sample.json"
MARGIN = 1.1  # an estimate from few videos may be this much too low


class CacheShard(Frozen):
    """Some of the contents that a cache needs."""

    key: str
    number: int
    name: str


class CachePlan(Frozen):
    """What there is to decode; no shards if there is nothing."""

    key: str
    shards: tuple[CacheShard, ...]
    began: float
    """when the plan was begun (seconds since 1970)"""


def key(manifest: Manifest, config: Config) -> str:
    """The key of a cache."""
    return key_of("cache", VERSION, [config.cache], [manifest.digest])


def cache(manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    """The decoded and resized frames of a manifest's videos.

    Raises: InputError if too many videos cannot be decoded; WorkspaceError if the disk is too small.
    """
    planned = plan(manifest, config, workspace)
    for shard in planned.shards:
        build_shard(shard, manifest, config, workspace)
    return seal(planned, manifest, config, workspace)


def plan(manifest: Manifest, config: Config, workspace: Workspace, num_cores: int = 1) -> CachePlan:
    """The contents to decode, cut into shards; says what that will take on so many cores.

    A few videos are decoded here, to know.  They are the first shard.

    Raises: WorkspaceError if the disk is too small; InputError if frames would be read from object storage.
    """
    if config.cache.codec == "none" and locations.is_uri(manifest.videos_dir):
        raise InputError(
            f"cache.codec=none reads each clip from its file, and these lie in {manifest.videos_dir}: keep their"
            " frames with cache.codec=jpeg, or copy them to a disk"
        )
    began = time.time()
    asked = key(manifest, config)
    folder = _store(config, workspace)
    with workspace.locked(f"records-{folder.name}"):
        rows = manifests.read(workspace.path(manifest) / Manifest.ROWS)
        needed, contents = cache_plan.needed(rows, config.cache, folder.name), store.contents(folder)
        missing = needed[~needed["sha256"].isin(contents.index)]
        if found := workspace.find(RecordCache, asked):
            if missing.empty and _digest(cache_table.join(rows, contents), workspace.path(found)) == found.digest:
                return CachePlan(key=asked, shards=(), began=began)
            if missing.empty:
                log.warning("%s is not what it was: it is made again", found.path)
            else:
                log.warning("%s has lost %d of the videos of %s", folder, len(missing), found.path)
            (workspace.path(found) / ARTIFACT_FILE).unlink()  # it is made again when they are back
        partial = workspace.partial(RecordCache, asked)
        planned = cache_plan.resumed(partial / cache_plan.FILE, needed, missing)
        if planned is None:
            there = needed[~needed["sha256"].isin(missing["sha256"])]
            planned = pd.concat([cache_plan.cut(missing, config.runtime.cache_shard_videos), there])
            cache_plan.write(partial / cache_plan.FILE, planned)
    if config.cache.codec == "none" and (num_kept := int(needed["kept"].sum())):
        log.info(
            "%d of %d videos are stored as JPEG all the same: a jump in them goes wrong", num_kept, len(needed)
        )
    todo = planned[planned["shard"].isin(planned.loc[planned["sha256"].isin(missing["sha256"]), "shard"])]
    names = {name: number for number, name in enumerate(planned["shard"].unique())}
    shards = tuple(CacheShard(key=asked, number=names[name], name=name) for name in todo["shard"].unique())
    if shards and shards[0].number == 0:
        build_shard(shards[0], manifest, config, workspace)
        todo = todo[todo["shard"] != shards[0].name]
    if not todo.empty:
        _say_what_it_takes(partial / SAMPLE_FILE, todo, config, workspace, min(num_cores, len(shards)))
    return CachePlan(key=asked, shards=shards, began=began)


def _say_what_it_takes(
    sample: Path, todo: pd.DataFrame, config: Config, workspace: Workspace, num_cores: int
) -> None:
    takes = cache_plan.estimate(cache_plan.Measured(**json.loads(sample.read_text())), todo, config.cache)
    free = shutil.disk_usage(workspace.root).free
    need, left = store.gigabytes(takes.num_bytes), store.gigabytes(free)
    time = _duration(takes.seconds / num_cores)
    cores = "1 core" if num_cores == 1 else f"{num_cores} cores"
    log.info("%s more videos to cache: about %s on %s, %s; %s free", f"{len(todo):,}", time, cores, need, left)
    if takes.num_bytes * MARGIN > free:
        raise WorkspaceError(
            f"the cache takes about {need} more and {left} are free on the disk of {workspace.root}: free some,"
            " lower cache.jpeg_quality or cache.short_side, keep no frames with cache.codec=none, or name another"
            " workspace_dir=DIR"
        )


def build_shard(shard: CacheShard, manifest: Manifest, config: Config, workspace: Workspace) -> None:
    """Decode the videos of one shard; does nothing if that is done.

    Raises: InputError if a video is not there any more, or is another one; WorkspaceError if the disk is full.
    """
    folder = _store(config, workspace)
    with workspace.locked(f"records-{folder.name}-{shard.name}"):
        if store.is_complete(folder, shard.name):
            return
        partial = workspace.partial(RecordCache, shard.key)
        rows: list[Any] = cache_plan.read_shard(partial / cache_plan.FILE, shard.number).to_dict("records")
        jobs = (
            encoding.Job(
                locations.join(manifest.videos_dir, row["path"]), row["sha256"], row["kept"], config.cache
            )
            for row in rows
        )
        sample = partial / SAMPLE_FILE if shard.number == 0 else None
        progress = Progress("cache", f"shard {shard.number}", len(rows), "videos")
        outcomes = workers.each(encoding.encode_video, jobs, config.runtime.video_timeout_s, "frame")
        try:
            with closing(outcomes):
                store.write_shard(folder, shard.name, _records(rows, outcomes, progress, sample))
        except OSError as error:
            raise as_ours(error) or error from None
        finally:
            fetch.remove_orphans()


def _records(
    rows: list[dict[str, Any]],
    outcomes: Iterable[encoding.Encoded | workers.Lost],
    progress: Progress,
    sample: Path | None,
) -> Iterator[store.Record]:
    measured = cache_plan.NOTHING
    for row, outcome in zip(rows, outcomes, strict=True):
        status = "ok"
        if isinstance(outcome, workers.Lost):
            status = store.GIVEN_UP
            outcome = encoding.broken(outcome.reason)
        elif outcome.reason:
            status = "unreadable"
        if outcome.reason:
            log.warning("%s is left out: %s", row["path"], outcome.reason)
        made = outcome.num_frames, outcome.height, outcome.width
        yield store.Record(row["sha256"], status, outcome.reason, *made, outcome.jpegs)
        measured = measured.plus(outcome)
        progress.advance()
    if sample:  # before the shard is there: what was decoded is never without what it took
        write_json(sample, measured._asdict())


def seal(planned: CachePlan, manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    """The cache of a plan whose shards are all built.

    Raises: InputError if too many videos could not be decoded.
    """
    folder = _store(config, workspace)

    def make(partial: Path) -> RecordCache:
        listed = manifests.read(workspace.path(manifest) / Manifest.ROWS)
        _check_labels(listed, manifest, workspace)
        rows = cache_table.join(listed, store.contents(folder))
        _check(rows, config.runtime.max_unreadable)
        cache_table.write(rows, partial / RecordCache.VIDEOS)
        shutil.copyfile(workspace.path(manifest) / Manifest.LABELS, partial / RecordCache.LABELS)
        for done in (cache_plan.FILE, SAMPLE_FILE):
            (partial / done).unlink(missing_ok=True)
        return RecordCache(
            key=planned.key,
            digest=_digest(rows, partial),
            path=f"cache/{planned.key}",
            records=str(folder.relative_to(workspace.root)),
            settings=config.cache,
            videos_dir=manifest.videos_dir,
            manifest_digest=manifest.digest,
            split_digests={
                split: manifests.split_digest(listed, split) for split in sorted(listed["split"].unique())
            },
            num_videos=len(rows),
            num_ok=int((rows["status"] == "ok").sum()),
            num_frames=int(rows["num_frames"].sum()),
            num_bytes=int(rows["num_bytes"].sum()),
        )

    provenance = {"manifest": manifest.model_dump(mode="json"), "config": config.cache.model_dump(mode="json")}
    with workspace.locked(f"records-{folder.name}"):
        made = workspace.build(RecordCache, planned.key, make, provenance, planned.began)
    return made.model_copy(update={"videos_dir": manifest.videos_dir})


def _check_labels(rows: pd.DataFrame, manifest: Manifest, workspace: Workspace) -> None:
    """Check by the manifest's digest that its rows and labels.json are what index wrote: JSON has no checksum."""
    file = workspace.path(manifest) / Manifest.LABELS
    try:
        labels = [*json.loads(file.read_bytes())]
    except (OSError, ValueError, TypeError):
        labels = []
    if digest_of(manifests.digest(rows), *labels) != manifest.digest:
        raise DamagedError(f"{file} is damaged: delete its folder and run index again")


def _check(rows: pd.DataFrame, max_unreadable: float) -> None:
    there = rows[~rows["status"].isin(manifests.NOT_COUNTED)]
    bad = there[there["status"] != "ok"]
    if len(bad) > max_unreadable * len(there):
        raise InputError(
            f"{len(bad)} of {len(there)} videos cannot be decoded ({bad['reason'].iloc[0]}, …): repair or remove"
            f" them, or allow more with runtime.max_unreadable={len(bad) / len(there) + 0.01:.2f}"
        )


def _store(config: Config, workspace: Workspace) -> Path:
    """The folder of the records that these settings give."""
    folder: Path = workspace.root / store.FOLDER / key_of("records", VERSION, [config.cache], [])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(rows: pd.DataFrame, folder: Path) -> str:
    return digest_of(cache_table.digest(rows), (folder / RecordCache.LABELS).read_bytes())


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
