"""Everything that is known of a registered run, read from its workspace; what is gone is left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.data.records import cache_table
from nonlocal_core.errors import DamagedError
from nonlocal_core.evaluation import metrics, score_table
from nonlocal_core.registry import find_entry, read
from nonlocal_core.registry.lineage import Step, lineage

Facts = dict[str, Any]


class Timing(NamedTuple):
    """How long a stage took, when, where and by which code."""

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
    decision: Facts
    """empty if the entry was not decided on"""
    evaluation: Evaluation
    labels: list[str]
    scored: pd.DataFrame | None
    """one row a video: video_id, label, label_id, scores; None if the evaluation's folder is gone"""
    metrics: Facts
    """the content of metrics.json, if there is one"""
    videos: pd.DataFrame | None
    """the cache's table; None if it is gone"""
    steps: list[Facts]
    """a line a training step"""
    epochs: list[Facts]
    lineage: list[Step]
    timings: list[Timing]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores of the videos that were scored."""
        assert self.scored is not None
        return np.asarray(np.stack(self.scored["scores"].to_list()), np.float64)

    @property
    def label_ids(self) -> NDArray[np.int64]:
        """Their label ids."""
        assert self.scored is not None
        return np.asarray(self.scored["label_id"], np.int64)

    @property
    def left_out(self) -> pd.DataFrame:
        """The videos of all splits that were not used, with their reasons."""
        if self.videos is None:
            return pd.DataFrame(columns=["video_id", "path", "label", "split", "status", "reason"])
        return self.videos[self.videos["status"] != "ok"]

    @property
    def cache(self) -> RecordCache:
        """The cache that was trained on."""
        return RecordCache.model_validate(self.entry["cache"])

    @property
    def coverage(self) -> str:
        """What stands beside every figure: how many videos it is of."""
        split = self.evaluation.protocol.split(",")[0]
        left = self.left_out
        quarantined = self.evaluation.num_videos - self.evaluation.num_scored
        counts = Counter(left[left["split"] == split]["status"])
        reasons = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        text = f"{self.evaluation.num_scored} of {self.evaluation.num_videos} videos scored"
        text = f"{text}, {quarantined} quarantined"
        return f"{text}: {reasons}" if reasons and quarantined else text


def gather(workspace: Workspace, name: str) -> Run:
    """What is known of an entry, named by its version or an alias.

    Raises: InputError if there is no such entry; DamagedError if the registry cannot be read.
    """
    version, entry = find_entry(workspace, name)
    evaluation = Evaluation.model_validate(entry["evaluation"])
    folder = workspace.path(evaluation)
    decision = read(workspace).decision(version)
    trained = workspace.root / Checkpoint.stage / str(entry["checkpoint"]["key"])
    return Run(
        version=version,
        entry=entry,
        decision=decision.model_dump() if decision else {},
        evaluation=evaluation,
        labels=sorted(entry["labels"], key=entry["labels"].__getitem__),
        scored=_rows(score_table.read, folder / Evaluation.SCORES),
        metrics=_json(folder / Evaluation.METRICS),
        videos=_rows(cache_table.read, workspace.root / str(entry["cache"]["path"]) / RecordCache.VIDEOS),
        steps=_lines(trained / Checkpoint.LOG),
        epochs=_lines(trained / Checkpoint.EPOCHS),
        lineage=lineage(workspace, version),
        timings=_timings(workspace, entry),
    )


def top(run: Run, k: int) -> float | None:
    """Share of the scored videos whose label is among the k best; None if the scores are gone."""
    return None if run.scored is None else metrics.topk(run.scores, run.label_ids, k)


def _timings(workspace: Workspace, entry: Facts) -> list[Timing]:
    """What was built when; nothing of stages whose folders are gone."""
    cached_as, learnt, scored = entry["cache"], entry["checkpoint"], entry["evaluation"]
    cache_made = _made(workspace, cached_as["path"])
    manifest = cache_made.get("manifest", {})
    trained = f"{Checkpoint.stage}/{learnt['key']}"
    rows: list[tuple[str, Facts, Facts]] = [
        ("index", manifest, _made(workspace, manifest.get("path", ""))),
        ("cache", cached_as, cache_made),
        ("train", learnt, _made(workspace, trained)),
        ("evaluate", scored, _made(workspace, scored["path"])),
    ]
    return [
        Timing(
            name,
            str(reference["key"]),
            made.get("seconds"),
            _speed(_lines(workspace.root / trained / Checkpoint.EPOCHS)) if name == "train" else "",
            *(str(made.get(part, "")) for part in ("created_at", "host", "code")),
        )
        for name, reference, made in rows
        if made
    ]


def _speed(epochs: list[Facts]) -> str:
    if not epochs:
        return ""
    speed, waits = (float(np.median([epoch[name] for epoch in epochs])) for name in ("clips_per_s", "waits"))
    return f"{speed:.1f} clips/s, {waits:.0%} of the time waiting for clips"


def _made(workspace: Workspace, path: str) -> Facts:
    """How an artifact was made; nothing if its folder is gone."""
    provenance: Facts = _json(workspace.root / path / ARTIFACT_FILE).get("provenance", {}) if path else {}
    return provenance


def _json(file: Path) -> Facts:
    try:
        content: Facts = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return content


def _lines(file: Path) -> list[Facts]:
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except (OSError, ValueError):
        return []


def _rows(read: Callable[[Path], pd.DataFrame], file: Path) -> pd.DataFrame | None:
    try:
        return read(file)
    except DamagedError:
        return None


def row_numbers(run: Run, video_ids: Sequence[str]) -> list[int]:
    """The rows of the cache's table that hold these videos."""
    assert run.videos is not None
    place = {video_id: number for number, video_id in enumerate(run.videos["video_id"])}
    return [place[video_id] for video_id in video_ids]
