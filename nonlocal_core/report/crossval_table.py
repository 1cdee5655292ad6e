"""The figures of a cross-validation: JSON and parquet for programs (fractions 0…1), Markdown for people.

predictions.parquet has one row for each video that a fold held out and scored:

fold, path, video_id, label    as the fold and the cache have them
predicted                      the label that it was taken for
score                          of that label (0…1)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nonlocal_core import __version__
from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.files import write_atomically, write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records import cache_table
from nonlocal_core.errors import InputError
from nonlocal_core.escaping import in_markdown
from nonlocal_core.evaluation import crossval, headline, intervals, metrics, score_table
from nonlocal_core.evaluation.crossval import Crossval, CrossvalRequest, ScoredFold
from nonlocal_core.report import markdown

VERSION = 1
_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("fold", pa.string()),
    ("path", pa.string()),
    ("video_id", pa.string()),
    ("label", pa.string()),
    ("predicted", pa.string()),
    ("score", pa.float64()),
]
SCHEMA = pa.schema(_COLUMNS, metadata={"nonlocal_core.crossval": "1"})


def make(scored: Sequence[ScoredFold], request: CrossvalRequest, workspace: Workspace) -> Crossval:
    """The figures of some folds, each scored on what it held out.

    Raises: DamagedError if the scores of a fold cannot be read.
    """
    inputs = [
        request.model_dump_json(),
        # The digest is that of the scores; the key also counts videos that could not be scored.
        *(f"{result.fold.name} {result.evaluation.key} {result.evaluation.digest}" for result in scored),
    ]
    key = key_of(Crossval.stage, VERSION, [], [*inputs, scored[0].evaluation.protocol])

    def build(folder: Path) -> Crossval:
        videos = [cache_table.read(workspace.path(result.cache) / RecordCache.VIDEOS) for result in scored]
        by_fold = [_predictions(result, rows, workspace) for result, rows in zip(scored, videos, strict=True)]
        predictions = pd.concat(by_fold, ignore_index=True)
        held_out = sum(int((rows["split"] == "val").sum()) for rows in videos)
        pooled = crossval.pooled(predictions, held_out)
        folds = [_fold(*each, workspace) for each in zip(scored, videos, by_fold, strict=True)]
        figures = {
            **pooled._asdict(),
            "is_better_than_guessing": pooled.interval[0] > pooled.guessing,
            **request.model_dump(mode="json"),
            "protocol": scored[0].evaluation.conditions,
            "labels": crossval.counts(predictions["label"]),
            "by_fold": folds,
            "version": __version__,
            "artifact": f"{Crossval.stage}/{key}",
        }
        tables.write(tables.to_arrow(predictions, SCHEMA), folder / Crossval.PREDICTIONS)
        write_json(folder / Crossval.FIGURES, figures)
        write_atomically(folder / Crossval.PAGE, _page(figures).encode())
        return Crossval(key=key, digest=digest_of(*inputs), path=f"{Crossval.stage}/{key}")

    provenance = {"folds": [result.model_dump(mode="json") for result in scored]}
    return workspace.build(Crossval, key, build, provenance)


def write(result: Crossval, seconds: dict[str, float], workspace: Workspace, out: Path) -> None:
    """Write the figures, and what the run took, to a person's file.

    Raises: InputError if it cannot be written.
    """
    figures = json.loads((workspace.path(result) / Crossval.FIGURES).read_bytes())
    try:
        write_json(out.expanduser(), {**figures, "seconds": seconds, "workspace": str(workspace.root)})
    except OSError as error:
        raise InputError(f"out={out} cannot be written: {error.strerror}") from None


def _predictions(result: ScoredFold, videos: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """What each scored video of a fold was taken for."""
    folder = workspace.path(result.evaluation)
    rows = score_table.read(folder / Evaluation.SCORES)
    labels = json.loads((folder / Evaluation.METRICS).read_bytes())["labels"]
    scores_NK = np.stack(rows["scores"].to_list())
    taken_N = metrics.taken_for(scores_NK, rows["label_id"].to_numpy(np.int64))
    path_of = dict(zip(videos["video_id"], videos["path"], strict=True))
    return pd.DataFrame(
        {
            "fold": result.fold.name,
            "path": rows["video_id"].map(path_of),
            "video_id": rows["video_id"],
            "label": rows["label"],
            "predicted": [labels[label_id] for label_id in taken_N],
            "score": scores_NK[np.arange(len(rows)), taken_N],
        }
    )


def _fold(
    result: ScoredFold, videos: pd.DataFrame, predictions: pd.DataFrame, workspace: Workspace
) -> dict[str, Any]:
    usable = videos[videos["status"] == "ok"]
    artifacts = (result.manifest, result.cache, result.checkpoint, result.evaluation)
    seconds = [workspace.provenance(artifact)["seconds"] for artifact in artifacts]
    return {
        "fold": result.fold.name,
        "train": crossval.counts(usable.loc[usable["split"] == "train", "label"]),
        "held_out": crossval.counts(usable.loc[usable["split"] == "val", "label"]),
        "num_videos": result.evaluation.num_videos,
        "num_scored": len(predictions),
        "num_correct": int((predictions["label"] == predictions["predicted"]).sum()),
        "top1": result.evaluation.top1,
        "top5": result.evaluation.top5,
        "guessing": intervals.guessing(predictions["label"].value_counts()),
        "seconds": round(sum(seconds), 1),
        "evaluation": result.evaluation.path,
    }


def _page(figures: dict[str, Any]) -> str:
    rows = [
        (fold["fold"], f"{fold['num_scored']} of {fold['num_videos']}", f"{fold['top1']:.2%}")
        for fold in figures["by_fold"]
    ]
    share = figures["num_correct"], figures["num_scored"]
    notes = [
        f"pooled top-1: {headline.top1(figures['top1'], share[1], figures['guessing'])}",
        f"mean of the folds: {figures['mean']:.2%}, standard deviation {figures['std']:.2%}",
        f"{share[0]} of {share[1]} right; {figures['num_videos']} videos are held out; in the interval: 95 %,"
        " by Wilson's formula",
        f"guessing is to say the most frequent label each time; labels: {_named(figures['labels'])}",
        f"protocol: {figures['protocol']}",
    ]
    if figures["num_repeated"]:
        notes.append(
            f"{figures['num_repeated']} videos are held out by more than one fold and count each time, so the"
            " interval is narrower than it should be"
        )
    table = markdown.table(["fold", "videos scored", "top-1"], rows)
    return "\n".join([table, "", *(f"- {in_markdown(note)}" for note in notes), ""])


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{label} {count}" for label, count in counts.items())
