from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.data.manifest import crossval_folds
from nonlocal_core.errors import ConfigError, InputError

PEOPLE = ("ann", "bo", "cy")
LABELS = ("run", "sit")
PATHS = [f"{label}/{person}_{label}.mp4" for label in LABELS for person in PEOPLE]


def sources(paths, split=""):
    return [Source(path, path, path.split("/")[0], split, 1, 0) for path in paths]


def of_each_label(counts):
    return [f"label{label}/{number:03d}.mp4" for label, count in enumerate(counts) for number in range(count)]


@given(st.lists(st.integers(1, 23), min_size=1, max_size=5), st.integers(2, 7), st.integers(0, 99))
def test_folds_share_every_label_evenly(counts, num_folds, seed):
    index = IndexConfig(split_seed=seed)
    fold_of = crossval_folds.draw_folds(sources(of_each_label(counts)), num_folds, index)
    assert sorted(fold_of) == sorted(of_each_label(counts))
    in_fold = Counter((path.split("/")[0], fold) for path, fold in fold_of.items())
    for label in range(len(counts)):
        shares = [in_fold[f"label{label}", fold] for fold in range(1, num_folds + 1)]
        assert max(shares) - min(shares) <= 1
    assert fold_of == crossval_folds.draw_folds(sources(of_each_label(counts)[::-1]), num_folds, index)


def test_another_seed_draws_other_folds():
    drawn = [
        crossval_folds.draw_folds(sources(of_each_label([20, 20])), 5, IndexConfig(split_seed=seed))
        for seed in range(3)
    ]
    assert drawn[0] != drawn[1] != drawn[2]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=2, max_size=20), st.integers(2, 5))
def test_a_group_is_never_on_both_sides(groups, num_folds):
    paths = [f"l{label}/g{g:02d}_{n}.mp4" for g, (label, size) in enumerate(groups) for n in range(size)]
    fold_of = crossval_folds.draw_folds(sources(paths), num_folds, IndexConfig(group_by=r"g\d+"))
    folds = defaultdict(set)
    for path, fold in fold_of.items():
        folds[path.split("/")[1][:3]].add(fold)
    assert {len(its) for its in folds.values()} == {1}


def test_groups_of_ucf101_are_known_and_parts_of_a_video_stay_together():
    ucf = [f"{label}/v_{label}_g{g:02d}_c{c:02d}.avi" for label in ("A", "B") for g in range(6) for c in range(4)]
    fold_of = crossval_folds.draw_folds(sources(ucf), 3, IndexConfig())
    assert all(len({fold_of[p] for p in ucf if p[:9] == path[:9]}) == 1 for path in ucf)
    assert Counter(fold_of.values()) == {1: 16, 2: 16, 3: 16}
    parts = [Source(f"a/{n}.mp4#{k}", f"a/{n}.mp4", "a", "", 1, 0) for n in range(4) for k in range(3)]
    fold_of = crossval_folds.draw_folds(parts, 2, IndexConfig())
    assert all(len({fold_of[f"a/{n}.mp4#{k}"] for k in range(3)}) == 1 for n in range(4))


@pytest.fixture
def videos_dir(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / "videos" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / path).write_bytes(b"no video is opened")
    return tmp_path / "videos"


def write_lists(folder: Path, label=LABELS.index, name="{person}/{split}.txt", held_out="val") -> Path:
    """Leave one person out."""
    for person in PEOPLE:
        for split in ("train", held_out):
            file = folder / name.format(person=person, split=split)
            file.parent.mkdir(parents=True, exist_ok=True)
            own = [path for path in PATHS if (person in path) == (split == held_out)]
            file.write_text("".join(f"{path} {label(path.split('/')[0])}\n" for path in own))
    return folder


def plan(videos_dir: Path, folds: object, names: Names | None = None, **index):
    return crossval_folds.plan(videos_dir, str(folds), IndexConfig(**index), names, "inside")


def found(videos_dir: Path, folds: object, **index):
    """The paths that each fold holds out, the labels, and the inventories."""
    planned = plan(videos_dir, folds, **index)
    found = [crossval_folds.find(videos_dir, fold, IndexConfig(**index), None, "inside") for fold in planned]
    for one in found:
        assert {source.split for source in one.sources} == {"train", "val"}
        assert len(one.sources) == len(PATHS)
    held_out = [{source.path for source in one.sources if source.split == "val"} for one in found]
    labels = {tuple(sorted({source.label for source in one.sources})) for one in found}
    return [fold.name for fold in planned], held_out, labels, [one.inventory for one in found]


OF_PEOPLE = [{f"{label}/{person}_{label}.mp4" for label in LABELS} for person in PEOPLE]


@pytest.mark.parametrize(
    ("label", "name", "held_out"),
    [
        (LABELS.index, "{person}/{split}.txt", "val"),
        (lambda label: LABELS.index(label) + 1, "{person}/{split}.txt", "test"),
        (str, "{person}/{split}.csv", "val"),
        (LABELS.index, "{person}_{split}.txt", "val"),
        (LABELS.index, "{split}-{person}.txt", "test"),
    ],
)
def test_folds_are_taken_from_lists_with_the_names_of_the_class_folders(
    videos_dir, tmp_path, label, name, held_out
):
    folder = write_lists(tmp_path / "folds", label, name, held_out)
    names, held, labels, inventories = found(videos_dir, folder)
    assert (names, held, labels) == ([*PEOPLE], OF_PEOPLE, {LABELS})
    assert inventories[1][-2:] == (
        "6 videos: train 4, val 2",
        "2 labels: run 3 (train 2, val 1), sit 3 (train 2, val 1)",
    )
    assert str(folder) in inventories[1][0]


def test_a_column_of_splits_may_say_what_the_names_of_the_lists_say(videos_dir, tmp_path):
    """Test is what is held out where there is no val."""
    folder = write_lists(tmp_path / "folds", str, "{person}/{split}.csv", "test")
    for file in folder.rglob("*.csv"):
        lines = [f"{line.replace(' ', ',')},{file.stem}\n" for line in file.read_text().splitlines()]
        file.write_text("".join(["path,label,split\n", *lines]))
    assert found(videos_dir, folder)[1] == OF_PEOPLE


def test_ids_stay_numbers_where_folders_are_no_labels(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for split in ("train", "val"):
        for fold in ("one", "two"):
            (tmp_path / "folds" / fold).mkdir(parents=True, exist_ok=True)
            lines = [f"{n}.mp4 {2 * (n % 2)}\n" for n in range(4) if (n < 2) == ((split, fold) in TRAIN)]
            (tmp_path / "folds" / fold / f"{split}.txt").write_text("".join(lines))
    for n in range(4):
        (videos / f"{n}.mp4").write_bytes(b"x")
    planned = plan(videos, tmp_path / "folds")
    assert {(fold.labels, fold.first_id) for fold in planned} == {(("0", "1", "2"), 0)}
    named = plan(videos, tmp_path / "folds", Names(["jump", "hop", "fall"]))
    found = crossval_folds.find(videos, named[0], IndexConfig(), None, "inside")
    assert {source.label for source in found.sources} == {"jump", "fall"}
    assert found.labels == ("jump", "hop", "fall")


TRAIN = {("train", "one"), ("val", "two")}


def test_drawn_folds_hold_every_video_out_once_and_leave_test_alone(videos_dir):
    names, held, labels, inventories = found(videos_dir, 3, group_by="[a-z]+(?=_)")
    assert (names, labels) == (["1 of 3", "2 of 3", "3 of 3"], {LABELS})
    assert sorted(map(sorted, held)) == sorted(map(sorted, OF_PEOPLE))
    assert "fold 2 of 3 is val, the other folds are train" in inventories[1]
    for path in PATHS:
        split = "test" if "cy" in path else "train"
        (videos_dir / split / path).parent.mkdir(parents=True, exist_ok=True)
        (videos_dir / path).rename(videos_dir / split / path)
    for label in LABELS:
        (videos_dir / label).rmdir()
    (fold, _) = plan(videos_dir, 2)
    splits = Counter(
        source.split for source in crossval_folds.find(videos_dir, fold, IndexConfig(), None, "inside").sources
    )
    assert splits == {"train": 2, "val": 2, "test": 2}


def damaged(folder: Path, what: str) -> None:
    """Make lists wrong in one way."""
    file = folder / "bo" / "val.txt"
    if what == "no val":
        file.unlink()
    elif what == "missing video":
        file.write_text(file.read_text() + "run/nobody.mp4 0\n")
    elif what == "both sides":
        file.write_text(file.read_text() + "run/ann_run.mp4 0\n")
    elif what == "parts on both sides":
        file.write_text("run/ann_run.mp4 0 0.0 0.5\n")
    elif what == "empty":
        file.write_text("")
    elif what == "one fold":
        for person in ("ann", "cy"):
            (folder / person).rename(folder.with_name(f"other-{person}"))
    elif what == "no folder":
        folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no val", "fold bo of .*folds has no list val.txt"),
        ("missing video", "fold bo lists 1 videos that are not in .*videos: run/nobody.mp4"),
        ("both sides", "bo/val.txt:3: run/ann_run.mp4 is listed in .*bo/train.txt:1 already"),
        ("parts on both sides", "fold bo has parts of one video in train and in val: run/ann_run.mp4"),
        ("empty", "bo/val.txt lists no video"),
        ("one fold", "folds has no folds: it needs folders FOLD with train.txt and val.txt, at least two"),
        ("no folder", "folds: there is no such folder; name one with lists, or a number of folds"),
    ],
)
def test_wrong_lists_are_one_clear_line(videos_dir, tmp_path, what, said):
    folder = write_lists(tmp_path / "folds")
    damaged(folder, what)
    with pytest.raises(InputError, match=said) as error:
        plan(videos_dir, folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folds", "group_by", "said"),
    [
        (1, "", "folds=1: name at least 2 folds"),
        (-2, "", "folds=-2: name at least 2 folds"),
        (7, "", "folds=7 is too many: there are only 6 different videos"),
        (4, "[a-z]+(?=_)", "folds=4 is too many: there are only 3 different videos or groups"),
        (2, "^[a-z]+", "without fold 1 there is only the label .* to learn"),
    ],
)
def test_folds_that_cannot_be_drawn_are_one_clear_line(videos_dir, folds, group_by, said):
    with pytest.raises((ConfigError, InputError), match=said):
        plan(videos_dir, folds, group_by=group_by)


def test_a_label_that_no_network_learns_is_warned_of(videos_dir, caplog):
    (videos_dir / "lie").mkdir()
    (videos_dir / "lie" / "ann_lie.mp4").write_bytes(b"x")
    plan(videos_dir, 2)
    assert "1 labels lie in one fold each, whose network never learns them: lie" in caplog.text
    with pytest.raises(InputError, match="folds=3 cannot be drawn: every label has one video or group"):
        plan(videos_dir, 3, group_by="^[a-z]+")


def test_a_folder_of_videos_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*videos"):
        plan(tmp_path / "videos", write_lists(tmp_path / "folds"))
