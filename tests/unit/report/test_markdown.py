from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.evaluation import figures
from nonlocal_core.report import markdown

LABELS = ["jump | run", "sit", "übt 視", "unseen"]


@pytest.fixture
def found():
    """The figures of four videos, and their split."""
    scored = pd.DataFrame(
        {
            "video_id": ["a", "b", "c", "d"],
            "label": [LABELS[0], LABELS[0], "sit", LABELS[2]],
            "label_id": [0, 0, 1, 2],
            "scores": [[0.7, 0.1, 0.1, 0.1], [0.2, 0.5, 0.2, 0.1], [0.1, 0.8, 0.1, 0.0], [0.6, 0.1, 0.3, 0.0]],
        }
    )
    split = pd.DataFrame(
        {
            "video_id": ["a", "b", "c", "d", "sit/x|y.mp4", "f", "g"],
            "label": [LABELS[0], LABELS[0], "sit", LABELS[2], "sit", "sit", "sit"],
            "status": ["ok"] * 4 + ["unreadable", "empty", "unreadable"],
            "reason": [""] * 4 + ["damaged: cut short", "empty file", "text"],
        }
    )
    made = figures.figures(scored, LABELS)
    made["worst"] = figures.worst(scored, LABELS, {name: f"/videos/{name}.mp4" for name in "abcd"})
    return made, split


@pytest.fixture
def page(found, tmp_path):
    made, split = found
    evaluation = Evaluation(
        key="k", digest="d", path="evaluate/k", split="val", protocol="val, 10 clips", split_digest="s",
        top1=0.5, top5=1.0, num_scored=4, num_videos=7, coverage=figures.coverage(4, split),
    )  # fmt: skip
    markdown.write(tmp_path, evaluation, made, split)
    return (tmp_path / Evaluation.REPORT).read_text()


def rows_of(page, heading):
    lines = page.partition(f"## {heading}\n\n")[2].partition("\n\n## ")[0].strip().splitlines()
    return lines[2:] if lines[0].startswith("|") else lines


def test_figures_have_their_denominators(page):
    assert "- 4 of 7 videos scored, 3 quarantined: 1 empty, 2 unreadable\n" in page
    assert "- top-1: 50.0 % of 4, 15.0–85.0 %, guessing 50 %: not better than guessing\n" in page
    assert "- top-5" not in page, "there are four labels"
    assert "- mean class accuracy: 50.00% (0.00% to 100.00%, of 3 labels with videos)\n" in page
    assert "- Protocol: val, 10 clips, frames not recorded by the earlier version that scored\n" in page


def test_loss_and_calibration_are_those_of_the_scores(found, page):
    loss = -sum(math.log(score) for score in (0.7, 0.2, 0.8, 0.3)) / 4
    error = (abs(1 - 0.7) + abs(0 - 0.5) + abs(1 - 0.8) + abs(0 - 0.6)) / 4
    assert found[0]["loss"] == pytest.approx(loss)
    assert found[0]["ece"] == pytest.approx(error)
    assert f"- loss: {loss:.3f} (" in page
    assert f"- calibration error (ECE): {error:.2%}\n" in page
    assert rows_of(page, "Calibration")[-1] == "| 73.3% | 1 | 80.00% | 100.00% |"


def test_the_worst_videos_are_named_with_their_path(page):
    assert rows_of(page, "Worst videos") == [
        "| /videos/b.mp4 | jump \\| run | 0.200 | sit | 0.500 |",
        "| /videos/d.mp4 | übt 視 | 0.300 | jump \\| run | 0.600 |",
    ]


def test_the_confusion_matrix_is_whole(found):
    assert found[0]["confusion"] == [[0, 0, 1], [0, 1, 1], [1, 1, 1], [2, 0, 1]]
    assert json.loads(json.dumps(found[0])) is not None


def test_every_label_that_was_scored_has_a_row_with_its_count(page):
    assert rows_of(page, "Labels") == [
        "| jump \\| run | 2 | 50.00% | 100.00% | 9.45% to 90.55% |",
        "| sit | 1 | 100.00% | 100.00% | 20.65% to 100.00% |",
        "| übt 視 | 1 | 0.00% | 100.00% | 0.00% to 79.35% |",
    ]


def test_confusions_say_what_was_taken_for_what(page):
    assert rows_of(page, "Most confused") == ["| jump \\| run | sit | 1 |", "| übt 視 | jump \\| run | 1 |"]


def test_what_was_left_out_is_listed_with_its_reason(page):
    assert rows_of(page, "Quarantined") == [
        "| sit/x\\|y.mp4 | sit | unreadable | damaged: cut short |",
        "| f | sit | empty | empty file |",
        "| g | sit | unreadable | text |",
    ]


def test_a_row_has_as_many_cells_as_its_heading(page):
    for table in page.split("\n\n"):
        if table.startswith("|"):
            counts = {line.replace("\\|", "").count("|") for line in table.strip().splitlines()}
            assert len(counts) == 1, table


def test_nothing_to_say_is_said(tmp_path, page):
    scored = pd.DataFrame({"video_id": ["a"], "label_id": [0], "scores": [[0.9, 0.1]]})
    split = pd.DataFrame({"video_id": ["a"], "label": ["x"], "status": ["ok"], "reason": [""]})
    evaluation = Evaluation(
        key="k", digest="d", path="evaluate/k", split="val", protocol="p", split_digest="s",
        top1=1.0, top5=1.0, num_scored=1, num_videos=1,
    )  # fmt: skip
    made = {**figures.figures(scored, ["x", "y"]), "worst": figures.worst(scored, ["x", "y"], {"a": "a"})}
    markdown.write(tmp_path, evaluation, made, split)
    page = (tmp_path / Evaluation.REPORT).read_text()
    for heading in ("Most confused", "Worst videos", "Quarantined"):
        assert rows_of(page, heading) == ["None."]
