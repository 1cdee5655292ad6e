from __future__ import annotations

import pandas as pd
import pytest

from nonlocal_core.artifacts import Evaluation
from nonlocal_core.evaluation import report

LABELS = ["jump | run", "sit", "übt 視", "unseen"]


@pytest.fixture
def page(tmp_path):
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
            "video_id": ["a", "b", "c", "d", "sit/x|y.mp4", "f"],
            "label": [LABELS[0], LABELS[0], "sit", LABELS[2], "sit", "sit"],
            "status": ["ok"] * 4 + ["unreadable", "empty"],
            "reason": [""] * 4 + ["damaged: cut short", "empty file"],
        }
    )
    evaluation = Evaluation(
        key="k", digest="d", path="evaluate/k", protocol="val, 10 clips", split_digest="s",
        top1=0.5, top5=1.0, num_scored=4, num_videos=6,
    )  # fmt: skip
    report.write(tmp_path, evaluation, LABELS, scored, split)
    return (tmp_path / report.REPORT_FILE).read_text()


def rows_of(page, heading):
    lines = page.partition(f"## {heading}\n\n")[2].partition("\n\n## ")[0].strip().splitlines()
    return lines[2:] if lines[0].startswith("|") else lines


def test_figures_have_their_denominators(page):
    assert "- Scored: 4 of 6 videos, 2 quarantined\n" in page
    assert "- top-1: 50.00%\n" in page
    assert "- top-5: 100.00% (of 5 labels or fewer)\n" in page
    assert "- Protocol: val, 10 clips\n" in page


def test_every_label_that_was_scored_has_a_row_with_its_count(page):
    assert rows_of(page, "Labels") == [
        "| jump \\| run | 2 | 50.00% | 100.00% |",
        "| sit | 1 | 100.00% | 100.00% |",
        "| übt 視 | 1 | 0.00% | 100.00% |",
    ]


def test_confusions_say_what_was_taken_for_what(page):
    assert rows_of(page, "Most confused") == ["| jump \\| run | sit | 1 |", "| übt 視 | jump \\| run | 1 |"]


def test_what_was_left_out_is_listed_with_its_reason(page):
    assert rows_of(page, "Quarantined") == [
        "| sit/x\\|y.mp4 | sit | unreadable | damaged: cut short |",
        "| f | sit | empty | empty file |",
    ]


def test_a_row_has_as_many_cells_as_its_heading(page):
    for table in page.split("\n\n"):
        if table.startswith("|"):
            counts = {line.replace("\\|", "").count("|") for line in table.strip().splitlines()}
            assert len(counts) == 1, table


def test_nothing_to_say_is_said(tmp_path, page):
    scored = pd.DataFrame({"label_id": [0], "scores": [[0.9, 0.1]]})
    split = pd.DataFrame({"video_id": ["a"], "label": ["x"], "status": ["ok"], "reason": [""]})
    evaluation = Evaluation(
        key="k", digest="d", path="evaluate/k", protocol="p", split_digest="s",
        top1=1.0, top5=1.0, num_scored=1, num_videos=1,
    )  # fmt: skip
    report.write(tmp_path, evaluation, ["x", "y"], scored, split)
    page = (tmp_path / report.REPORT_FILE).read_text()
    assert rows_of(page, "Most confused") == rows_of(page, "Quarantined") == ["None."]
