"""flows/predict.py with a network that flows/full.py has trained, at the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.full import full
from nonlocal_core.data.toy import make_toy_videos

REPOSITORY = Path(__file__).parents[2]
SETTINGS = {
    "model.width": 4, "clip.clip_len": 4, "train.epochs": 1, "train.crop_size": 32, "evaluate.crop_size": 32,
    "cache.short_side": 40, "evaluate.num_clips": 1, "runtime.attention_videos": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("predict")
    videos_dir = make_toy_videos(folder / "videos", 8)
    full("tiny", SETTINGS, videos_dir, folder / "workspace")
    (videos_dir / "falls" / "broken.mp4").write_text("no video")
    return videos_dir, folder / "workspace"


def test_command_line(trained: tuple[Path, Path], environment: dict[str, str], tmp_path: Path) -> None:
    videos_dir, workspace_dir = trained
    command = [sys.executable, str(REPOSITORY / "flows" / "predict.py"), str(videos_dir / "falls")]
    command += [f"workspace_dir={workspace_dir}", f"out={tmp_path / 'p.json'}", "evaluate.num_crops=3"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 predicted" in done.stdout
    assert "broken.mp4    unreadable: " in done.stdout
    listed = json.loads((tmp_path / "p.json").read_text())
    assert listed["protocol"] == "1 clips x 3 crops of 4x3, 32 px"
    assert len(listed["videos"]) == 3


def test_a_mistake_is_one_line(trained: tuple[Path, Path], environment: dict[str, str]) -> None:
    videos_dir, workspace_dir = trained
    command = [sys.executable, str(REPOSITORY / "flows" / "predict.py"), str(videos_dir), "window_s=often"]
    command.append(f"workspace_dir={workspace_dir}")
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: window_s=often does not fit: name a number"
    assert "Traceback" not in done.stderr
