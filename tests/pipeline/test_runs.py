"""Whole runs that meet or are stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from nonlocal_core.data.layouts.toy import make_toy_videos

REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(3600)
FULL = [sys.executable, str(REPOSITORY / "flows" / "full.py")]


@pytest.mark.campaign("faults")
def test_two_first_runs_at_once_make_one_entry(environment: dict[str, str], tmp_path: Path) -> None:
    words = [f"workspace_dir={tmp_path / 'w'}", "train.epochs=1", "evaluate.num_clips=1"]
    runs = [
        subprocess.Popen(
            [*FULL, "tiny", *words], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=1800)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert all("240 used, 0 quarantined" in text for text in said)
    assert [folder.name for folder in (tmp_path / "w" / "registry").glob("v*")] == ["v0001"]


@pytest.mark.campaign("kill")
def test_sigterm_ends_everything(environment: dict[str, str], tmp_path: Path) -> None:
    videos_dir = make_toy_videos(tmp_path / "videos", num_videos=8)
    words = [
        f"videos_dir={videos_dir}",
        f"workspace_dir={tmp_path / 'w'}",
        "train.epochs=1000",
        "train.val_epochs=0",
    ]
    process = subprocess.Popen([*FULL, *words], cwd=REPOSITORY, env=environment, stderr=subprocess.DEVNULL)
    started_s = time.monotonic()
    while not any("\n" in log.read_text() for log in (tmp_path / "w").glob("train/*.partial/log.jsonl")):
        assert process.poll() is None
        assert time.monotonic() - started_s < 900
        time.sleep(0.2)
    process.terminate()
    assert process.wait(40) == 143
    assert list((tmp_path / "w").glob("train/*.partial/step-*.safetensors"))
