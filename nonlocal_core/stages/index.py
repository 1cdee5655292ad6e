"""index: a folder of labelled videos in, a manifest out.

`plan` lists the files and looks up those that earlier runs have probed.  The others are cut into shards.
`build_shard` probes the files of a shard in a process of its own, which they may crash or hang, and stores the
results for all later runs.  `seal` joins the rows, gives them labels and splits, and checks that a network can be
trained on them.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import pandas as pd

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import remove_unfinished, write_atomically
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Frozen, Manifest
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import detection, fetch, listing, locations
from nonlocal_core.data.manifest import (
    crossval_folds,
    file_probe,
    frozen_split,
    groups,
    manifest_table,
    probe_cache,
    splits,
)
from nonlocal_core.errors import InputError, WorkspaceError
from nonlocal_core.evaluation.crossval import Fold
from nonlocal_core.process import bounds, workers
from nonlocal_core.process.progress import Progress

log = logging.getLogger(__name__)

VERSION = 2
LISTING_FILE = "listing.json"


class IndexShard(Frozen):
    """Some of the files to probe."""

    key: str
    name: str
    """hash of the files to probe, so that two runs share a shard"""
    number: int


class IndexPlan(Frozen):
    """The files to probe; without shards if the manifest is finished or all files are known."""

    key: str
    videos_dir: str
    labels: tuple[str, ...] | None
    """in the order of their ids; None for alphabetical order"""
    kept: str
    """digest of the split that index.frozen_val keeps"""
    inventory: tuple[str, ...]
    """what was seen in the folder, in lines for a person"""
    shards: tuple[IndexShard, ...]
    began: float
    """when the plan was begun (seconds since 1970)"""


def index(
    videos_dir: Path | str, config: Config, workspace: Workspace, labels_path: Path | None = None
) -> Manifest:
    """The manifest of a folder of labelled videos, given by its path or URI.

    Raises: InputError if there is nothing to train on, or too many videos cannot be read.
    """
    planned = plan(videos_dir, config, workspace, labels_path)
    for shard in planned.shards:
        build_shard(shard, config, workspace)
    return seal(planned, config, workspace)


def plan(
    videos_dir: Path | str,
    config: Config,
    workspace: Workspace,
    labels_path: Path | None = None,
    fold: Fold | None = None,
) -> IndexPlan:
    """The files to probe, cut into shards; a `fold` of a cross-validation says which videos are train and val.

    Raises: InputError if no videos are found, or the labels or a list cannot be read.
    """
    began = time.time()
    folder = listing.open_folder(videos_dir)
    if isinstance(folder, Path) and workspace.root.is_relative_to(folder):
        raise InputError(
            f"the workspace {workspace.root} lies inside {folder} and would be taken for videos: "
            "name another folder with workspace_dir=DIR"
        )
    _, sources, labels, inventory = _find(folder, fold, config, labels_path)
    for shared in (probe_cache.FOLDER, frozen_split.FOLDER):
        remove_unfinished(workspace.root / shared)
    listed = probe_cache.look_up(workspace.root / probe_cache.FOLDER, _frame(sources, str(folder)), [])
    # Every run probes again the files that could not be probed, so each of these runs has a key of its own.
    failed = listed[listed["tries"] > 0][["path", "tries"]].to_numpy().tolist()
    inputs = [listing.listing_digest(sources), digest_of(*labels or ()), *([json.dumps(failed)] if failed else [])]
    frozen = _split_digest(config, workspace)
    if not config.index.group_by and groups.of_ucf(source.path for source in sources if not source.split):
        inputs.append("groups of UCF101")
    key = key_of("index", VERSION, [config.index], [*inputs, frozen])
    planned = IndexPlan(
        key=key, videos_dir=str(folder), labels=labels, kept=frozen, inventory=inventory, shards=(), began=began
    )
    if finished := workspace.find(Manifest, key):
        if not manifest_table.lacks_times(workspace.path(finished) / Manifest.ROWS):
            return planned
        log.warning("%s has no time stamps of videos whose frame rate varies: it is made again", finished.path)
        (workspace.path(finished) / ARTIFACT_FILE).unlink(missing_ok=True)
    partial = workspace.partial(Manifest, key)
    write_atomically(partial / LISTING_FILE, json.dumps(sources).encode())
    todo = listed[~listed["is_settled"] & (listed["size_bytes"] >= 0)]
    shards = _cut(todo, planned.key, partial, config.runtime.index_shard_videos)
    log.info("%d videos, %d of them to probe, shards: %d", len(sources), len(todo), len(shards))
    return planned.model_copy(update={"shards": shards})


def _frame(sources: list[listing.Source], videos_dir: str) -> pd.DataFrame:
    listed = pd.DataFrame(sources, columns=pd.Index(listing.Source._fields))
    if locations.is_uri(videos_dir):
        return listed.assign(place=[locations.join(videos_dir, source.path) for source in sources])
    return listed.assign(place=f"{videos_dir}/" + listed["path"])


def _cut(todo: pd.DataFrame, key: str, folder: Path, size: int) -> tuple[IndexShard, ...]:
    """The files to probe, cut into shards; a shard's name is a hash of its files, so that two runs share it."""
    rows = todo[[*probe_cache.IDENTITY, "tries"]].to_numpy(object).tolist()
    shards = []
    for number, first in enumerate(range(0, len(rows), size)):
        content = json.dumps(rows[first : first + size]).encode()
        shard = IndexShard(key=key, name=digest_of(content), number=number)
        write_atomically(_todo_path(folder, shard), content)
        shards.append(shard)
    return tuple(shards)


def _find(
    folder: listing.Folder, fold: Fold | None, config: Config, labels_path: Path | None
) -> detection.Listing:
    """The videos of a folder, with the splits that it names or those of a fold; logs what was seen."""
    names = label_ids.read_names(labels_path.expanduser()) if labels_path else None
    arguments = config.index, names, config.runtime.follow_links
    videos = crossval_folds.find(folder, fold, *arguments) if fold else detection.find(folder, *arguments)
    inventory = (*videos.inventory, *groups.in_words(videos.sources, config.index.group_by))
    for line in inventory:
        log.info("%s: %s", folder, line)
    return videos._replace(inventory=inventory)


def _split_digest(config: Config, workspace: Workspace) -> str:
    """The digest of the split that index.frozen_val keeps; "" if there is none."""
    return frozen_split.digest(frozen_split.read(_kept_path(config, workspace))) if config.index.frozen_val else ""


def _kept_path(config: Config, workspace: Workspace) -> Path:
    return workspace.root / frozen_split.FOLDER / f"{config.index.frozen_val}.parquet"


def _todo_path(folder: Path, shard: IndexShard) -> Path:
    return folder / f"todo-{shard.name}.json"


def build_shard(shard: IndexShard, config: Config, workspace: Workspace) -> None:
    """Probe the files of one shard and store the results, unless it is finished."""
    store = workspace.root / probe_cache.FOLDER
    with workspace.locked(f"index-{shard.name}"):
        if probe_cache.part_path(store, shard.name).exists() or workspace.find(Manifest, shard.key):
            return
        partial = workspace.partial(Manifest, shard.key)
        os.utime(partial)  # it is in use: what is old goes
        todo = json.loads(_todo_path(partial, shard).read_text(encoding="utf-8"))
        try:
            probe_cache.add(store, shard.name, _probe(todo, shard.number, store, config.runtime))
        finally:
            fetch.remove_orphans()


def _probe(todo: list[Any], number: int, store: Path, runtime: RuntimeConfig) -> list[dict[str, Any]]:
    """The rows of some files; a file whose content is known is hashed, but not probed."""
    sizes, most, timeout_s = probe_cache.known_sizes(store), bounds.of(runtime), runtime.video_timeout_s
    candidates = [place for place, size_bytes, _, _ in todo if size_bytes in sizes]
    hashes = zip(candidates, workers.each(file_probe.hash_of, candidates, timeout_s), strict=True)
    hashed = {place: sha256 for place, sha256 in hashes if isinstance(sha256, str)}
    contents = probe_cache.look_up_contents(store, set(hashed.values()))
    listed = [dict(zip([*probe_cache.IDENTITY, "tries"], file, strict=True)) for file in todo]
    recognised = [row for row in listed if hashed.get(row["place"]) in contents]
    new = [row for row in listed if hashed.get(row["place"]) not in contents]
    for row in recognised:
        row |= contents[hashed[row["place"]]] | {"is_settled": True}
    progress = Progress("index", f"shard {number}", len(todo), "videos", done=len(recognised))
    items = [file_probe.Job(row["place"], hashed.get(row["place"], "")) for row in new]
    for row, facts in zip(new, workers.each(file_probe.probe_file, items, timeout_s, limits=most), strict=True):
        if isinstance(facts, workers.Lost):
            facts = file_probe.Facts("", "unreadable", facts.reason, None, is_settled=False)
        if not facts.is_settled:
            log.warning("%s is left out: %s; the next run tries it again", row["place"], facts.reason)
        row |= facts._asdict() | (facts.probe._asdict() if facts.probe else {})
        row["tries"] += not facts.is_settled
        progress.advance()
    return listed


def seal(planned: IndexPlan, config: Config, workspace: Workspace) -> Manifest:
    """The manifest of a plan whose shards are all built.

    Raises: InputError if there is nothing to train on, or too many videos cannot be read.
    """

    inventory = list(planned.inventory)

    def make(folder: Path) -> Manifest:
        probed = _join(folder, planned.videos_dir, workspace)
        rows = _complete(probed, planned, config, workspace)
        labels = planned.labels or sorted(rows["label"].unique())
        for line in (manifest_table.counts_in_words(rows), *manifest_table.timing_in_words(rows)):
            log.info("%s: %s", planned.videos_dir, line)
            inventory.append(line)
        manifest_table.write(rows, folder / Manifest.ROWS)
        label_ids.write(folder / Manifest.LABELS, labels)
        for file in (*folder.glob("todo-*.json"), folder / LISTING_FILE):
            file.unlink()
        with workspace.locked(probe_cache.LOCK):
            probe_cache.join_parts(workspace.root / probe_cache.FOLDER)
        return Manifest(
            key=planned.key,
            digest=digest_of(manifest_table.digest(rows), *labels),
            path=f"index/{planned.key}",
            videos_dir=planned.videos_dir,
            num_videos=len(rows),
            num_ok=int((rows["status"] == "ok").sum()),
            num_labels=len(labels),
        )

    provenance = {
        "videos_dir": planned.videos_dir,
        "config": config.index.model_dump(mode="json"),
        "inventory": inventory,
    }
    manifest = workspace.build(Manifest, planned.key, make, provenance, planned.began)
    return manifest.model_copy(update={"videos_dir": planned.videos_dir})


def _complete(probed: pd.DataFrame, planned: IndexPlan, config: Config, workspace: Workspace) -> pd.DataFrame:
    """The rows of the manifest; with index.frozen_val, their splits are stored for later runs."""
    labels = list(planned.labels) if planned.labels else None
    is_drawn = bool((probed["split"] == "").any())
    if not config.index.frozen_val:
        rows = splits.complete(probed, config.index, labels)
        manifest_table.check(rows, config.runtime.max_unreadable, is_drawn)
        return rows
    path = _kept_path(config, workspace)
    with workspace.locked(f"index-frozen-{config.index.frozen_val}"):
        frozen = frozen_split.read(path)
        if frozen_split.digest(frozen) != planned.kept:
            raise WorkspaceError(f"another run has just changed {path}: run again")
        rows = splits.complete(probed, config.index, labels, frozen)
        manifest_table.check(rows, config.runtime.max_unreadable, is_drawn)
        if is_drawn:
            frozen_split.add(path, frozen, rows)
    return rows


def _join(folder: Path, videos_dir: str, workspace: Workspace) -> pd.DataFrame:
    """The listed files with the results of their probes."""
    sources = [
        listing.Source(*source) for source in json.loads((folder / LISTING_FILE).read_text(encoding="utf-8"))
    ]
    rows = probe_cache.look_up(workspace.root / probe_cache.FOLDER, _frame(sources, videos_dir))
    is_missing = rows["size_bytes"] < 0
    if is_missing.any():
        first = rows.loc[is_missing, "path"].iloc[0]
        log.warning("%d of %d listed videos are not on disk, e.g. %s", is_missing.sum(), len(rows), first)
    rows.loc[is_missing, "status"] = "missing"
    rows.loc[is_missing, "reason"] = "listed but not on disk"
    if (rows["status"] == "").any():
        raise WorkspaceError(f"{workspace.root / probe_cache.FOLDER} has lost the probes of some files: run again")
    return rows
