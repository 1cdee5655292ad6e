"""Figures of a set of scored videos; fractions 0…1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""number of bins of confidence"""


class Bin(NamedTuple):
    """The videos whose best score is greater than `above`, up to and including that of the next bin."""

    above: float
    num: int
    confidence: float
    """mean of their best scores"""
    accuracy: float


def rank(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rank of each video's right class: how many classes come before it, 0 if it is first.

    Classes with the same score come before the right one: a network that scores all classes alike is never right.

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


def taken_for(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class that each video is taken for: of classes with the same score a wrong one, as in `rank`.

    Shape:  (N,)
    """
    others_NK = scores_NK.copy()
    np.put_along_axis(others_NK, label_N[:, None], -np.inf, axis=1)
    return np.where(rank(scores_NK, label_N) == 0, label_N, others_NK.argmax(axis=1))


def confusion(scores_NK: NDArray[np.float64], label_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each label (row) was taken for each class (column).

    Shape:  (K, K)
    """
    num_classes = scores_NK.shape[1]
    pairs = label_N * num_classes + taken_for(scores_NK, label_N)
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
    """The accuracy of the network beside its confidence, for each bin that has videos.

    Source: Guo et al. 2017, section 2.
    """
    confidence_N, is_right_N = scores_NK.max(axis=1), rank(scores_NK, label_N) == 0
    bin_N = np.clip(np.ceil(confidence_N * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return [
        Bin(number / BINS, int(in_bin.sum()), float(confidence_N[in_bin].mean()), float(is_right_N[in_bin].mean()))
        for number in range(BINS)
        if (in_bin := bin_N == number).any()
    ]


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: the mean difference of accuracy and confidence over all videos."""
    num = sum(entry.num for entry in bins)
    return sum(entry.num * abs(entry.accuracy - entry.confidence) for entry in bins) / num


def cross_entropy(logits_NK: NDArray[np.floating[Any]], label_N: NDArray[np.int64]) -> float:
    """The mean cross-entropy of some logits."""
    from scipy.special import log_softmax  # loads for a second

    return -float(np.mean(log_softmax(logits_NK, axis=1)[np.arange(len(label_N)), label_N]))
