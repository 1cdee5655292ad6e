"""The command that says what a folder holds, and the same in the plan, the provenance and the report of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from small import small_config

from nonlocal_core import inventory
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.report import html, run_facts
from nonlocal_core.stages import index as stage


def test_it_says_what_is_there_and_opens_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train/jump/a.mp4", "train/run/b.m4v", "test/run/c.MPG", "test/run/c.srt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("no video")
    (tmp_path / "labels.txt").write_text("run\njump\nwave\n")
    words = [str(tmp_path), "index.val_fraction=0.3", "--labels", str(tmp_path / "labels.txt")]
    assert inventory.main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "layout class_folders, because there are neither tables nor lists",
        "files seen: 5; videos, also as folders of pictures: 3",
        "not taken, since they are no video by their name: 1 .srt; e.g. test/run/c.srt",
        "there is no val: 0.3 of train is drawn for it (index.val_fraction); test (1 videos) stays apart",
        "3 videos: to be drawn 2, test 1",
        "2 labels: run 2 (test 1, to be drawn 1), jump 1 (test 0, to be drawn 1)",
        "1 of 3 labels have no video: wave",
    ]
    assert not list(tmp_path.glob("workspace*"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], 3, "there is no folder"),
        (["nowhere", "index.foldd=1"], 2, "did you mean index.fold"),
        (["nowhere", "index.group_by=("], 2, "index.group_by=( is no regular expression"),
        (["nowhere", "index.frame_name=img.jpg"], 2, "index.frame_name"),
        (["nowhere", "--labels", "nothing.txt"], 3, "labels nothing.txt cannot be read"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert inventory.main(words) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_run_says_the_same_and_keeps_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    videos_dir, workspace = make_toy_videos(tmp_path / "videos", 8), Workspace(tmp_path / "workspace")
    (videos_dir / "falls/notes.txt").write_text("no video")
    planned = stage.plan(videos_dir, small_config(), workspace)
    assert "not taken, since they are no video by their name: 1 .json, 1 .txt; e.g. toy.json, falls/notes.txt" in (
        planned.inventory
    )
    assert all(f"{videos_dir}: {line}" in caplog.text for line in planned.inventory)
    manifest = stage.index(videos_dir, small_config(), workspace)
    assert workspace.provenance(manifest)["inventory"] == [
        *planned.inventory,
        "8 of 8 videos can be used, train 4, val 4; by label: falls (train 1, val 1), grows (train 1, val 1),"
        " rises (train 1, val 1), shrinks (train 1, val 1)",
        "frame rates: 15 to 15 a second, 0 of 8 videos vary",
    ]  # fmt: skip


def test_the_report_repeats_it(registered) -> None:
    run = run_facts.gather(registered.workspace, "v0001")
    assert "4 labels: " in run.inventory[-3]
    page = html.render(registered.workspace, run)
    assert "What index saw in the folder of the videos" in page
    assert "layout class_folders, because there are neither tables nor lists" in page


def test_the_folders_with_the_files_are_listed_once() -> None:
    benchmark = Path(__file__).parents[2] / "benchmarks/inventory.py"
    done = subprocess.run(
        [sys.executable, str(benchmark), "--files", "400", "--rounds", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "folders: 202, listed more than once: 2"
