from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small import small_config

from nonlocal_core.errors import NonlocalError
from nonlocal_core.evaluation import crossval

# fold, video, label, what it was taken for
ROWS = [
    *[("a", f"a{i}", "run", "run") for i in range(3)], ("a", "a3", "sit", "run"),
    ("b", "b0", "run", "run"), ("b", "b1", "sit", "run"),
    ("c", "c0", "run", "run"), ("c", "c1", "sit", "sit"),
]  # fmt: skip


def predictions(rows):
    return pd.DataFrame(rows, columns=["fold", "video_id", "label", "predicted"])


def test_folds_are_pooled_and_their_spread_is_said():
    found = crossval.pooled(predictions(ROWS), num_videos=9)
    assert (found.num_correct, found.num_scored, found.num_videos, found.num_repeated) == (6, 8, 9, 0)
    assert (found.top1, found.guessing) == (6 / 8, 5 / 8)
    assert found.interval == pytest.approx((0.4093, 0.9285), abs=5e-5)  # R: prop.test(6, 8, correct = FALSE)
    assert found.mean == pytest.approx((0.75 + 0.5 + 1) / 3)
    assert found.std == pytest.approx(0.25)


def test_a_video_that_two_folds_hold_out_is_told():
    found = crossval.pooled(predictions([*ROWS, ("c", "a0", "run", "sit")]), num_videos=9)
    assert (found.num_correct, found.num_scored, found.num_repeated) == (6, 9, 1)


@pytest.mark.parametrize(
    ("settings", "out", "said"),
    [
        ({"evaluate__split": "test"}, None, "leave evaluate.split out"),
        ({"index__frozen_val": "nightly"}, None, "leave index.frozen_val out"),
        ({}, Path("figures.csv"), "out=figures.csv: name a file that ends with .json"),
        ({}, Path("/no/such/folder/figures.json"), "there is no such folder"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_starts(settings, out, said):
    with pytest.raises(NonlocalError, match=said):
        crossval.check(small_config(**settings), out)


def test_weights_that_are_chosen_by_the_held_out_videos_are_warned_of(caplog):
    crossval.check(small_config(), None)
    assert caplog.messages == []
    crossval.check(small_config(train__select="best"), None)
    assert "the figures are too good" in caplog.text
