from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from nonlocal_core.artifacts import tables
from nonlocal_core.errors import DamagedError
from nonlocal_core.evaluation import score_table
from nonlocal_core.evaluation.comparison import RANKS, mcnemar, paired, ranks_of


def outcome(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Who is right on which video, with these counts."""
    one = np.repeat([True, True, False, False], [both, first, second, neither])
    other = np.repeat([True, False, True, False], [both, first, second, neither])
    order = np.random.default_rng(0).permutation(len(one))
    return one[order], other[order]


@pytest.mark.parametrize(
    ("first", "second", "p_value"),
    [
        (0, 0, 1.0),
        (1, 1, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 5, 2 / 32),
        (0, 6, 2 / 64),
        (1, 9, 2 * (1 + 10) / 1024),
        (9, 1, 2 * (1 + 10) / 1024),
    ],
)
def test_the_test_is_the_binomial_one_by_hand(first, second, p_value):
    found = mcnemar(*outcome(7, first, second, 3))
    assert (found.both, found.first_only, found.second_only, found.neither) == (7, first, second, 3)
    assert found.p_value == pytest.approx(p_value, abs=1e-15)


def test_the_test_is_scipys_for_all_small_counts_and_some_large_ones():
    binomtest = pytest.importorskip("scipy.stats").binomtest
    counts = [(first, second) for first in range(12) for second in range(12) if first + second]
    for first, second in [*counts, (59, 33), (86, 150), (4000, 4200), (9000, 9001)]:
        expected = binomtest(first, first + second, 0.5).pvalue
        assert mcnemar(*outcome(0, first, second, 0)).p_value == pytest.approx(expected, rel=1e-9), (first, second)


def test_a_table_of_a_textbook():
    """Approval of a prime minister, twice by the same 1600 people: 86 and 150 changed their minds.

    Source: Agresti, Categorical Data Analysis, table 10.1; z squared is 17.36 there (with z0 = -4.17).
    """
    found = mcnemar(*outcome(794, 150, 86, 570))
    assert found.num_videos == 1600
    assert (found.first_top1, found.second_top1) == (944 / 1600, 880 / 1600)
    z = (86 - 150) / math.sqrt(86 + 150)
    assert z**2 == pytest.approx(17.36, abs=0.01)
    # The chi-square approximation with a correction for continuity is close to the exact value.
    approximate = math.erfc((abs(86 - 150) - 1) / math.sqrt(86 + 150) / math.sqrt(2))
    assert found.p_value == pytest.approx(approximate, rel=0.15)
    assert found.p_value == pytest.approx(3.716e-05, rel=1e-3)  # R's binom.test(86, 236)


def test_only_videos_that_both_scored_are_paired_whatever_their_order():
    first = pd.DataFrame({"video_id": ["a", "b", "c", "d"], "rank": [0, 0, 1, 0]})
    second = pd.DataFrame({"video_id": ["e", "d", "c", "b"], "rank": [0, 2, 0, 0]})
    found = paired(first, second)
    assert found == (1, 1, 1, 0, 1.0)
    assert (found.num_videos, found.first_top1, found.second_top1) == (3, 2 / 3, 2 / 3)
    assert paired(first, second[:1]).num_videos == 0


def test_ranks_are_read_from_scores(tmp_path):
    scores = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.3, 0.3, 0.4]]
    rows = pd.DataFrame({"video_id": ["x", "y", "z"], "label": "falls", "label_id": [1, 2, 0], "scores": scores})
    score_table.write(rows, tmp_path / "scores.parquet")
    table = ranks_of(tmp_path / "scores.parquet")
    assert table.to_pydict() == {"video_id": ["x", "y", "z"], "label_id": [1, 2, 0], "rank": [0, 2, 2]}
    tables.write(table, tmp_path / "ranks.parquet")
    assert tables.read(tmp_path / "ranks.parquet", RANKS, "").equals(table)
    with pytest.raises(DamagedError):
        tables.read(tmp_path / "scores.parquet", RANKS, "")
