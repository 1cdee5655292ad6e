from __future__ import annotations

import pytest

from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.evaluation import headline


@pytest.mark.parametrize(
    ("right", "num", "guessing", "said"),
    [
        # The interval of 27 of 44 is 46.6 to 74.3 %: R's prop.test(27, 44, correct = FALSE).
        (27, 44, 0.5, "61.4 % of 44, 46.6–74.3 %, guessing 50 %: not better than guessing"),
        (27, 44, 0.8, "61.4 % of 44, 46.6–74.3 %, guessing 80 %: not better than guessing"),
        (27, 44, 0.46, "61.4 % of 44, 46.6–74.3 %, guessing 46 %"),
        (83, 83, 10 / 83, "100.0 % of 83, 95.6–100.0 %, guessing 12 %"),
        (0, 9, 1 / 3, "0.0 % of 9, 0.0–29.9 %, guessing 33.3 %: not better than guessing"),
        (8, 16, None, "50.0 % of 16, 28.0–72.0 %"),
    ],
)
def test_top1_is_said_with_its_interval_beside_guessing(right, num, guessing, said):
    assert headline.top1(right / num, num, guessing) == said


@pytest.mark.parametrize(("num_labels", "names"), [(2, ["top-1"]), (5, ["top-1"]), (6, ["top-1", "top-5"])])
def test_top5_of_five_labels_is_no_headline(num_labels, names):
    evaluation = Evaluation(
        key="k", digest="d", path="evaluate/k", split="val", protocol="val", split_digest="s", top1=0.5, top5=0.75,
        num_scored=8, num_videos=8, num_labels=num_labels, guessing=0.25,
    )  # fmt: skip
    assert [*headline.of(evaluation)] == names
    assert headline.of(evaluation).get("top-5", "75.0 %") == "75.0 %"


def test_what_an_earlier_version_scored_is_shown_as_far_as_it_is_known():
    evaluation = Evaluation(
        key="k", digest="d", path="evaluate/k", split="val", protocol="val", split_digest="s", top1=0.5, top5=0.75,
        num_scored=16, num_videos=16,
    )  # fmt: skip
    assert headline.of(evaluation) == {"top-1": "50.0 % of 16, 28.0–72.0 %", "top-5": "75.0 %"}
