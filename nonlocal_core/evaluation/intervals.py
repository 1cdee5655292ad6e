"""Confidence intervals (95 %) of figures of a number of videos."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000


def wilson(num_right: int, num: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper end of the interval of a share of `num` videos.

    Source: Wilson 1927, the score interval without correction for continuity.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = num_right / num
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * math.sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    return max(0.0, centre - half), min(1.0, centre + half)


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
