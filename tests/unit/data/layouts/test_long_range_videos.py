"""The controls say nothing of the label: shown on pixels, by drawing the four pairs of changes alike."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nonlocal_core.config.long_range import Kind
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection, long_range
from nonlocal_core.data.layouts.long_range import BAR_PX, LATE, NUM_FRAMES, SIDE_PX, long_range_frames
from nonlocal_core.data.video import decoding

PAIRS = [(False, False), (False, True), (True, False), (True, True)]
SEEDS = range(6)


def drawn(kind: Kind, seed: int) -> dict[tuple[bool, bool], np.ndarray]:
    """The four videos that differ in nothing but the changes of their bars."""
    return {pair: long_range_frames(kind, *pair, np.random.default_rng(seed)) for pair in PAIRS}


def labels_by_video(videos: list[tuple[bytes, bool]]) -> dict[bytes, Counter[bool]]:
    """How often each content has each label."""
    counts: dict[bytes, Counter[bool]] = {}
    for content, label in videos:
        counts.setdefault(content, Counter())[label] += 1
    return counts


def same(pair: tuple[bool, bool]) -> bool:
    return pair[0] == pair[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_bars_are_far_apart_in_space_and_time(seed: int) -> None:
    videos = drawn("far", seed)
    left = (videos[False, False] != videos[True, False]).any(-1)
    right = (videos[False, False] != videos[False, True]).any(-1)
    for changes, frames, columns in [(left, [0, 1], range(10)), (right, [4, 5], range(86, 96))]:
        assert np.flatnonzero(changes.any((1, 2))).tolist() == frames
        assert np.flatnonzero(changes.any((0, 1))).tolist() == [*columns]
        assert np.flatnonzero(changes.any((0, 2))).size == BAR_PX[0]
    assert LATE - 2 == 2, "frames without a bar lie between"
    assert SIDE_PX - 2 * BAR_PX[1] == 76


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["left", "right"])
def test_one_bar_is_the_same_video_with_both_labels(kind: Kind, seed: int) -> None:
    videos = drawn(kind, seed)
    counts = labels_by_video([(frames.tobytes(), same(pair)) for pair, frames in videos.items()])
    assert len(counts) == 2, "the bar itself shows"
    assert all(count == {True: 1, False: 1} for count in counts.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_frame_alone_is_the_same_with_both_labels(seed: int) -> None:
    videos = drawn("far", seed)
    for frame in range(NUM_FRAMES):
        counts = labels_by_video([(video[frame].tobytes(), same(pair)) for pair, video in videos.items()])
        assert all(count[True] == count[False] for count in counts.values())
    for pair, video in drawn("single", seed).items():
        assert (video == video[0]).all()
        assert any((video[0] == frame).all() for frame in videos[pair][[0, 1, 4, 5]])
    counts = labels_by_video([(video.tobytes(), same(pair)) for pair, video in drawn("single", seed).items()])
    assert len(counts) == 2, "there is a bar in it"
    assert all(count == {True: 1, False: 1} for count in counts.values())


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_frames_in_any_order_are_as_often_of_one_label_as_of_the_other(seed: int) -> None:
    codes: dict[bytes, int] = {}
    videos = {
        pair: [codes.setdefault(frame.tobytes(), len(codes)) for frame in video]
        for pair, video in drawn("far", seed).items()
    }
    of_label = {
        label: Counter(
            tuple(video[place] for place in order)
            for pair, video in videos.items()
            if same(pair) == label
            for order in itertools.permutations(range(NUM_FRAMES))
        )
        for label in (True, False)
    }
    assert of_label[True] == of_label[False]
    assert sum(of_label[True].values()) == 2 * 720
    for pair, video in drawn("shuffled", seed).items():
        assert Counter(codes[frame.tobytes()] for frame in video) == Counter(videos[pair])


def test_orders_are_drawn() -> None:
    videos = [drawn("shuffled", seed)[True, False] for seed in range(30)]
    plain = [drawn("far", seed)[True, False] for seed in range(30)]
    moved = [not np.array_equal(one, other) for one, other in zip(videos, plain, strict=True)]
    assert sum(moved) >= 28


@pytest.mark.parametrize("seed", SEEDS)
def test_near_bars_touch_and_change_together(seed: int) -> None:
    videos = drawn("near", seed)
    changed = (videos[False, False] != videos[True, True]).any(-1)
    frames, columns = np.flatnonzero(changed.any((1, 2))), np.flatnonzero(changed.any((0, 1)))
    assert frames.tolist() in ([0, 1], [4, 5])
    assert columns.tolist() == [*range(columns[0], columns[0] + 20)]


@pytest.mark.parametrize("kind", long_range.KINDS)
def test_labels_and_changes_are_balanced_in_train_and_val(kind: Kind, tmp_path: Path) -> None:
    folder = long_range.make_long_range_videos(tmp_path / kind, kind, num_train=8, num_val=4, seed=3)
    sources = detection.find(folder, IndexConfig()).sources
    counts = Counter((source.split, source.label) for source in sources)
    assert counts == {
        ("train", "same"): 4, ("train", "different"): 4, ("val", "same"): 2, ("val", "different"): 2,
    }  # fmt: skip
    numbers = {int(source.path[-8:-4]): source.label for source in sources}
    assert sorted(numbers) == [*range(12)]
    assert all((label == "same") == (number % 4 in (0, 3)) for number, label in numbers.items())


def test_no_frame_of_a_written_video_has_traces_of_another(tmp_path: Path) -> None:
    folder = long_range.make_long_range_videos(tmp_path / "far", "far", num_train=4, num_val=0)
    sources = detection.find(folder, IndexConfig()).sources
    for source in sources:
        video = np.stack(list(decoding.read_frames(folder / source.path)))
        assert video.shape == (NUM_FRAMES, SIDE_PX, SIDE_PX, 3)
        np.testing.assert_array_equal(video[2], video[3], "frames without a bar")
        left, right = slice(None, 40), slice(56, None)
        np.testing.assert_array_equal(video[4][:, left], video[2][:, left])
        np.testing.assert_array_equal(video[1][:, right], video[2][:, right])
        assert np.abs(video[0][:, :10].astype(int) - video[1][:, :10]).max() > 150, "a bar changes its colour"
