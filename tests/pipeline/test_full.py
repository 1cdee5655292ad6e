"""The whole chain through Prefect on real files: what comes out, what is done again, what a killed run keeps."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.full import NothingNew, Summary, full
from flows.prepare import prepare
from nonlocal_core import registry
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.errors import ConfigError, InputError
from tests.commands import Warm

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "model.width": 4,
    "clip.clip_len": 4,
    "train.epochs": 2,
    "train.crop_size": 32,
    "evaluate.crop_size": 32,
    "cache.short_side": 40,
    "evaluate.num_clips": 1,
    "runtime.cache_shard_videos": 10,
    "runtime.max_unreadable": 0.3,
    "runtime.attention_videos": 0,
}
NIGHTLY = {**SMALL, "train.init": "champion_if_any"}


@pytest.fixture(scope="module")
def videos_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 good videos and three that are not: cut short, empty, and text."""
    folder = make_toy_videos(tmp_path_factory.mktemp("videos"), num_videos=24)
    whole = (folder / "falls" / "toy-0000.mp4").read_bytes()
    (folder / "falls" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "rises" / "empty.mp4").write_bytes(b"")
    (folder / "grows" / "text.mp4").write_text("this is not a video")
    return folder


@pytest.fixture(scope="module")
def run(prefect_server: None, videos_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path]:
    workspace_dir = tmp_path_factory.mktemp("workspace")
    summary = full("tiny", NIGHTLY, videos_dir, workspace_dir)
    assert isinstance(summary, Summary)
    return summary, workspace_dir


def test_makes_everything(run: tuple[Summary, Path]) -> None:
    summary, workspace_dir = run
    workspace = Workspace(workspace_dir)
    rows = pq.read_table(workspace.path(summary.manifest) / summary.manifest.ROWS).to_pandas()
    assert len(rows) == 27
    bad = rows[rows["status"] != "ok"].set_index("video_id")
    assert bad["status"].to_dict() == {
        "falls/cut.mp4": "unreadable",
        "grows/text.mp4": "unreadable",
        "rises/empty.mp4": "empty",
    }
    assert (bad["reason"] != "").all()
    assert summary.cache.num_videos == 27
    assert summary.cache.num_ok == 24
    scores = pq.read_table(workspace.path(summary.evaluation) / "scores.parquet").to_pandas()
    val = rows[rows["split"] == "val"]
    assert set(scores["video_id"]) == set(val[val["status"] == "ok"]["video_id"])
    assert summary.evaluation.num_scored == len(scores)
    assert summary.evaluation.num_videos == len(val)
    right = [row.scores.argmax() == row.label_id for row in scores.itertuples()]
    assert summary.evaluation.top1 == pytest.approx(sum(right) / len(right))
    entry = registry.entries(workspace)["v0001"]
    assert entry.labels == {"falls": 0, "grows": 1, "rises": 2, "shrinks": 3}
    assert entry.manifest_digest == summary.manifest.digest
    assert entry.evaluation.protocol == summary.evaluation.protocol
    assert registry.read(workspace).champion == "v0001"


def test_says_what_happened(run: tuple[Summary, Path]) -> None:
    summary, workspace_dir = run
    text = str(summary)
    assert "24 used, 3 quarantined" in text
    scored = summary.evaluation
    assert f"  top-1     {100 * scored.top1:.1f} % of {scored.num_scored}, " in text
    assert ", guessing " in text
    assert "top-5" not in text, "there are four labels"
    assert f"  scored    {scored.num_scored} of {scored.num_videos} videos scored" in text
    assert (workspace_dir / scored.path / "report.md").exists()
    assert f"{workspace_dir}/reports/v0001.html" in text
    assert "3 of 27 videos were not used" in (workspace_dir / "reports/v0001.html").read_text(encoding="utf-8")
    assert all(stage in text for stage in ("index", "cache", "train", "evaluate", "register"))


def test_second_run_does_no_work(
    run: tuple[Summary, Path], videos_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summary, workspace_dir = run
    before = _written(workspace_dir)
    caplog.set_level(logging.INFO, "nonlocal_core")
    again = full("tiny", SMALL, videos_dir, workspace_dir)
    assert "since v0001: 0 new, 0 changed, 0 removed videos; 3 that cannot be used, 0 of them" in caplog.text
    assert _written(workspace_dir) == before
    assert again.model_copy(update={"seconds": {}}) == summary.model_copy(update={"seconds": {}})


def test_a_mirrored_run_is_finished_elsewhere(run: tuple[Summary, Path], videos_dir: Path, tmp_path: Path) -> None:
    summary, workspace_dir = run
    mirror = f"file://{tmp_path / 'mirror'}"
    for words in ([str(workspace_dir), mirror], [str(tmp_path / "elsewhere"), mirror, "--pull"]):
        command = [sys.executable, "-m", "nonlocal_core.mirror", *words]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    before = _written(tmp_path / "elsewhere")
    again = full("tiny", SMALL, videos_dir, tmp_path / "elsewhere")
    after = _written(tmp_path / "elsewhere")
    assert after.pop(str(tmp_path / "elsewhere/reports/v0001.html")), "made from the others, so no mirror has it"
    assert after == before
    assert again.entry == summary.entry
    assert again.evaluation == summary.evaluation
    assert again.cache == summary.cache


def test_another_setting_redoes_only_what_reads_it(run: tuple[Summary, Path], videos_dir: Path) -> None:
    summary, workspace_dir = run
    again = full("tiny", {**SMALL, "evaluate.num_clips": 2}, videos_dir, workspace_dir)
    assert again.manifest == summary.manifest
    assert again.cache == summary.cache
    assert again.evaluation.key != summary.evaluation.key
    assert again.entry.version == "v0002"
    assert not again.entry.is_champion
    assert "another protocol" in again.entry.reason
    assert len(list((workspace_dir / "train").iterdir())) == 1


def test_a_run_that_asks_for_news_trains_nothing_on_the_same_videos(
    run: tuple[Summary, Path], videos_dir: Path
) -> None:
    """Also where its training would be another one, because the champion that it starts from is."""
    _, workspace_dir = run
    assert registry.read(Workspace(workspace_dir)).champion
    before = _written(workspace_dir)
    state = full("tiny", NIGHTLY, videos_dir, workspace_dir, only_new=True, return_state=True)
    assert state.is_completed()
    assert state.name == "Nothing new"
    assert isinstance(state.result(), NothingNew)
    assert "made of the same 24 videos by the same settings" in str(state.message)
    assert _written(workspace_dir) == before


def test_prepare_is_the_first_half(run: tuple[Summary, Path], videos_dir: Path) -> None:
    summary, workspace_dir = run
    assert prepare("tiny", SMALL, videos_dir, workspace_dir).cache == summary.cache


@pytest.mark.parametrize(
    ("settings", "told", "is_indexed"),
    [
        ({"evaluate.split": "test"}, "there is no split test with readable videos: these have train, val", True),
        ({"train.init": "v0099"}, "train.init=v0099: there is no entry", False),
        ({"train.init": "none.safetensors"}, "there is no file none.safetensors", False),
        ({"train.init": "{weights}", "model.width": 6}, r"is of another network: set model.width=4", False),
        ({"train.init": "{videos}/falls/cut.mp4"}, r"cut.mp4 is not a whole checkpoint; a published file", False),
        (
            {"train.init": "{weights}", "labels": ["b", "a"]},
            "other labels than the videos .* train.init_head",
            True,
        ),
    ],
)
def test_what_would_be_refused_late_is_refused_before_a_video_is_decoded(
    run: tuple[Summary, Path],
    videos_dir: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    told: str,
    is_indexed: bool,
) -> None:
    """In a workspace where nothing is decoded yet."""
    summary, workspace_dir = run
    weights = workspace_dir / summary.checkpoint.path / summary.checkpoint.file
    places = {"weights": weights, "videos": videos_dir}
    overrides = {
        key: value.format(**places) if isinstance(value, str) else value for key, value in settings.items()
    }
    folder = videos_dir
    if overrides.pop("labels", None):
        folder = tmp_path / "others"
        shutil.copytree(videos_dir, folder, ignore=shutil.ignore_patterns("falls", "*.json"))
    shutil.copytree(workspace_dir / "registry", tmp_path / "w/registry")
    with pytest.raises(InputError, match=told):
        full("tiny", {**SMALL, **overrides}, folder, tmp_path / "w")
    assert (tmp_path / "w/index").exists() == is_indexed
    assert not (tmp_path / "w/cache").exists()
    assert not (tmp_path / "w/records").exists()


def test_predicts_from_the_command_line(
    run: tuple[Summary, Path], warm: Warm, videos_dir: Path, tmp_path: Path
) -> None:
    _, workspace_dir = run
    words = [f"workspace_dir={workspace_dir}", f"out={tmp_path / 'p.json'}", "evaluate.num_crops=3"]
    command = [str(videos_dir / "falls"), *words]
    done = warm.run("predict", *command)
    assert done.returncode == 0, done.stderr
    assert "6 of 7 predicted" in done.stdout
    assert "  cut.mp4       unreadable: " in done.stdout
    listed = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    champion = registry.read(Workspace(workspace_dir)).champion
    assert (listed["entry"], listed["protocol"]) == (champion, "1 clips x 3 crops of 4x3, 32 px")
    assert [one["status"] for one in listed["videos"]] == ["unreadable", *["ok"] * 6]
    done = warm.run("predict", *command, "window_s=often")
    assert done.returncode == 2
    assert done.stderr == "error: window_s=often does not fit: name a number\n"
    done = warm.run("predict", *command, "tiny")
    assert done.returncode == 2
    assert done.stderr == "error: 'tiny' is not of the form key=value; predict.py has no preset\n"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "text.mp4").write_text("this is not a video")
    done = warm.run("predict", str(tmp_path / "bad"), *words)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("error: none of 1 videos could be predicted: text.mp4 ")
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["videos"][0]["status"] == "unreadable"


def test_mistakes_are_not_retried(run: tuple[Summary, Path], tmp_path: Path) -> None:
    started_s = time.monotonic()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        full("tiny", SMALL, tmp_path / "empty", tmp_path / "workspace")
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        full("tiny", {"train.epoch": 3}, tmp_path, tmp_path / "workspace")
    assert time.monotonic() - started_s < 60  # the waits of the retry table take longer


@pytest.mark.campaign("kill")
def test_killed_run_goes_on(
    run: tuple[Summary, Path], environment: dict[str, str], videos_dir: Path, tmp_path: Path
) -> None:
    """kill -9 of the flow while it trains: its child dies too, and the next run ends with the same weights."""
    settings = {**SMALL, "train.epochs": 30, "train.val_epochs": 10}
    settings |= {"runtime.checkpoint_steps": 3, "model.dropout": 0.3}
    uncut = full("tiny", settings, videos_dir, tmp_path / "uncut")
    words = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, str(REPOSITORY / "flows" / "full.py"), "tiny", f"videos_dir={videos_dir}"]
    command += [f"workspace_dir={tmp_path / 'cut'}", *words]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _wait_for(lambda: len(_steps(tmp_path / "cut")) > 20, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    workspace = Workspace(tmp_path / "cut")
    assert workspace.find(Checkpoint, uncut.checkpoint.key) is None
    steps = _steps(tmp_path / "cut")
    time.sleep(2)
    assert _steps(tmp_path / "cut") == steps, "the child of a killed run still trains"
    finished = _written(tmp_path / "cut" / "cache")

    resumed = full("tiny", settings, videos_dir, tmp_path / "cut")
    assert _written(tmp_path / "cut" / "cache") == finished
    assert resumed.checkpoint == uncut.checkpoint
    assert resumed.evaluation.digest == uncut.evaluation.digest
    assert _steps(tmp_path / "cut") == _steps(tmp_path / "uncut")


def _steps(workspace_dir: Path) -> list[int]:
    lines = [line for file in workspace_dir.glob("train/*/log.jsonl") for line in file.read_text().splitlines()]
    return [int(json.loads(line)["step"]) for line in lines if line.endswith("}")]


def _written(folder: Path) -> dict[str, int]:
    """Every file of a folder and when it was written, without locks."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    }


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    started_s = time.monotonic()
    while not condition():
        assert process.poll() is None
        assert time.monotonic() - started_s < 120
        time.sleep(0.1)
