"""The preset `tiny`, unchanged, as `make run` runs it: it must learn what no single frame shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.full import full


@pytest.mark.campaign
@pytest.mark.timeout(900)  # a minute on two quiet cores
def test_tiny_learns_motion(prefect_server: None, tmp_path: Path) -> None:
    summary = full(workspace_dir=tmp_path)
    assert summary.cache.num_ok == 240
    assert summary.evaluation.num_scored == 48
    assert summary.evaluation.top1 >= 0.90
