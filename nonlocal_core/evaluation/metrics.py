"""Figures of a set of scored videos; fractions 0…1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""of confidence"""


class Bin(NamedTuple):
    """The videos whose best score lies above `above` and not above the next bin's."""

    above: float
    num: int
    confidence: float
    """mean of their best scores"""
    accuracy: float


def rank(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes come before the right one, 0 if it is first.

    Classes with the same score as the right one come before it: a network that says the same of every class is
    right nowhere.

    Shape:  (N,)
    Raises: ValueError if a score is not finite.
    """
    if not np.isfinite(scores_NK).all():
        raise ValueError("a score is not finite")
    right_N1 = np.take_along_axis(scores_NK, label_N[:, None], axis=1)
    return np.asarray((scores_NK >= right_N1).sum(axis=1) - 1, dtype=np.int64)


def topk(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64], k: int) -> float:
    """Share of the videos whose label is among their k best classes."""
    return float(np.mean(rank(scores_NK, label_N) < k))


def confusion(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each label (row) was taken for each class (column).

    Shape:  (K, K)
    """
    num_classes = scores_NK.shape[1]
    pairs = label_N * num_classes + scores_NK.argmax(axis=1)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def losses(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """The negative logarithm of each video's score for its label.

    Shape:  (N,)
    """
    right_N = np.take_along_axis(scores_NK, label_N[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.maximum(right_N, np.finfo(np.float64).tiny)))


def mean_class_accuracy(is_right_N: NDArray[np.bool_], label_N: NDArray[np.int64]) -> float:
    """The mean of the labels' accuracies, over the labels that have videos."""
    num_K = np.bincount(label_N)
    right_K = np.bincount(label_N, weights=is_right_N)
    return float(np.mean(right_K[num_K > 0] / num_K[num_K > 0]))


def calibration(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> list[Bin]:
    """How often the network is right beside how sure it is, for each bin of confidence that has videos.

    Source: Guo et al. 2017, section 2.
    """
    sure_N, is_right_N = scores_NK.max(axis=1), rank(scores_NK, label_N) == 0
    bin_N = np.clip(np.ceil(sure_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return [
        Bin(number / BINS, int(own.sum()), float(sure_N[own].mean()), float(is_right_N[own].mean()))
        for number in range(BINS)
        if (own := bin_N == number).any()
    ]


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: the mean distance of accuracy and confidence over all videos."""
    num = sum(one.num for one in bins)
    return sum(one.num * abs(one.accuracy - one.confidence) for one in bins) / num
