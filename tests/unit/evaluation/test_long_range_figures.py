from __future__ import annotations

import numpy as np
import pytest

from nonlocal_core.config import long_range as plans
from nonlocal_core.evaluation import long_range

PLAN = plans.read()
NONE, BLOCKS, SPACE = PLAN.baseline, PLAN.blocks, PLAN.space


def test_a_gain_is_paired_by_seed() -> None:
    ours, others = [0.9, 0.95, 1.0, 0.85, 0.9], [0.5, 0.55, 0.5, 0.45, 0.6]
    found = long_range.gain(ours, others)
    difference = np.subtract(ours, others)
    half = 2.7764451052 * difference.std(ddof=1) / np.sqrt(5)  # Student's t of 4 degrees of freedom, 97.5 %
    assert found.mean == pytest.approx(0.4)
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))
    assert found.p_value is not None
    assert 0 < found.p_value < 0.001


def test_one_seed_has_no_interval_and_equal_gains_have_a_point() -> None:
    assert long_range.gain([0.9], [0.5]) == (pytest.approx(0.4), None, None, None)
    assert long_range.gain([1.0, 1.0], [0.5, 0.5]) == (0.5, 0.5, 0.5, None)


def all_met() -> dict[tuple[str, str], list[float]]:
    return {
        ("far", NONE): [0.5, 0.52, 0.48],
        ("far", BLOCKS): [1.0, 0.98, 0.95],
        ("far", SPACE): [0.51, 0.5, 0.49],
        ("near", NONE): [0.95, 0.97, 0.99],
        ("near", BLOCKS): [0.98, 0.99, 1.0],
        ("shuffled", BLOCKS): [0.5, 0.53, 0.49],
        ("motion", NONE): [0.95, 0.96, 0.97],
        ("motion", BLOCKS): [0.94, 0.95, 0.95],
    }


def test_all_bars_can_be_met() -> None:
    assert [bar.met for bar in long_range.bars(PLAN, all_met())] == [True] * 5


@pytest.mark.parametrize(
    ("bar", "key", "values"),
    [
        (0, ("far", BLOCKS), [0.69, 0.71, 0.67]),  # 19 points
        (0, ("far", BLOCKS), [1.0, 1.0, 0.3]),  # 27 points, of which nothing is sure
        (1, ("far", SPACE), [0.72, 0.73, 0.71]),
        (2, ("motion", BLOCKS), [0.9, 0.94, 0.97]),
        (3, ("near", NONE), [0.8, 0.9, 0.9]),
        (4, ("shuffled", BLOCKS), [0.7, 0.6, 0.6]),
    ],
)
def test_each_bar_can_be_missed(bar: int, key: tuple[str, str], values: list[float]) -> None:
    missed = [not found.met for found in long_range.bars(PLAN, all_met() | {key: values})]
    assert missed == [number == bar for number in range(5)]


def test_a_bar_without_its_rows_is_neither() -> None:
    found = long_range.bars(PLAN, {("far", NONE): [0.5], ("far", BLOCKS): [0.9]})
    assert [bar.met for bar in found] == [True, None, None, None, None]
    assert found[2].came_out == "not in this run"
