"""cache: a manifest in, decoded and resized frames out.

Cut into shards like index.  Every source is decoded once, from its first frame to its last; a file that turns
out to be broken becomes a record with its reason and no frames.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nonlocal_core.artifacts import Frozen, Manifest, RecordCache, Workspace, digest_of, key_of, write_atomically
from nonlocal_core.config import Config
from nonlocal_core.data import manifest as manifests
from nonlocal_core.data import records, transforms, video
from nonlocal_core.errors import DecodeError, InputError
from nonlocal_core.progress import Progress
from nonlocal_core.sections import CacheConfig

log = logging.getLogger(__name__)

VERSION = 1


class CacheShard(Frozen):
    """Some of the videos of a manifest."""

    key: str
    number: int
    first_row: int
    end_row: int


class CachePlan(Frozen):
    """What there is to decode; no shards if the cache is finished."""

    key: str
    shards: tuple[CacheShard, ...]


def cache(manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    """The decoded and resized frames of a manifest's videos.

    Raises: InputError if too many videos cannot be decoded.
    """
    planned = plan(manifest, config, workspace)
    for shard in planned.shards:
        build_shard(shard, manifest, config, workspace)
    return seal(planned, manifest, config, workspace)


def plan(manifest: Manifest, config: Config, workspace: Workspace) -> CachePlan:
    """The videos to decode, cut into shards."""
    key = key_of("cache", VERSION, [config.cache], [manifest.digest])
    if workspace.find(RecordCache, key):
        return CachePlan(key=key, shards=())
    # Shards of an earlier, killed run may have been cut to another size: the first cut counts.
    cut = workspace.partial(RecordCache, key) / "videos_per_shard"
    if not cut.exists():
        write_atomically(cut, str(config.runtime.cache_shard_videos).encode())
    size = int(cut.read_text())
    shards = tuple(
        CacheShard(key=key, number=number, first_row=first, end_row=min(first + size, manifest.num_videos))
        for number, first in enumerate(range(0, manifest.num_videos, size))
    )
    log.info("%d videos to cache, shards: %d", manifest.num_videos, len(shards))
    return CachePlan(key=key, shards=shards)


def build_shard(shard: CacheShard, manifest: Manifest, config: Config, workspace: Workspace) -> None:
    """Decode the videos of one shard; does nothing if that is done."""
    folder = workspace.partial(RecordCache, shard.key)
    with workspace.locked(f"cache-{shard.key}-{shard.number}"):
        if records.shard_is_complete(folder, shard.number) or workspace.find(RecordCache, shard.key):
            return
        rows = manifests.read(workspace.path(manifest) / Manifest.ROWS)
        wanted: list[Any] = rows.iloc[shard.first_row : shard.end_row].to_dict("records")
        progress = Progress("cache", f"shard {shard.number}", len(wanted), "videos")
        made = _records(Path(manifest.videos_dir), wanted, config.cache, progress)
        records.write_shard(folder, shard.number, made)


def _records(
    videos_dir: Path, rows: list[dict[str, Any]], settings: CacheConfig, progress: Progress
) -> Iterator[records.Record]:
    for row in rows:
        frames: list[bytes] = []
        height = width = 0
        status, reason = row["status"], row["reason"]
        if status == "ok":
            try:
                for frame in video.read_frames(videos_dir / row["path"]):
                    small = transforms.resize_short_side(frame, settings.short_side, settings.interpolation)
                    height, width = small.shape[:2]
                    frames.append(records.encode(small, settings.jpeg_quality))
            except DecodeError as error:
                if not (videos_dir / row["path"]).is_file():
                    raise InputError(f"{videos_dir / row['path']} is gone: run again from index") from None
                frames, height, width, status, reason = [], 0, 0, "unreadable", str(error)
                log.warning("%s is left out: %s", row["path"], reason)
        yield records.Record(
            video_id=row["video_id"],
            label=row["label"],
            label_id=row["label_id"],
            split=row["split"],
            status=status,
            reason=reason,
            frames=frames,
            height=height,
            width=width,
        )
        progress.advance()


def seal(planned: CachePlan, manifest: Manifest, config: Config, workspace: Workspace) -> RecordCache:
    """The cache of a plan whose shards are all built.

    Raises: InputError if too many videos could not be decoded.
    """

    def make(folder: Path) -> RecordCache:
        listed = manifests.read(workspace.path(manifest) / Manifest.ROWS)
        rows = records.read_table(folder)
        num_ok = int((rows["status"] == "ok").sum())
        bad = rows[rows["status"] != "ok"]
        if len(bad) > config.runtime.max_unreadable * len(rows):
            raise InputError(
                f"{len(bad)} of {len(rows)} videos cannot be decoded ({bad['reason'].iloc[0]}, …): repair or"
                f" remove them, or allow more with runtime.max_unreadable={len(bad) / len(rows) + 0.01:.2f}"
            )
        shutil.copyfile(workspace.path(manifest) / Manifest.LABELS, folder / RecordCache.LABELS)
        return RecordCache(
            key=planned.key,
            digest=digest_of(records.table_digest(rows), (folder / RecordCache.LABELS).read_text()),
            path=f"cache/{planned.key}",
            manifest_digest=manifest.digest,
            split_digests={
                split: manifests.split_digest(listed, split) for split in sorted(listed["split"].unique())
            },
            num_videos=len(rows),
            num_ok=num_ok,
            num_frames=int(rows["num_frames"].sum()),
            num_bytes=sum(file.stat().st_size for file in folder.glob("shard-*.bin")),
        )

    provenance = {"manifest": manifest.model_dump(mode="json"), "config": config.cache.model_dump(mode="json")}
    return workspace.build(RecordCache, planned.key, make, provenance)
