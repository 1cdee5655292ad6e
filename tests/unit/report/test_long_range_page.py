"""The page and the picture of the long-range set, of figures that are known."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from nonlocal_core.config import long_range as plans
from nonlocal_core.evaluation import long_range
from nonlocal_core.report import long_range_page

PLAN = plans.read()


@pytest.fixture
def figures() -> dict[str, Any]:
    """Figures in which blocks in space and time know 90 % and more, and nobody else more than half."""
    top1 = {
        row.key: [
            0.9 + seed / 100 if row.name == PLAN.blocks and row.videos == "far" else 0.5 for seed in range(5)
        ]
        for row in PLAN.rows
    }
    rows = [
        {
            "videos": row.videos,
            "name": row.name,
            "tables": row.tables,
            "top1": top1[row.key],
            "mean": float(np.mean(top1[row.key])),
            "std": long_range.spread(top1[row.key]),
            "gain": long_range.gain(top1[row.key], top1["far", PLAN.baseline])._asdict(),
        }
        for row in PLAN.rows
    ]
    bars = [bar._asdict() for bar in long_range.bars(PLAN, top1)]
    return {
        "rows": rows, "bars": bars, "seeds": [0, 1, 2, 3, 4], "num_val": {"far": 256, "motion": 192},
        "plan_sha256": "a" * 64, "num_diverged": 0, "seconds": 3600.0,
    }  # fmt: skip


def test_the_page_has_every_row_and_says_which_bars_are_met(figures: dict[str, Any]) -> None:
    page = long_range_page.page(figures)
    half = 2.7764451052 * np.std([0.90, 0.91, 0.92, 0.93, 0.94], ddof=1) / np.sqrt(5)
    points = f"+42.0 ({42 - 100 * half:+.1f} to {42 + 100 * half:+.1f})"
    assert f"| {PLAN.blocks} | 2a, 2b, 2c, 2d, 2e | 92.0 | 1.6 | 90 91 92 93 94 | {points} |" in page
    assert page.count("| met |") == 4
    assert page.count("| missed |") == 1, "near bars have half"
    assert "120 trainings, 60 minutes" in page
    for row in PLAN.rows:
        assert f"| {row.name} | {', '.join(row.tables)} |" in page


def test_the_picture_can_be_opened(figures: dict[str, Any]) -> None:
    drawn = cv2.imdecode(np.frombuffer(long_range_page.picture(figures), np.uint8), cv2.IMREAD_COLOR)
    assert drawn is not None
    assert min(drawn.shape[:2]) > 600
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50
