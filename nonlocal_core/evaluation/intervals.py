"""Confidence intervals (95 %) of figures of a number of videos."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 1000


def wilson(num_right: int, num: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper end of the interval of a share of `num` videos.

    Source: Wilson 1927, the score interval without correction for continuity.
    """
    from scipy import stats  # takes more than a second to load, and a rerun computes none

    low, high = stats.binomtest(num_right, num).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


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
