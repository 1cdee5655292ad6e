"""What a person reads after an evaluation: one Markdown page beside the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nonlocal_core.artifacts import Evaluation, write_atomically
from nonlocal_core.evaluation import metrics

Scores = NDArray[np.float64]
Ids = NDArray[np.int64]

REPORT_FILE = "report.md"
MOST_CONFUSED = 10


def write(
    folder: Path, evaluation: Evaluation, labels: list[str], scored: pd.DataFrame, split: pd.DataFrame
) -> None:
    """Write the page: figures with their denominators, a row a label, confusions, and what was left out."""
    scores_NK = np.stack(scored["scores"].to_list())
    label_N = scored["label_id"].to_numpy(np.int64)
    left_out = split[split["status"] != "ok"]
    parts = [
        "# Evaluation",
        f"- Protocol: {evaluation.protocol}",
        f"- Scored: {evaluation.num_scored} of {evaluation.num_videos} videos, {len(left_out)} quarantined",
        f"- top-1: {evaluation.top1:.2%}",
        f"- top-5: {evaluation.top5:.2%}" + (" (of 5 labels or fewer)" if len(labels) <= 5 else ""),
        f"- Checkpoint and cache: see artifact.json beside this page, key {evaluation.key}",
        "## Labels",
        _table(_by_label(scores_NK, label_N, labels)),
        "## Most confused",
        _table(_confused(scores_NK, label_N, labels)),
        "## Quarantined",
        _table(left_out[["video_id", "label", "status", "reason"]]),
    ]
    write_atomically(folder / REPORT_FILE, ("\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n").encode())


def _by_label(scores_NK: Scores, label_N: Ids, labels: list[str]) -> pd.DataFrame:
    ranks = metrics.rank(scores_NK, label_N)
    rows = []
    for label_id, label in enumerate(labels):
        own = ranks[label_N == label_id]
        if len(own):
            rows.append((label, len(own), f"{np.mean(own < 1):.2%}", f"{np.mean(own < 5):.2%}"))
    table: pd.DataFrame = pd.DataFrame(rows, columns=["label", "videos", "top-1", "top-5"])
    return table


def _confused(scores_NK: Scores, label_N: Ids, labels: list[str]) -> pd.DataFrame:
    counts = metrics.confusion(scores_NK, label_N)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [np.unravel_index(place, counts.shape) for place in order if counts.flat[place]]
    rows = [(labels[right], labels[taken], counts[right, taken]) for right, taken in pairs]
    table: pd.DataFrame = pd.DataFrame(rows, columns=["label", "taken for", "videos"])
    return table


def _table(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "None."
    lines = ["| " + " | ".join(rows.columns) + " |", "|" + " --- |" * len(rows.columns)]
    cells = ([str(cell).replace("|", "\\|") for cell in row] for row in rows.itertuples(index=False))
    lines += ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(lines)
