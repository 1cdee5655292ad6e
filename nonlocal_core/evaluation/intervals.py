"""What a figure of a number of videos is worth: confidence intervals (95 %), and what guessing gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000


def wilson(num_right: int, num: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper end of the interval of a share of `num` videos.

    Source: Wilson 1927, the score interval without correction for continuity.
    """
    z, share = NormalDist().inv_cdf(0.5 + confidence / 2), num_right / num
    centre = (share + z**2 / (2 * num)) / (1 + z**2 / num)
    half = z / (1 + z**2 / num) * math.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    return (0.0 if num_right == 0 else centre - half), (1.0 if num_right == num else centre + half)


def guessing(num_by_label: Iterable[int]) -> float:
    """The share of right answers of who always says the most frequent label."""
    counts = list(num_by_label)
    return max(counts) / sum(counts)


def bootstrap(
    figure: Callable[[NDArray[np.int64]], float], num: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Lower and upper end of a figure over videos resampled with replacement; the draws are always the same.

    `figure` computes the figure of the videos with some row numbers, which may repeat.

    Source: Efron 1979, percentiles of 1000 resamples.
    """
    rng = np.random.default_rng(0)
    values = [figure(rng.integers(num, size=num)) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)
