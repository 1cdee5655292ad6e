from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_core.evaluation import metrics


def topk_by_hand(scores, labels, k):
    """A video counts if fewer than k other classes score as much as its own."""
    right = 0
    for row, label in zip(scores, labels, strict=True):
        others = [score for number, score in enumerate(row) if number != label and score >= row[label]]
        right += len(others) < k
    return right / len(labels)


few_values = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
cases = st.integers(1, 7).flatmap(
    lambda k: st.lists(
        st.tuples(st.lists(few_values, min_size=k, max_size=k), st.integers(0, k - 1)), min_size=1, max_size=9
    )
)


@given(cases, st.integers(1, 8))
def test_topk_is_what_counting_gives(rows, k):
    scores, labels = [list(part) for part in zip(*rows, strict=True)]
    assert metrics.topk(np.array(scores), np.array(labels), k) == pytest.approx(topk_by_hand(scores, labels, k))


@given(cases)
def test_confusion_counts_every_video_once(rows):
    scores, labels = [list(part) for part in zip(*rows, strict=True)]
    counts = metrics.confusion(np.array(scores), np.array(labels))
    expected = np.zeros_like(counts)
    for row, label in zip(scores, labels, strict=True):
        best = [number for number, score in enumerate(row) if score == max(row)]
        expected[label, next((number for number in best if number != label), label)] += 1
    np.testing.assert_array_equal(counts, expected)


@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from([0.1, 0.3, 0.6]), min_size=4, max_size=4), st.integers(0, 3)),
        min_size=1,
    )
)
def test_ties_count_alike_for_top1_and_confusion(rows):
    """The diagonal is top-1, and no video is taken for a class that is not among the best."""
    scores_NK, label_N = np.array([scores for scores, _ in rows]), np.array([label for _, label in rows])
    counts_KK = metrics.confusion(scores_NK, label_N)
    assert counts_KK.trace() == round(metrics.topk(scores_NK, label_N, 1) * len(rows))
    assert counts_KK.sum(axis=1).tolist() == np.bincount(label_N, minlength=4).tolist()
    taken_N = metrics.taken_for(scores_NK, label_N)
    assert all(scores[taken] == max(scores) for (scores, _), taken in zip(rows, taken_N, strict=True))


def test_a_network_that_says_the_same_of_all_classes_is_right_nowhere():
    assert metrics.topk(np.full((8, 10), 0.1), np.arange(8), 1) == 0.0
    assert metrics.topk(np.full((8, 10), 0.1), np.arange(8), 5) == 0.0
    assert metrics.rank(np.full((1, 10), 0.1), np.array([3])).tolist() == [9]


def test_top5_of_fewer_classes_is_everything():
    scores = np.random.default_rng(0).random((20, 4))
    assert metrics.topk(scores, np.arange(20) % 4, 5) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused(bad):
    scores = np.full((2, 3), 0.5)
    scores[1, 2] = bad
    with pytest.raises(ValueError, match="not finite"):
        metrics.topk(scores, np.array([0, 1]), 1)


def test_the_loss_is_the_log_of_the_right_score():
    scores = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1.0, 0.0, 0.0]])
    found = metrics.losses(scores, np.array([0, 2, 1]))
    assert found[0] == pytest.approx(math.log(2))
    assert found[1] == pytest.approx(math.log(10))
    assert 700 < found[2] < 750, "a score of 0 is no infinite loss"


def test_the_mean_class_accuracy_counts_each_label_that_has_videos_once():
    label = np.array([0] * 8 + [1] * 2 + [3])
    is_right = np.array([True] * 6 + [False] * 2 + [True, False] + [False])
    assert metrics.mean_class_accuracy(is_right, label) == pytest.approx((6 / 8 + 1 / 2 + 0) / 3)


def test_the_calibration_error_by_hand():
    """Three bins of fifteenths: (5/15, 6/15], (9/15, 10/15] and the last one."""
    sure = [0.35, 0.40, 0.62, 10 / 15, 0.98]
    right = [True, False, True, True, False]
    scores = np.array([[one, *[(1 - one) / 4] * 4] for one in sure])
    bins = metrics.calibration(scores, np.array([0 if one else 1 for one in right]))
    assert [one.num for one in bins] == [2, 2, 1]
    assert [one.above for one in bins] == pytest.approx([5 / 15, 9 / 15, 14 / 15])
    assert [one.accuracy for one in bins] == [0.5, 1.0, 0.0]
    assert [one.confidence for one in bins] == pytest.approx([0.375, (0.62 + 10 / 15) / 2, 0.98])
    by_hand = (2 * abs(0.5 - 0.375) + 2 * abs(1 - (0.62 + 10 / 15) / 2) + 0.98) / 5
    assert metrics.calibration_error(bins) == pytest.approx(by_hand)


def test_a_network_that_is_always_sure_and_right_is_calibrated():
    assert metrics.calibration_error(metrics.calibration(np.eye(4), np.arange(4))) == 0.0
    assert metrics.calibration_error(metrics.calibration(np.eye(4), (np.arange(4) + 1) % 4)) == 1.0
