"""Two folds from lists to their figures, gone on with after a stop, and what a person may get wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.crossval import Crossvalidated, crossval
from nonlocal_core import __version__
from nonlocal_core.artifacts.references import Features
from nonlocal_core.artifacts.workspace import Workspace, read_artifact
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts.toy import LABELS, make_toy_videos
from nonlocal_core.evaluation.crossval import Crossval
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from tests.commands import Warm

SMALL = {
    "cache.short_side": 36, "clip.clip_len": 4, "model.width": 2, "model.block": "basic", "model.inflate": "none",
    "model.nl_res3": (), "model.nl_res4": (), "train.crop_size": 32, "train.epochs": 1, "train.batch_size": 4,
    "train.val_epochs": 0, "train.warmup_epochs": 0.0, "evaluate.num_clips": 1, "evaluate.crop_size": 32,
    "runtime.device": "CPU",
}  # fmt: skip
NAMES = ("odd", "even {x}")


def lists(folder: Path) -> Path:
    """Two folds of 12 toy videos: each holds out every second video of a label, by its id."""
    for rest, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for split in ("train", "val"):
            own = [n for n in range(12) if (n // 4 % 2 == rest) == (split == "val")]
            lines = [f"{LABELS[n % 4]}/toy-{n:04d}.mp4 {n % 4}\n" for n in own]
            (folder / name / f"{split}.txt").write_text("".join(lines))
    return folder


def files(workspace: Workspace) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in workspace.root.glob("[a-z]*/*/*") if path.is_file()}


def test_folds_come_out_in_one_table_and_a_stopped_run_goes_on(prefect_server: None, tmp_path: Path) -> None:
    videos_dir, folds = make_toy_videos(tmp_path / "videos", num_videos=12), lists(tmp_path / "folds")
    out, workspace = tmp_path / "figures.json", Workspace(tmp_path / "workspace")

    def run() -> Crossvalidated:
        return crossval("tiny", SMALL, videos_dir, str(folds), workspace.root, out=out)

    made = run()
    folder, found = workspace.path(made.crossval), json.loads(out.read_text())
    rows = pq.read_table(folder / Crossval.PREDICTIONS).to_pylist()
    assert sorted(row["path"] for row in rows) == sorted(f"{LABELS[n % 4]}/toy-{n:04d}.mp4" for n in range(12)), (
        "every video is held out once"
    )
    assert {(row["path"].split("/")[0], row["label"]) for row in rows} == {(label, label) for label in LABELS}
    right = [row["label"] == row["predicted"] for row in rows]
    assert (found["num_correct"], found["num_scored"], found["num_videos"]) == (sum(right), 12, 12)
    assert (found["top1"], found["guessing"], found["labels"]) == (sum(right) / 12, 0.25, dict.fromkeys(LABELS, 3))
    assert found["is_better_than_guessing"] is (found["interval"][0] > 0.25)
    assert [fold["fold"] for fold in found["by_fold"]] == sorted(NAMES)
    for fold in found["by_fold"]:
        own = [row for row in rows if row["fold"] == fold["fold"]]
        assert fold["num_scored"] == fold["num_videos"] == len(own) == sum(fold["held_out"].values())
        assert fold["top1"] == sum(row["label"] == row["predicted"] for row in own) / len(own)
        assert fold["top5"] == 1.0
        assert fold["seconds"] > 0
        assert sum(fold["train"].values()) == 12 - len(own)
        scores = pq.read_table(workspace.root / fold["evaluation"] / "scores.parquet").to_pylist()
        assert {one["video_id"] for one in scores} == {row["video_id"] for row in own}
    top1s = [fold["top1"] for fold in found["by_fold"]]
    assert found["mean"] == pytest.approx(sum(top1s) / 2)
    assert found["std"] == pytest.approx(abs(top1s[0] - top1s[1]) / 2**0.5)
    assert (found["preset"], found["overrides"]["train.epochs"], found["version"]) == ("tiny", 1, __version__)
    assert {*found["seconds"]} == {"index", "cache", "features", "train", "evaluate", "total"}
    assert sum(found["seconds"].values()) - found["seconds"]["total"] <= found["seconds"]["total"] + 0.3
    assert f"pooled top-1: {100 * found['top1']:.1f} % of 12, " in str(made)
    assert list(workspace.root.glob("registry/v*")) == [], "nothing is registered"

    before = files(workspace)
    assert run().page == made.page
    assert files(workspace) == before, "nothing is trained, scored or written a second time"

    last = workspace.root / found["by_fold"][1]["evaluation"]
    trained = json.loads((last / "artifact.json").read_text())["provenance"]["checkpoint"]["path"]
    for unfinished in (last, workspace.root / trained, folder):
        shutil.rmtree(unfinished)
    assert run().page == made.page
    redone = {path.parent for path, changed in files(workspace).items() if before.get(path) != changed}
    assert redone == {last, workspace.root / trained, folder}, "the finished fold stays as it is"


def test_folds_look_at_each_video_once_together(prefect_server: None, tmp_path: Path) -> None:
    """Features of a trunk that does not learn, and a classifier of them, in each fold."""
    videos_dir, folds = make_toy_videos(tmp_path / "videos", num_videos=12), lists(tmp_path / "folds")
    config, weights = resolve("tiny", SMALL), tmp_path / "weights.safetensors"
    described = checkpoint.Description(
        step=0, labels=("a", "b"), model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    checkpoint.save_weights(weights, checkpoint.weights_of_network(I3D(config.model, 2)), described)
    probe = {"train.init": str(weights), "train.init_head": "new", "train.freeze": "res5"}
    probe |= {"train.optimizer": "lbfgs", "features.num_clips": "1", "features.crop_size": "32"}
    made = crossval("tiny", {**SMALL, **probe}, videos_dir, str(folds), tmp_path / "workspace")
    root = tmp_path / "workspace"
    kept = [read_artifact(Features, path.parent)[0] for path in sorted(root.glob("features/*/artifact.json"))]
    assert [features.num_videos for features in kept] == [12, 12]
    assert len({features.activations for features in kept}) == 1
    shards = [pq.read_table(path, columns=["sha256"]) for path in root.glob("activations/*/shard-*.parquet")]
    assert sum(map(len, shards)) == 12, "each video was looked at once"
    assert "of 12, " in str(made)
    trained = [json.loads(path.read_text()) for path in root.glob("train/*/artifact.json")]
    assert {one["provenance"]["features"]["trunk_digest"] for one in trained} == {kept[0].trunk_digest}


def test_a_mistake_is_one_clear_line(warm: Warm, tmp_path: Path) -> None:
    videos_dir = make_toy_videos(tmp_path / "videos", num_videos=8)
    where = (f"videos_dir={videos_dir}", f"workspace_dir={tmp_path / 'workspace'}")
    for words, code, said in (
        (["folds=1"], 2, "error: folds=1: name at least 2 folds, or the folder of their lists"),
        (["folds=9"], 3, "error: folds=9 is too many: there are only 8 different videos or groups"),
        ([f"folds={tmp_path}/none"], 3, f"error: folds={tmp_path}/none: there is no such folder"),
        (["out=figures.txt"], 2, "error: out=figures.txt: name a file that ends with .json"),
        (["evaluate.split=all"], 2, "error: crossval scores the videos that a fold holds out: leave"),
        (["checkpoint=v0001"], 2, "error: crossval.py has no parameter checkpoint: see --help"),
    ):
        done = warm.run("crossval", "tiny", *where, *words)
        lines = done.stderr.removeprefix("crossval tiny: Prefect starts\n").splitlines()
        assert (done.returncode, len(lines)) == (code, 1), done.stderr
        assert lines[0].startswith(said)
