"""The facts about a registered run, read from its workspace; files that are gone are left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import read_checked_json, read_json_lines
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Manifest, Provenance, RecordCache, Reference
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace, check_file
from nonlocal_core.data.records import cache_table
from nonlocal_core.errors import DamagedError
from nonlocal_core.evaluation import score_table
from nonlocal_core.registry import Facts, find_entry, read
from nonlocal_core.registry.lineage import Step, lineage
from nonlocal_core.registry.state_file import Decision

T = TypeVar("T")
Line = dict[str, Any]
"""of a log"""


class _Provenance(Provenance):
    manifest: Manifest | None = None
    """manifest that a cache was made from"""
    inventory: tuple[str, ...] = ()
    """what index saw in the folder of the videos"""


class Timing(NamedTuple):
    """The duration, date, host and code version of a stage."""

    name: str
    key: str
    seconds: float | None
    """None: not measured"""
    speed: str
    created_at: str
    host: str
    code: str


class Run(NamedTuple):
    """A registered run."""

    version: str
    entry: Facts
    decision: Decision | None
    """None if the entry was not decided on"""
    evaluation: Evaluation
    labels: list[str]
    scored: pd.DataFrame | None
    """one row a video: video_id, label, label_id, scores; None if the evaluation's folder is gone"""
    metrics: dict[str, Any]
    """the content of metrics.json, if there is one"""
    videos: pd.DataFrame | None
    """the cache's table; None if it is gone"""
    steps: list[Line]
    """a line a training step"""
    epochs: list[Line]
    lineage: list[Step]
    timings: list[Timing]
    inventory: tuple[str, ...]
    """what index saw in the folder of the videos, in lines; empty if its manifest is gone"""

    @property
    def scores(self) -> NDArray[np.float64]:
        """The scores of the scored videos."""
        assert self.scored is not None
        return np.asarray(np.stack(self.scored["scores"].to_list()), np.float64)

    @property
    def label_ids(self) -> NDArray[np.int64]:
        """The label ids of the scored videos."""
        assert self.scored is not None
        return np.asarray(self.scored["label_id"], np.int64)

    @property
    def left_out(self) -> pd.DataFrame:
        """The videos of all splits that were not used, with their reasons."""
        if self.videos is None:
            return pd.DataFrame(columns=["video_id", "path", "label", "split", "status", "reason"])
        return self.videos[self.videos["status"] != "ok"]


def gather(workspace: Workspace, name: str) -> Run:
    """The facts about an entry, named by its version or an alias.

    Raises: InputError if there is no such entry; DamagedError if the registry cannot be read.
    """
    version, entry = find_entry(workspace, name)
    folder, trained = workspace.path(entry.evaluation), workspace.root / _trained(entry)
    return Run(
        version=version,
        entry=entry,
        decision=read(workspace).decision(version),
        evaluation=entry.evaluation,
        labels=entry.label_names,
        scored=_read_or(score_table.read, folder / Evaluation.SCORES, None),
        metrics=_json(folder / Evaluation.METRICS),
        videos=_read_or(cache_table.read, workspace.path(entry.cache) / RecordCache.VIDEOS, None),
        steps=_read_or(read_json_lines, trained / Checkpoint.LOG, []),
        epochs=_read_or(read_json_lines, trained / Checkpoint.EPOCHS, []),
        lineage=lineage(workspace, version),
        timings=_timings(workspace, entry),
        inventory=_inventory(workspace, entry),
    )


def _inventory(workspace: Workspace, entry: Facts) -> tuple[str, ...]:
    cached = _provenance(workspace, entry.cache.path)
    indexed = _provenance(workspace, cached.manifest.path) if cached and cached.manifest else None
    return indexed.inventory if indexed else ()


def _timings(workspace: Workspace, entry: Facts) -> list[Timing]:
    """The timings of the stages whose folders are still there."""
    cached = _provenance(workspace, entry.cache.path)
    manifest = cached.manifest if cached else None
    rows: list[tuple[Reference | None, _Provenance | None]] = [
        (manifest, _provenance(workspace, manifest.path) if manifest else None),
        (entry.cache, cached),
        (entry.checkpoint, _provenance(workspace, _trained(entry))),
        (entry.evaluation, _provenance(workspace, entry.evaluation.path)),
    ]
    speed = _speed(_read_or(read_json_lines, workspace.root / _trained(entry) / Checkpoint.EPOCHS, []))
    return [
        Timing(
            reference.stage,
            reference.key,
            artifact.seconds,
            speed if reference is entry.checkpoint else "",
            artifact.created_at,
            artifact.host,
            artifact.code,
        )
        for reference, artifact in rows
        if reference and artifact
    ]


def _trained(entry: Facts) -> str:
    """The folder in which an entry's weights were trained; its checkpoint may be another entry's."""
    return f"{Checkpoint.stage}/{entry.checkpoint.key}"


def _speed(epochs: list[Line]) -> str:
    if not epochs:
        return ""
    speed, waits = (float(np.median([epoch[name] for epoch in epochs])) for name in ("clips_per_s", "waits"))
    return f"{speed:.1f} clips/s, {waits:.0%} of the time waiting for clips"


def _provenance(workspace: Workspace, path: str) -> _Provenance | None:
    """How an artifact was made; None if its folder is gone."""
    file = workspace.root / path / ARTIFACT_FILE
    return _read_or(lambda file: _Provenance.model_validate(read_checked_json(file)["provenance"]), file, None)


def _json(file: Path) -> dict[str, Any]:
    return _read_or(lambda file: json.loads(file.read_bytes()), file, {})


def _read_or(read: Callable[[Path], T], file: Path, default: T) -> T:
    """The content of an artifact's file, or `default` if it is gone or damaged."""
    try:
        check_file(file)
        return read(file)
    except (OSError, ValueError, KeyError, DamagedError):
        return default


def row_numbers(run: Run, video_ids: Sequence[str]) -> list[int]:
    """The rows of the cache's table that hold these videos."""
    assert run.videos is not None
    place = {video_id: number for number, video_id in enumerate(run.videos["video_id"])}
    return [place[video_id] for video_id in video_ids]
