from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nonlocal_core.evaluation import intervals


@pytest.mark.parametrize(
    ("num_right", "num", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(num_right, num, low, high):
    """Newcombe 1998, table I, method 3."""
    assert intervals.wilson(num_right, num) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("num_right", "num"), [(0, 1), (1, 1), (3, 7), (7, 7), (1234, 19881)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_scipy(num_right, num, confidence):
    other = stats.binomtest(num_right, num).proportion_ci(confidence, method="wilson")
    assert intervals.wilson(num_right, num, confidence) == pytest.approx((other.low, other.high), abs=1e-12)


def test_guessing_is_the_share_of_the_most_frequent_label():
    assert intervals.guessing([3, 0, 5, 2]) == 0.5
    assert intervals.guessing(np.bincount([1, 1, 1])) == 1.0


def test_the_bootstrap_of_a_mean_is_nearly_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = intervals.bootstrap(lambda drawn: float(values[drawn].mean()), len(values))
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)
    other = stats.bootstrap((values,), np.mean, n_resamples=1000, method="percentile", random_state=0)
    assert (low, high) == pytest.approx(tuple(other.confidence_interval), abs=0.15 * half)


def test_the_bootstrap_is_the_same_every_time():
    values = np.arange(50.0)
    first, second = (intervals.bootstrap(lambda drawn: float(values[drawn].mean()), 50) for _ in range(2))
    assert first == second
    assert first[0] < 24.5 < first[1]
