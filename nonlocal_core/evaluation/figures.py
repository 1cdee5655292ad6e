"""All figures of a set of scored videos, as `metrics.json` has them; fractions 0…1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nonlocal_core.evaluation import intervals, metrics

KS = (1, 5)
MOST_CONFUSED = 10
WORST = 20

Figures = dict[str, Any]
Ids = NDArray[np.int64]


def figures(scored: pd.DataFrame, labels: list[str], ks: Sequence[int] = KS) -> Figures:
    """The figures of some videos; each row of `scored` has a label id and scores.

    `labels`       all labels, in the order of their ids
    `guessing`     top-1 of who always says the most frequent label of these videos
    `top`          for each k: the share, its Wilson interval, its bootstrap interval
    `calibration`  a list of `metrics.Bin`; `ece` is the expected calibration error
    `by_label`     for each label that has videos: their number, top-k, the Wilson interval of the first k
    `confusion`    rows of label id, id that it was taken for, number of videos; without zeros
    `confused`     the most frequent mistakes, by name
    """
    scores_NK = np.stack(scored["scores"].to_list())
    label_N = scored["label_id"].to_numpy(np.int64)
    rank_N, loss_N = metrics.rank(scores_NK, label_N), metrics.losses(scores_NK, label_N)
    is_right_N = rank_N == 0
    num, counts_KK = len(label_N), metrics.confusion(scores_NK, label_N)
    bins = metrics.calibration(scores_NK, label_N)
    return {
        "num_scored": num,
        "labels": labels,
        "guessing": intervals.guessing(np.bincount(label_N).tolist()),
        "top": {str(k): _share(rank_N < k) for k in ks},
        "mean_class_accuracy": metrics.mean_class_accuracy(is_right_N, label_N),
        "mean_class_accuracy_bootstrap": intervals.bootstrap(
            lambda drawn: metrics.mean_class_accuracy(is_right_N[drawn], label_N[drawn]), num
        ),
        "loss": float(loss_N.mean()),
        "loss_bootstrap": intervals.bootstrap(lambda drawn: float(loss_N[drawn].mean()), num),
        "ece": metrics.calibration_error(bins),
        "calibration": [entry._asdict() for entry in bins],
        "by_label": _by_label(rank_N, label_N, labels, ks),
        "confusion": [
            [int(right), int(predicted), int(counts_KK[right, predicted])]
            for right, predicted in zip(*np.nonzero(counts_KK), strict=True)
        ],
        "confused": _confused(counts_KK, labels),
    }


def worst(scored: pd.DataFrame, labels: list[str], paths: dict[str, str]) -> list[dict[str, Any]]:
    """The wrongly classified videos with the greatest loss, with their paths."""
    scores_NK = np.stack(scored["scores"].to_list())
    label_N = scored["label_id"].to_numpy(np.int64)
    loss_N, taken_N = metrics.losses(scores_NK, label_N), metrics.taken_for(scores_NK, label_N)
    order = [i for i in np.argsort(-loss_N, kind="stable") if taken_N[i] != label_N[i]][:WORST]
    return [
        {
            "video_id": str(scored["video_id"].iloc[i]),
            "path": paths[scored["video_id"].iloc[i]],
            "label": labels[label_N[i]],
            "score": float(scores_NK[i, label_N[i]]),
            "taken_for": labels[taken_N[i]],
            "other_score": float(scores_NK[i].max()),
            "loss": float(loss_N[i]),
        }
        for i in order
    ]


def left_out(split: pd.DataFrame) -> dict[str, int]:
    """How many videos of a split were not scored, by their status."""
    counts = split.loc[split["status"] != "ok", "status"].value_counts().sort_index()
    return {str(status): int(count) for status, count in counts.items()}


def coverage(num_scored: int, split: pd.DataFrame) -> str:
    """The videos behind the figures: 7 of 10 videos scored, 3 quarantined: 1 empty, 2 unreadable."""
    reasons = left_out(split)
    listed = ", ".join(f"{count} {status}" for status, count in reasons.items())
    scored = f"{num_scored} of {len(split)} videos scored, {sum(reasons.values())} quarantined"
    return f"{scored}: {listed}" if listed else scored


def _share(is_right_N: NDArray[np.bool_]) -> Figures:
    num = len(is_right_N)
    return {
        "value": float(is_right_N.mean()),
        "wilson": intervals.wilson(int(is_right_N.sum()), num),
        "bootstrap": intervals.bootstrap(lambda drawn: float(is_right_N[drawn].mean()), num),
    }


def _by_label(rank_N: Ids, label_N: Ids, labels: list[str], ks: Sequence[int]) -> list[Figures]:
    rows = []
    for label_id in np.unique(label_N).tolist():
        ranks = rank_N[label_N == label_id]
        row = {"label": labels[label_id], "num": len(ranks), **{f"top{k}": float(np.mean(ranks < k)) for k in ks}}
        rows.append({**row, "wilson": intervals.wilson(int((ranks < ks[0]).sum()), len(ranks))})
    return rows


def _confused(counts_KK: Ids, labels: list[str]) -> list[Figures]:
    wrong_KK = counts_KK.copy()
    np.fill_diagonal(wrong_KK, 0)
    order = np.argsort(-wrong_KK, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [np.unravel_index(place, wrong_KK.shape) for place in order if wrong_KK.flat[place]]
    return [
        {"label": labels[right], "taken_for": labels[predicted], "num": int(wrong_KK[right, predicted])}
        for right, predicted in pairs
    ]
