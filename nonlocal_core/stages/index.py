"""index: a folder of labelled videos in, a manifest out.

Cut into shards: `plan` lists the files, `build_shard` probes some of them, `seal` joins the rows, gives them
labels and splits, and checks that one can train on them.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd

from nonlocal_core.artifacts import Frozen, Manifest, Workspace, digest_of, key_of, write_json
from nonlocal_core.config import Config
from nonlocal_core.data import layouts, manifest
from nonlocal_core.errors import InputError
from nonlocal_core.progress import Progress

log = logging.getLogger(__name__)

VERSION = 1
LISTING_FILE = "listing.json"


class IndexShard(Frozen):
    """Some of the files of a listing."""

    key: str
    number: int
    videos_dir: str


class IndexPlan(Frozen):
    """What there is to probe; no shards if the manifest is finished."""

    key: str
    videos_dir: str
    labels: tuple[str, ...] | None
    """in the order of their ids; None: the alphabet's"""
    shards: tuple[IndexShard, ...]


def index(videos_dir: Path, config: Config, workspace: Workspace, labels_path: Path | None = None) -> Manifest:
    """The manifest of a folder of labelled videos.

    Raises: InputError if there is nothing to train on, or too much of it cannot be read.
    """
    planned = plan(videos_dir, config, workspace, labels_path)
    for shard in planned.shards:
        build_shard(shard, workspace)
    return seal(planned, config, workspace)


def plan(videos_dir: Path, config: Config, workspace: Workspace, labels_path: Path | None = None) -> IndexPlan:
    """The files to probe, cut into shards.

    Raises: InputError if no videos are found, or the labels cannot be read.
    """
    videos_dir = videos_dir.expanduser().absolute()
    if workspace.root.is_relative_to(videos_dir):
        raise InputError(
            f"the workspace {workspace.root} lies inside {videos_dir} and would be taken for videos: "
            "name another folder with workspace_dir=DIR"
        )
    labels = tuple(layouts.read_labels(labels_path.expanduser())) if labels_path else None
    sources = layouts.find_videos(videos_dir, config.index.layout)
    listing_digest = layouts.listing_digest(sources)
    key = key_of("index", VERSION, [config.index], [listing_digest, digest_of(*labels or ())])
    planned = IndexPlan(key=key, videos_dir=str(videos_dir), labels=labels, shards=())
    if workspace.find(Manifest, key):
        return planned
    size = config.runtime.index_shard_videos
    listing = workspace.partial(Manifest, key) / LISTING_FILE
    if not listing.exists():
        cut = [[source._asdict() for source in sources[i : i + size]] for i in range(0, len(sources), size)]
        write_json(listing, cut)
    num_shards = len(json.loads(listing.read_text()))
    shards = tuple(IndexShard(key=key, number=i, videos_dir=planned.videos_dir) for i in range(num_shards))
    log.info("%d videos to index, shards: %d", len(sources), num_shards)
    return planned.model_copy(update={"shards": shards})


def build_shard(shard: IndexShard, workspace: Workspace) -> None:
    """Probe the files of one shard and keep their rows; does nothing if that is done."""
    folder = workspace.partial(Manifest, shard.key)
    file = folder / f"rows-{shard.number:05d}.json"
    with workspace.locked(f"index-{shard.key}-{shard.number}"):
        if file.exists() or workspace.find(Manifest, shard.key):
            return
        listed = json.loads((folder / LISTING_FILE).read_text())[shard.number]
        progress = Progress("index", f"shard {shard.number}", len(listed), "videos")
        rows = []
        for source in listed:
            rows.append(manifest.probe_source(Path(shard.videos_dir), layouts.Source(**source)))
            progress.advance()
        write_json(file, rows)


def seal(planned: IndexPlan, config: Config, workspace: Workspace) -> Manifest:
    """The manifest of a plan whose shards are all built.

    Raises: InputError if there is nothing to train on, or too much of it cannot be read.
    """

    def make(folder: Path) -> Manifest:
        labels = list(planned.labels) if planned.labels else None
        files = sorted(folder.glob("rows-*.json"))
        probed = pd.DataFrame([row for file in files for row in json.loads(file.read_text())])
        rows = manifest.complete(probed, config.index, labels)
        manifest.check(rows, config.runtime.max_unreadable)
        labels = labels or sorted(rows["label"].unique())
        manifest.write(rows, folder / Manifest.ROWS)
        write_json(folder / Manifest.LABELS, {label: label_id for label_id, label in enumerate(labels)})
        for file in (*files, folder / LISTING_FILE):
            file.unlink()
        return Manifest(
            key=planned.key,
            digest=digest_of(manifest.digest(rows), *labels),
            path=f"index/{planned.key}",
            videos_dir=planned.videos_dir,
            num_videos=len(rows),
            num_ok=int((rows["status"] == "ok").sum()),
            num_labels=len(labels),
        )

    provenance = {"videos_dir": planned.videos_dir, "config": config.index.model_dump(mode="json")}
    made = workspace.build(Manifest, planned.key, make, provenance)
    return made.model_copy(update={"videos_dir": planned.videos_dir})
