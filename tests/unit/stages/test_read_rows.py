"""A key holds the videos that its stage reads, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from registered import scored
from small import Toy, small_config

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.stages import evaluate, train
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index


@pytest.fixture
def videos_dir(toy: Toy, tmp_path: Path) -> Path:
    """The 12 toy videos, one a label in each of three splits."""
    for folder in toy.videos_dir.glob("*/"):
        for video, split in zip(sorted(folder.glob("*.mp4")), ("train", "val", "test"), strict=True):
            place = tmp_path / "videos" / split / folder.name / f"{split}.mp4"
            place.parent.mkdir(parents=True)
            shutil.copy(video, place)
    return tmp_path / "videos"


def cached(videos_dir: Path, workspace: Workspace) -> RecordCache:
    config = small_config(runtime__max_unreadable=0.3)
    return cache(index(videos_dir, config, workspace), config, workspace)


def keys(made: RecordCache, workspace: Workspace) -> dict[str, str]:
    checkpoint, _ = scored(workspace, "some", 0.5)
    trained = {f"trained, validations every {n}": small_config(train__val_epochs=n) for n in (0, 1)}
    tested = {f"{split} scored": small_config(evaluate__split=split) for split in ("train", "val", "test", "all")}
    timed = {f"{name}, timed": small_config(evaluate__split=name, clip__fps=15) for name in ("train", "val")}
    return {
        **{name: train.key(made, config, workspace) for name, config in trained.items()},
        **{name: evaluate.key(checkpoint, made, config) for name, config in (tested | timed).items()},
    }


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_broken_file_changes_what_its_split_scores_and_no_training(
    videos_dir: Path, tmp_path: Path, split: str
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    before = cached(videos_dir, workspace)
    good = (videos_dir / "train/falls/train.mp4").read_bytes()
    (videos_dir / split / "falls" / "upload.mp4").write_bytes(good[: len(good) // 2])
    after = cached(videos_dir, workspace)
    assert (after.num_videos, after.num_ok) == (13, 12)
    assert after.digest != before.digest
    old, new = keys(before, workspace), keys(after, workspace)
    changed = {name for name in old if old[name] != new[name]}
    assert changed == {f"{split} scored", "all scored", f"{split}, timed"} & old.keys()


def test_a_video_that_is_gone_changes_what_read_it(videos_dir: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    old = keys(cached(videos_dir, workspace), workspace)
    readers = {"test": (), "val": ("trained, validations every 1",), "train": tuple(old)[:2]}
    for split, label in zip(readers, ("falls", "grows", "rises"), strict=True):
        (videos_dir / split / label / f"{split}.mp4").unlink()
        new = keys(cached(videos_dir, workspace), workspace)
        changed = {name for name in old if old[name] != new[name]}
        assert changed == {*readers[split], f"{split} scored", "all scored", f"{split}, timed"} & old.keys()
        old = new


def test_where_every_video_is_read_the_digest_is_the_one_of_before(toy: Toy) -> None:
    """So what is finished in workspaces of before stays so."""
    clip = small_config().clip
    assert toy.cache.used({"train", "val"}, clip) == [toy.cache.digest]
    assert toy.cache.used({"all"}, clip) == toy.cache.scored("all", clip) == [toy.cache.digest]
    assert toy.cache.used({"train"}, clip) != [toy.cache.digest]
    before = toy.cache.model_copy(update={"usable": {}, "coverage_digests": {}})
    for split in ("train", "val", "all"):
        assert before.used({split}, clip) == before.scored(split, clip) == [toy.cache.digest]
