from __future__ import annotations

import math

import numpy as np
import pytest

from nonlocal_core.evaluation import views


def test_the_scores_of_a_video_are_the_mean_of_its_views_scores():
    logits = np.random.default_rng(0).normal(0, 3, (6, 5)).astype(np.float32)
    expected = [0.0] * 5
    for row in logits.astype(float):
        total = math.fsum(math.exp(value) for value in row)
        expected = [mean + math.exp(value) / total / 6 for mean, value in zip(expected, row, strict=True)]
    scores = views.average(logits)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_the_mean_is_taken_after_softmax():
    """One sure view does not outweigh two that agree."""
    logits = np.array([[50, 0], [0, 1], [0, 1]], np.float32)
    assert views.average(logits)[0] == pytest.approx((1 + 2 / (1 + math.e)) / 3)
    assert views.softmax(logits.mean(0, keepdims=True))[0, 0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("value", [1e4, -1e4, 3e38])
def test_large_logits_do_not_overflow(value):
    scores = views.softmax(np.array([[value, value, 0]], np.float32))
    assert np.isfinite(scores).all()
    assert scores.sum() == pytest.approx(1)
