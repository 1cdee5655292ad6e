"""Which views of a video are scored, and how their logits become the scores of the video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread(last: int, count: int) -> list[int]:
    """`count` whole numbers from 0 to `last`, evenly spread; one alone lies in the middle.

    They are rounded in whole numbers, halves up: no platform can round another way.
    """
    if count == 1:
        return [last // 2]
    steps = count - 1
    return [(2 * last * i + steps) // (2 * steps) for i in range(count)]


def softmax(logits_VK: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of each view.

    Shape:  (V, K), each row sums to 1.
    """
    shifted = logits_VK.astype(np.float64) - logits_VK.max(axis=1, keepdims=True)
    exponential = np.exp(shifted)
    return np.asarray(exponential / exponential.sum(axis=1, keepdims=True), dtype=np.float64)


def average(logits_VK: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of a video: the mean of its views' scores.

    Shape:  (K,), sums to 1.
    Source: Wang et al. 2018, section 4.1, Inference.
    """
    return np.asarray(softmax(logits_VK).mean(axis=0), dtype=np.float64)
