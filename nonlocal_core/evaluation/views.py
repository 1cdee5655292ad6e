"""From the logits of views to the scores of a video."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
