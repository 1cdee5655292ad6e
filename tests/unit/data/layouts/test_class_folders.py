"""First folders that are splits, labels or neither."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection
from nonlocal_core.errors import InputError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def below(*folders: str, labels: tuple[str, ...] = ("run", "jump", "wave")) -> list[str]:
    return [f"{folder}/{label}/{folder.replace('/', '_')}_{label}.mp4" for folder in folders for label in labels]


def find(folder: Path, **settings: str) -> detection.Listing:
    return detection.find(folder, IndexConfig.model_validate(settings))


@pytest.mark.parametrize(
    "folders",
    [
        ("Training_set", "Validation_set", "Test_set"),
        ("train_256", "val_256", "test_256"),
        ("videos_train", "videos_val", "videos_test"),
        ("01-train", "02-dev", "03-test"),
        ("TrainData", "DevData", "TestData"),
        ("trn", "vld", "tst"),
    ],
)
def test_folders_with_the_word_of_a_split_are_splits(tmp_path: Path, folders: tuple[str, ...]) -> None:
    touch(tmp_path, *below(folders[0]), *below(folders[1], labels=("run",)), *below(folders[2], labels=("jump",)))
    found = find(tmp_path)
    assert Counter(source.split for source in found.sources) == {"train": 3, "val": 1, "test": 1}
    assert {source.label for source in found.sources} == {"run", "jump", "wave"}
    assert any("jump 2 (test 1, train 1, val 0)" in line for line in found.inventory)


def test_a_label_with_such_a_word_stays_one(tmp_path: Path) -> None:
    touch(tmp_path, "train_ride/2020/a.mp4", "eye_test/2021/b.mp4", "run/2020/c.mp4")
    assert {source.label for source in find(tmp_path).sources} == {"train_ride", "eye_test", "run"}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (below("train", "dev", "eval"), "dev and eval of .* both mean val: name them train, val and test"),
        (below("train", "val", "valid"), "val and valid of .* both mean val"),
        (
            [*below("part1"), *below("part2", labels=("run", "jump"))],
            "part1, part2 of .* all hold jump, run, as spl",
        ),
        (
            ["run/train/a.mp4", "run/test/b.mp4", "jump/train/c.mp4", "jump/test/d.mp4"],
            "split first, test/jump, or",
        ),
        (
            ["train/a.mp4", "val/b.mp4", "lists/train.csv"],
            "named like splits .* not used: lists/train.csv; if they",
        ),
        (
            below("a/b/UCF-101"),
            "its folder a/b/UCF-101, which holds jump, run, wave: give videos_dir=.*/a/b/UCF-101",
        ),
        (["run/anna/a.mp4", "run/anna/b.mp4"], "its folder run/anna, so they have one label"),
        (
            ["v/a.mp4", "v/b.mp4", "lists/my_split.json"],
            "one label: lists that are found and not used: lists/my_spl",
        ),
        (
            ["train/UCF/run/a.mp4", "train/UCF/jump/b.mp4", "val/UCF/run/c.mp4"],
            "one folder, UCF, .* move these up",
        ),
        (
            ["train/train/run/a.mp4", "train/train/jump/b.mp4", "val/val/run/c.mp4"],
            "one folder, train, val, which holds jump, run: move these up",
        ),
    ],
)
def test_folders_that_are_no_labels_are_refused_by_name(tmp_path: Path, paths: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(touch(tmp_path, *paths))


def test_the_folder_of_the_lists_is_the_one_to_give(tmp_path: Path) -> None:
    touch(tmp_path, "data/UCF-101/Run/v_Run_g01_c01.avi", "data/UCF-101/Jump/v_Jump_g01_c01.avi")
    (tmp_path / "data/lists").mkdir()
    (tmp_path / "data/lists/trainlist01.txt").write_text("Run/v_Run_g01_c01.avi 1\nJump/v_Jump_g01_c01.avi 2\n")
    with pytest.raises(InputError, match=rf"give videos_dir={tmp_path}/data, where the lists are"):
        find(tmp_path)
    assert find(tmp_path / "data").layout == "folds"


def test_lists_in_other_folders_are_said(tmp_path: Path) -> None:
    touch(tmp_path, *below("", labels=("run", "jump"))[:2], "annotations/train.csv", "classInd.txt", "notes.txt")
    touch(tmp_path, "run/a.mp4", "jump/a.mp4")
    assert "lists that are found and not used: annotations/train.csv, classInd.txt" in find(tmp_path).inventory


def test_labels_that_look_the_same_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/a.mp4", "train/jump/a.mp4", "val/Run/b.mp4", "val/jump\u200b/c.mp4")
    (line,) = (line for line in find(tmp_path).inventory if line.startswith("labels that differ"))
    assert line.endswith(r"alone: 'Run' and 'run', 'jump' and 'jump\u200b'")
    assert any(line.startswith("2 labels have no video in train: Run, jump") for line in find(tmp_path).inventory)


def test_a_video_beside_its_frames_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "run/a.mp4", "run/a/img_1.jpg", "run/a/img_2.jpg", "jump/b.mp4")
    said = "1 videos count twice, as a file and as a folder of pictures: run/a.mp4"
    assert said in find(tmp_path).inventory


def test_flow_beside_frames_is_said(tmp_path: Path) -> None:
    touch(
        tmp_path, *(f"run/a/{kind}/{number}.jpg" for kind in ("rgb", "flow_x") for number in (1, 2)), "jump/b.mp4"
    )
    said = "1 folders are taken as videos, though named like flow or masks: run/a/flow_x"
    assert said in find(tmp_path).inventory


def test_ucf101_that_was_converted_is_found_by_its_lists(tmp_path: Path) -> None:
    """To another ending, or to pictures."""
    touch(tmp_path, "Run/v_Run_g01_c01.mp4", "Jump/v_Jump_g01_c01/img_1.jpg", "Jump/v_Jump_g01_c01/img_2.jpg")
    (tmp_path / "trainlist01.txt").write_text("Run/v_Run_g01_c01.avi 1\r\n")
    (tmp_path / "testlist01.txt").write_text("Jump/v_Jump_g01_c01.avi\r\n")
    found = {source.video_id: source for source in find(tmp_path).sources}
    assert sorted(found) == ["Jump/v_Jump_g01_c01", "Run/v_Run_g01_c01.mp4"]
    assert all(source.size_bytes > 0 for source in found.values())


def test_numbers_in_the_order_of_the_alphabet_are_said(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/a.mp4" for label in range(12)))
    said = "ids of labels follow the alphabet, 11 before 2: labels_path=FILE has another order"
    assert said in find(tmp_path).inventory
