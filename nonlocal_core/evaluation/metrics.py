"""Figures of a set of scored videos; fractions 0…1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
