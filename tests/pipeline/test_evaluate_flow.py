"""A checkpoint that is there already, scored on a folder of videos, by the flow and from the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from flows.evaluate import Scored, evaluate_checkpoint
from nonlocal_core import scores
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.errors import InputError
from nonlocal_core.models import checkpoint as checkpoints
from nonlocal_core.models.i3d import I3D
from nonlocal_core.registry.trained_network import settings, take
from nonlocal_core.stages import register
from tests.commands import Warm

REPOSITORY = Path(__file__).parents[2]
SMALL = {
    "model.width": 2, "model.nl_res3": (), "model.nl_res4": (), "model.block": "basic", "model.inflate": "none",
    "clip.clip_len": 4, "cache.short_side": 40, "train.crop_size": 32,
}  # fmt: skip
EVALUATED = {"evaluate.crop_size": 40, "evaluate.num_clips": 1}
LABELS = ("falls", "grows", "rises", "shrinks")


class Start(NamedTuple):
    """A network that nobody trained, as a file and as the champion, and the videos that it was scored on."""

    file: Path
    workspace: Workspace
    videos_dir: Path
    scored: Scored


@pytest.fixture(scope="module")
def start(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Start:
    folder = tmp_path_factory.mktemp("start")
    config = resolve("tiny", SMALL | EVALUATED)
    described = checkpoints.Description(
        step=0, labels=LABELS, model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    net = I3D(config.model, len(LABELS))
    checkpoints.save_weights(folder / "w.safetensors", checkpoints.weights_of_network(net), described)
    videos_dir = make_toy_videos(folder / "videos", num_videos=8)
    workspace = Workspace(folder / "workspace")
    scored = evaluate_checkpoint("tiny", EVALUATED, str(folder / "w.safetensors"), videos_dir, workspace.root)
    register.register(scored.checkpoint, scored.evaluation, scored.cache, config, workspace)
    return Start(folder / "w.safetensors", workspace, videos_dir, scored)


def test_a_file_is_scored_with_its_own_clips_and_frames(start: Start) -> None:
    assert start.scored.evaluation.protocol == "val, 1 clips x 1 crops of 4x3, 40 px of 40"
    assert start.scored.evaluation.coverage == "4 of 4 videos scored, 0 quarantined"


def test_the_champion_on_other_videos(start: Start, tmp_path: Path) -> None:
    """With clips, frames and labels of the checkpoint, and none of its settings named."""
    others = make_toy_videos(tmp_path / "others", num_videos=12)
    shutil.rmtree(others / "falls")  # ids come from the checkpoint, which knows it
    (others / "grows/text.mp4").write_text("no video")
    overrides = {"evaluate.protocol": "10x3", "evaluate.split": "all", "runtime.max_unreadable": 0.5}
    made = evaluate_checkpoint("tiny", overrides, "champion", others, start.workspace.root)
    assert made.checkpoint.digest == start.scored.checkpoint.digest
    assert made.evaluation.protocol == "all, 10 clips x 3 crops of 4x3, 40 px of 40"
    assert made.evaluation.coverage == "9 of 10 videos scored, 1 quarantined: 1 unreadable"
    assert "9 of 10 videos scored, 1 quarantined: 1 unreadable (all, 10 clips" in str(made)
    scored = pq.read_table(start.workspace.path(made.evaluation) / "scores.parquet").to_pydict()
    ids = dict(zip(scored["label"], scored["label_id"], strict=True))
    assert ids == {"grows": 1, "rises": 2, "shrinks": 3}
    assert len(set(scored["video_id"])) == 9


def test_from_the_command_line_an_entry_is_found_scored(
    start: Start, warm: Warm, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _written(start.workspace.root / "evaluate")
    place = (f"videos_dir={start.videos_dir}", f"workspace_dir={start.workspace.root}")
    done = warm.run("evaluate", "checkpoint=v0001", *place)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 videos scored, 0 quarantined (val, 1 clips x 1 crops of 4x3, 40 px of 40)" in done.stdout
    assert _written(start.workspace.root / "evaluate") == before
    more = next(line for line in done.stdout.splitlines() if line.startswith("  more"))
    capsys.readouterr()
    assert scores.main(more.split("nonlocal_core.scores")[1].split()) == 0
    assert "4 of 4 videos scored, 0 quarantined" in capsys.readouterr().out


def test_other_settings_than_those_of_the_entry_are_said(start: Start, warm: Warm) -> None:
    place = (f"videos_dir={start.videos_dir}", f"workspace_dir={start.workspace.root}")
    done = warm.run("evaluate", *place, "evaluate.num_clips=2", "clip.frame_interval=2", "train.epochs=9")
    assert done.returncode == 0, done.stderr
    assert "(val, 2 clips x 1 crops of 4x2, 40 px of 40)" in done.stdout
    said = (
        "other settings than those of v0001: clip.frame_interval=2 instead of 3, evaluate.num_clips=2 instead of 1"
    )
    assert said in done.stderr.splitlines()
    other = warm.run("evaluate", *place, "model.width=4")
    assert other.returncode == 2
    assert "error: model.width=4 instead of 2: the network comes with the weights of v0001" in other.stderr
    unknown = warm.run("evaluate", *place, "evaluate.clips=4")
    assert "there is no setting 'evaluate.clips'" in unknown.stderr


def test_a_preset_that_is_named_says_the_views_alone(start: Start) -> None:
    """`probe` would be another network, with larger frames than this one's, learned from features."""
    kept = take("v0001", start.workspace)
    config = settings(kept.name, kept.settings, "probe", {"evaluate.crop_size": 40})
    assert (config.evaluate.num_clips, config.clip.clip_len, config.cache.short_side) == (2, 4, 40)
    assert settings(kept.name, kept.settings, "", {}).evaluate.num_clips == 1
    views = settings(kept.name, kept.settings, "nl_i3d_r50_32x2", {"evaluate.crop_size": 40}).evaluate
    assert (views.num_clips, views.num_crops) == (10, 3), "those that the preset leaves as they are, too"


def test_a_flow_without_checkpoint_says_so(warm: Warm) -> None:
    done = warm.run("full", "checkpoint=champion")
    assert (done.returncode, done.stderr) == (2, "error: full.py has no parameter checkpoint: see --help\n")


def test_what_cannot_be_scored(start: Start, tmp_path: Path) -> None:
    place = (start.videos_dir, start.workspace.root)
    with pytest.raises(InputError, match="checkpoint=champion: the registry has no entry yet"):
        evaluate_checkpoint("tiny", {}, "champion", start.videos_dir, tmp_path / "empty")
    with pytest.raises(InputError, match="checkpoint=v0009: there is no entry v0009: there are v0001"):
        evaluate_checkpoint("tiny", {}, "v0009", *place)
    with pytest.raises(InputError, match="videos_dir=DIR"):
        evaluate_checkpoint("tiny", {}, "v0001", None, start.workspace.root)
    (tmp_path / "published.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"is not a whole checkpoint; a published .*nonlocal_core.import_weights"):
        evaluate_checkpoint("tiny", {}, str(tmp_path / "published.pth"), *place)


def _written(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
