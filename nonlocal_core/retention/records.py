"""The stores of frames and activations: shards in which no cache or features need anything are dropped."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from nonlocal_core.artifacts.references import Features, RecordCache
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace, read_artifact
from nonlocal_core.data.records import cache_plan, cache_table, kept_features, store
from nonlocal_core.data.records.shard_writer import Record, write_shard
from nonlocal_core.errors import DamagedError

DEAD_SHARE = 0.5
"""a shard with this share of dead bytes is copied without them; below it, that costs more than it frees"""


class Needs(NamedTuple):
    """What a cache, or kept features, need of a store."""

    folder: Path
    store: str
    finished: bool
    sha256: frozenset[str]
    shards: frozenset[str]
    """that it may still be building"""


class Verdict(NamedTuple):
    """What pruning does with a store."""

    dropped: list[str]
    """shards in which nothing is needed"""
    copied: dict[str, pd.DataFrame]
    """shards that are replaced by a copy of these of their rows"""
    stray: list[Path]
    """files of shards that are not complete"""
    freed: int
    """bytes"""
    held: int
    """bytes that nobody needs in shards that stay as they are"""
    tried_again: int
    """videos"""


def prune(workspace: Workspace, *, really: bool, unneeded: Collection[Path] = ()) -> Iterator[str]:
    """What is dropped and what is kept, line by line; caches and features in the folders `unneeded` need nothing.

    Raises: DamagedError if it cannot be known what a cache needs, or a record that is to be copied is damaged.
    """
    places = (workspace.root / top for top in (store.FOLDER, kept_features.FOLDER))
    for folder in itertools.chain.from_iterable(sorted(place.glob("*/")) for place in places):
        with workspace.locked(f"{folder.parent.name}-{folder.name}"):
            needs = [
                need for need in _needs(workspace, unneeded) if need.store == f"{folder.parent.name}/{folder.name}"
            ]
            rows = store.scan(folder)
            verdict = _judge(folder, rows, needs)
            if really:
                _apply(folder, verdict)
                if not needs:
                    shutil.rmtree(folder)
        yield from _lines_of(folder, verdict, needs, really=really)


def _needs(workspace: Workspace, unneeded: Collection[Path]) -> list[Needs]:
    needs = []
    for folder in sorted((workspace.root / RecordCache.stage).glob("*/")):
        plan = folder / cache_plan.FILE
        if folder in unneeded:
            continue
        if (folder / ARTIFACT_FILE).exists():
            cache, _ = read_artifact(RecordCache, folder)
            names = store.names(cache_table.read(folder / RecordCache.VIDEOS, ["sha256", "pixel_aspect"]))
            needs.append(Needs(folder, cache.records, True, frozenset(names), frozenset()))
        elif plan.exists():
            rows = cache_plan.read(plan)
            for name, part in rows.groupby("store"):
                contents = frozenset(store.names(part)), frozenset(part["shard"])
                needs.append(Needs(folder, f"{store.FOLDER}/{name}", False, *contents))
    for file in sorted((workspace.root / Features.stage).glob(f"*/{ARTIFACT_FILE}")):
        if file.parent in unneeded:
            continue
        features, _ = read_artifact(Features, file.parent)
        looked_at = frozenset(kept_features.contents_of(file.parent / Features.VIDEOS))
        needs.append(Needs(file.parent, features.activations, True, looked_at, frozenset()))
    for file in sorted((workspace.root / Features.stage).glob(f"*/{Features.PLAN}")):
        if file.parent not in unneeded:
            name, wanted = kept_features.read_plan(file)
            place = f"{kept_features.FOLDER}/{name}"
            needs.append(Needs(file.parent, place, False, frozenset(wanted), frozenset()))
    return needs


def _judge(folder: Path, rows: pd.DataFrame, needs: list[Needs]) -> Verdict:
    needed = {sha256 for need in needs for sha256 in need.sha256}
    unfinished = {sha256 for need in needs for sha256 in need.sha256 if not need.finished}
    given_up = (rows["status"] == store.GIVEN_UP) & ~rows["sha256"].isin(unfinished)
    counts = rows.index.isin(store.deduplicate(rows).index) & rows["sha256"].isin(needed)
    # A record without frames weighs one byte, so that a shard of nothing else has a share too.
    rows = rows.assign(given_up=given_up, live=counts & ~given_up, weight=rows["num_bytes"] + 1)
    dropped, copied, freed, held = [], {}, 0, 0
    for shard, part in rows.groupby("shard"):
        live, dead = part[part["live"]], part[~part["live"]]
        if dead.empty:
            continue
        num_bytes = int(dead["num_bytes"].sum())
        if live.empty:
            dropped.append(str(shard))
        elif dead["given_up"].any() or dead["weight"].sum() >= DEAD_SHARE * part["weight"].sum():
            copied[str(shard)] = live
        else:
            held, num_bytes = held + num_bytes, 0
        freed += num_bytes
    stems = {
        Path(kept_features.TRUNK_FILE).stem,
        *rows["shard"],
        *(shard for need in needs for shard in need.shards),
    }
    stray = [file for file in folder.iterdir() if file.name.split(".")[0].removeprefix("shard-") not in stems]
    freed += sum(file.stat().st_size for file in stray)
    return Verdict(dropped, copied, stray, freed, held, rows.loc[given_up, "sha256"].nunique())


def _apply(folder: Path, verdict: Verdict) -> None:
    for shard, rows in verdict.copied.items():
        # A reader that misses the old shard looks again, and finds the new one.
        records = _records(store.Shard(folder, shard), rows)
        write_shard(folder, store.shard_id(rows["sha256"]), records, store.engine_of(folder, shard))
    for shard in (*verdict.dropped, *verdict.copied):
        bin_path, table_path = store.paths(folder, shard)
        table_path.unlink()  # first: without it, the shard does not exist
        bin_path.unlink()
    for file in verdict.stray:
        file.unlink()


def _records(shard: store.Shard, rows: pd.DataFrame) -> Iterator[Record]:
    """Records as they are.  Each frame's checksum is looked at: no damage gets a checksum of its own."""
    for row in rows.to_dict("records"):
        number = int(row["row"])
        try:
            frames = shard.jpegs(number, np.arange(shard.num_stored(number)))
        except DamagedError as error:
            raise shard.damaged(f"with sha256 {row['sha256']}", str(error)) from None
        size = int(row["num_frames"]), int(row["height"]), int(row["width"])
        yield Record(str(row["sha256"]), str(row["status"]), str(row["reason"]), *size, frames)


def _lines_of(folder: Path, verdict: Verdict, needs: list[Needs], *, really: bool) -> Iterator[str]:
    does = "freed" if really else "would free"
    dropped, copied, stray = len(verdict.dropped), len(verdict.copied), len(verdict.stray)
    yield f"{folder.parent.name}/{folder.name}: " + (
        f"{does} {store.gigabytes(verdict.freed)}: {dropped} shards in which nothing is needed, the dead records"
        f" of {copied}, {stray} files of unfinished shards"
        if dropped or copied or stray
        else "nothing to free"
    )
    if verdict.tried_again:
        yield f"  {verdict.tried_again} videos that crashed or hung the decoder: the next run tries them again"
    for need in needs:
        state = "" if need.finished else ", unfinished"
        yield f"  kept for {need.folder.parent.name}/{need.folder.name}: {len(need.sha256):,} contents{state}"
    if verdict.held:
        yield f"  kept beside them: {store.gigabytes(verdict.held)} of dead records, in shards with few of them"
