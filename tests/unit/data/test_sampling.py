from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_files import SLOW_THEN_FAST

import nonlocal_core
from nonlocal_core.config.sections import ClipConfig
from nonlocal_core.data import sampling
from nonlocal_core.data.timing import whole
from nonlocal_core.errors import ConfigError, InputError

CLIPS = st.builds(ClipConfig, clip_len=st.integers(1, 16), frame_interval=st.integers(1, 6))
LENGTHS = st.integers(1, 150)


def assert_is_clip(indices: np.ndarray, num_frames: int, clip: ClipConfig) -> None:
    assert indices.dtype == np.int64
    assert indices.shape == (clip.clip_len,)
    assert 0 <= indices[0] <= indices[-1] < num_frames
    steps = np.diff(indices)
    at_the_end = indices[1:] == num_frames - 1
    assert ((steps == clip.frame_interval) | (at_the_end & (steps >= 0) & (steps < clip.frame_interval))).all()


@given(LENGTHS, CLIPS, st.integers(0, 2**32))
def test_a_train_clip_steps_forward_and_stays_inside(num_frames: int, clip: ClipConfig, seed: int) -> None:
    indices = sampling.train_indices(whole(num_frames), clip, np.random.default_rng(seed))
    assert_is_clip(indices, num_frames, clip)
    if num_frames >= sampling.span(clip) + clip.frame_interval - 1:
        assert (np.diff(indices) == clip.frame_interval).all()


@pytest.mark.parametrize("num_frames", [1, 2, 5, 12, 13, 14, 40])
@pytest.mark.parametrize(("clip_len", "frame_interval"), [(1, 1), (4, 1), (4, 4), (7, 2)])
def test_every_frame_can_be_drawn(num_frames: int, clip_len: int, frame_interval: int) -> None:
    clip = ClipConfig(clip_len=clip_len, frame_interval=frame_interval)
    rng = np.random.default_rng(0)
    drawn = {int(i) for _ in range(1500) for i in sampling.train_indices(whole(num_frames), clip, rng)}
    assert drawn == set(range(num_frames))


@given(LENGTHS, CLIPS, st.integers(1, 12))
def test_test_clips_are_spread_evenly_from_start_to_end(num_frames: int, clip: ClipConfig, num_clips: int) -> None:
    indices = sampling.test_indices(whole(num_frames), clip, num_clips, "spread")
    assert indices.shape == (num_clips, clip.clip_len)
    for row in indices:
        assert_is_clip(row, num_frames, clip)
    starts, last_start = indices[:, 0], max(0, num_frames - sampling.span(clip))
    if num_clips == 1:
        assert starts[0] == last_start // 2
    else:
        assert (starts[0], starts[-1]) == (0, last_start)
        exact = np.arange(num_clips) * last_start / (num_clips - 1)
        assert np.abs(starts - exact).max() <= 0.5


def test_test_clips_of_a_known_video() -> None:
    clip = ClipConfig(clip_len=3, frame_interval=4)
    assert sampling.test_indices(whole(14), clip, 3, "spread").tolist() == [[0, 4, 8], [3, 7, 11], [5, 9, 13]]
    assert sampling.test_indices(whole(4), clip, 2, "spread").tolist() == [[0, 3, 3], [0, 3, 3]]


def test_the_span_of_a_clip() -> None:
    assert sampling.span(ClipConfig(clip_len=32, frame_interval=2)) == 63
    assert sampling.span(ClipConfig(clip_len=1, frame_interval=8)) == 1
    assert sampling.span(ClipConfig(clip_len=32, frame_interval=2, sampling="part")) == 32


@pytest.mark.parametrize("num_frames", [0, -1])
def test_a_video_without_frames_has_no_clip(num_frames: int) -> None:
    with pytest.raises(InputError, match="at least 1 frame"):
        sampling.test_indices(whole(num_frames), ClipConfig(), 10, "spread")
    with pytest.raises(InputError, match="at least 1 frame"):
        sampling.train_indices(whole(num_frames), ClipConfig(), np.random.default_rng(0))


@given(st.integers(0, 300), st.integers(0, 99), st.integers(0, 99))
def test_an_epoch_sees_every_video_once(num_videos: int, seed: int, epoch: int) -> None:
    order = sampling.epoch_order(num_videos, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(num_videos))


LABELLED = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda labels: np.array(labels, np.int32))


@given(LABELLED, st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 99))
def test_a_balanced_epoch_gives_labels_their_places_and_their_videos_turns(
    label_N: np.ndarray, balance: float, seed: int
) -> None:
    order = sampling.balanced_order(label_N, balance, seed, 3)
    assert (order.dtype, len(order)) == (np.int64, len(label_N))
    assert order.tolist() == sampling.balanced_order(label_N, balance, seed, 3).tolist()
    counts = Counter(label_N.tolist())
    shares = {label: count ** (1 - balance) for label, count in counts.items()}
    for label in counts:
        drawn = Counter(order[label_N[order] == label].tolist())
        wanted = len(label_N) * shares[label] / sum(shares.values())
        assert math.floor(wanted - 1e-9) <= drawn.total() <= math.ceil(wanted + 1e-9)
        times = [drawn[video] for video in np.flatnonzero(label_N == label).tolist()]
        assert max(times) - min(times) <= 1


def test_an_epoch_without_balance_is_the_one_of_before() -> None:
    label_N = np.array([0] * 12 + [1], np.int32)
    assert sampling.balanced_order(label_N, 0.0, 5, 7).tolist() == sampling.epoch_order(13, 5, 7).tolist()


def test_a_balanced_epoch_depends_on_seed_and_epoch_and_is_fair_in_the_long_run() -> None:
    label_N = np.array([0] * 9 + [1] * 3 + [2], np.int32)
    orders = [sampling.balanced_order(label_N, 1.0, 0, epoch) for epoch in range(600)]
    assert len({tuple(order.tolist()) for order in orders}) == 600
    assert sampling.balanced_order(label_N, 1.0, 1, 0).tolist() != orders[0].tolist()
    of_label = np.bincount(label_N[np.concatenate(orders)]) / 600
    np.testing.assert_allclose(of_label, 13 / 3, rtol=0.01)
    of_video = np.bincount(np.concatenate(orders)) / 600
    np.testing.assert_allclose(of_video[:9], 13 / 27, atol=0.1)
    first_places = np.bincount(label_N[[order[0] for order in orders]]) / 600
    np.testing.assert_allclose(first_places, 1 / 3, atol=0.07)


def test_turns_count_how_often_a_video_has_come_before() -> None:
    assert sampling.turns(np.array([4, 1, 4, 4, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]


def test_every_argument_changes_the_draw() -> None:
    keys = [
        (0, 1, "a/b.mp4", "clip"),
        (1, 1, "a/b.mp4", "clip"),
        (0, 2, "a/b.mp4", "clip"),
        (0, 1, "a/c.mp4", "clip"),
        (0, 1, "a/b.mp4", "crop"),
        (0, 11, "", ""),
        (0, 1, "1", ""),
    ]
    assert len({int(sampling.generator(*key).integers(2**62)) for key in keys}) == len(keys)
    assert sampling.epoch_order(50, 0, 0).tolist() != sampling.epoch_order(50, 0, 1).tolist()


def test_draws_are_pinned_for_good() -> None:
    """A change here changes every training that anyone has ever run."""
    assert sampling.generator(3, 5, "übung.mp4", "clip").integers(0, 1000, 4).tolist() == [22, 20, 215, 69]


def test_another_process_draws_the_same() -> None:
    code = "from nonlocal_core.data.sampling import epoch_order; print(epoch_order(20, 1, 2).tolist())"
    root = Path(nonlocal_core.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(sampling.epoch_order(20, 1, 2).tolist())


MODES = st.sampled_from(["interval", "part", "discrete", "average"])
ALL_CLIPS = st.builds(
    ClipConfig,
    clip_len=st.integers(1, 16),
    frame_interval=st.integers(1, 6),
    sampling=MODES,
    short_videos=st.sampled_from(["repeat_last", "loop"]),
)
OFFSETS = st.sampled_from(["spread", "paper", "slowfast"])


def mode(sampling_mode: Any, clip_len: int = 4, frame_interval: int = 3, **settings: Any) -> ClipConfig:
    return ClipConfig(clip_len=clip_len, frame_interval=frame_interval, sampling=sampling_mode, **settings)


def before(num_frames: int, clip: ClipConfig, seed: int) -> list[int]:
    """A training clip as it was drawn before there were other modes, in plain Python."""
    last = max(
        num_frames - ((clip.clip_len - 1) * clip.frame_interval + 1), min(clip.frame_interval, num_frames) - 1
    )
    start = int(np.random.default_rng(seed).integers(last + 1))
    return [min(start + i * clip.frame_interval, num_frames - 1) for i in range(clip.clip_len)]


@given(LENGTHS, CLIPS, st.integers(0, 2**32))
def test_the_default_mode_draws_what_it_always_drew(num_frames: int, clip: ClipConfig, seed: int) -> None:
    drawn = sampling.train_indices(whole(num_frames), clip, np.random.default_rng(seed))
    assert drawn.tolist() == before(num_frames, clip, seed)


@given(LENGTHS, ALL_CLIPS, st.integers(0, 2**32))
def test_every_mode_stays_inside_and_is_a_function_of_its_draws(
    num_frames: int, clip: ClipConfig, seed: int
) -> None:
    indices, again = (
        sampling.train_indices(whole(num_frames), clip, np.random.default_rng(seed)) for _ in range(2)
    )
    assert (indices.shape, indices.dtype) == ((clip.clip_len,), np.int64)
    assert (indices.min() >= 0) & (indices.max() < num_frames)
    assert indices.tolist() == again.tolist()
    if clip.short_videos == "repeat_last":
        assert (np.diff(indices) >= 0).all()
    if clip.sampling in ("discrete", "average") and num_frames >= clip.clip_len:
        assert (np.diff(indices) > 0).all(), "distinct frames in their order"


@pytest.mark.parametrize("short_videos", ["repeat_last", "loop"])
@pytest.mark.parametrize("sampling_mode", ["interval", "part", "discrete", "average"])
@pytest.mark.parametrize("num_frames", [1, 3, 4, 5, 10, 11, 12, 30])
def test_every_mode_can_draw_every_frame(num_frames: int, sampling_mode: str, short_videos: str) -> None:
    clip, rng = mode(sampling_mode, short_videos=short_videos), np.random.default_rng(0)
    drawn = {int(i) for _ in range(1000) for i in sampling.train_indices(whole(num_frames), clip, rng)}
    assert drawn == set(range(num_frames))


@given(LENGTHS, ALL_CLIPS, st.integers(1, 12), OFFSETS)
def test_test_clips_of_every_mode_stay_inside(
    num_frames: int, clip: ClipConfig, num_clips: int, offsets: Literal["spread", "paper"]
) -> None:
    indices = sampling.test_indices(whole(num_frames), clip, num_clips, offsets)
    assert (indices.shape, indices.dtype) == ((num_clips, clip.clip_len), np.int64)
    assert (indices.min() >= 0) & (indices.max() < num_frames)
    if clip.short_videos == "repeat_last" and offsets == "spread":
        assert (np.diff(indices) >= 0).all()
    if clip.sampling in ("discrete", "average") and num_frames >= clip.clip_len:
        assert (np.diff(indices) > 0).all()
        if offsets == "spread" and num_clips > 1:
            assert (indices[0, 0], indices[-1, -1]) == (0, num_frames - 1)


def drawn(num_frames: int, clip: ClipConfig) -> set[tuple[int, ...]]:
    rng = np.random.default_rng(0)
    return {tuple(sampling.train_indices(whole(num_frames), clip, rng).tolist()) for _ in range(3000)}


def test_long_videos_give_the_clips_of_the_seed_and_those_that_it_forgets() -> None:
    """Its formulas in plain Python: n frames, s of a clip, every f, one clip; R is a clip's length to the seed."""
    n, s, f = 40, 4, 3
    seeds_starts = range(n - (s * f + 1) + 1)
    interval = {tuple(start + i * f for i in range(s)) for start in seeds_starts}
    part = {tuple(start + i for i in range(s)) for start in seeds_starts}
    average = {tuple(start + i * (n // s) for i in range(s)) for start in range(n // s)}
    found = {name: drawn(n, mode(name)) for name in ("interval", "part", "average")}
    assert found["average"] == average
    assert found["interval"] > interval
    assert found["part"] > part
    assert {clip[0] for clip in found["interval"] - interval} == {28, 29, 30}
    assert {clip[0] for clip in found["part"] - part} == set(range(28, 37))


def test_discrete_clips_are_all_choices_alike_as_in_the_seed() -> None:
    choices = set(itertools.combinations(range(6), 3))
    rng, clip = np.random.default_rng(0), mode("discrete", 3)
    counts = Counter(tuple(sampling.train_indices(whole(6), clip, rng).tolist()) for _ in range(20000))
    assert counts.keys() == choices
    assert max(abs(count - 1000) for count in counts.values()) < 150


@pytest.mark.parametrize(("num_frames", "clip_len"), [(11, 4), (13, 5), (29, 8), (7, 7)])
def test_average_clips_draw_every_frame_alike_though_the_parts_are_no_whole_numbers(num_frames, clip_len) -> None:
    """The seed's parts have n // s frames and leave the rest of the video out."""
    clip, counts = mode("average", clip_len), Counter()
    for place in range(num_frames):
        rng: Any = SimpleNamespace(integers=lambda end, place=place: place if end == num_frames else None)
        indices = sampling.train_indices(whole(num_frames), clip, rng).tolist()
        assert set(np.diff(indices)) <= {num_frames // clip_len, num_frames // clip_len + 1}
        counts.update(indices)
    assert counts == dict.fromkeys(range(num_frames), clip_len)


@pytest.mark.parametrize(
    ("sampling_mode", "repeated", "looped"),
    [
        ("interval", {(0, 2, 2, 2), (1, 2, 2, 2), (2, 2, 2, 2)}, {(0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2)}),
        ("part", {(0, 1, 2, 2)}, {(0, 1, 2, 0)}),
        ("discrete", {(0, 1, 2, 2)}, {(0, 1, 2, 0)}),
        ("average", {(0, 1, 2, 2)}, {(0, 1, 2, 0)}),
    ],
)
def test_a_short_video_ends_as_asked(sampling_mode: str, repeated: set[object], looped: set[object]) -> None:
    assert drawn(3, mode(sampling_mode)) == repeated
    assert drawn(3, mode(sampling_mode, short_videos="loop")) == looped
    for offsets in ("spread", "paper"):
        first = sampling.test_indices(whole(3), mode(sampling_mode, short_videos="loop"), 2, offsets)[0]
        assert tuple(first.tolist()) in looped


@given(LENGTHS, ALL_CLIPS, st.integers(1, 12))
def test_the_papers_offsets(num_frames: int, clip: ClipConfig, num_clips: int) -> None:
    """video-nonlocal-net: clip k starts at int(n / clips * k), indices wrap."""
    indices = sampling.test_indices(whole(num_frames), clip, num_clips, "paper")
    if clip.sampling in ("interval", "part"):
        step = clip.frame_interval if clip.sampling == "interval" else 1
        for k, row in enumerate(indices.tolist()):
            start = int(num_frames / num_clips * k)
            assert row == [(start + i * step) % num_frames for i in range(clip.clip_len)]
    elif num_frames >= clip.clip_len:
        n, s = num_frames, clip.clip_len
        expected = [[(i * n + int(n / num_clips * k)) // s for i in range(s)] for k in range(num_clips)]
        assert indices.tolist() == expected


def test_test_clips_of_the_other_modes_of_a_known_video() -> None:
    def test_clips(sampling_mode: str, offsets: Literal["spread", "paper"], num_clips: int = 3) -> list[list[int]]:
        found: list[list[int]] = sampling.test_indices(whole(20), mode(sampling_mode), num_clips, offsets).tolist()
        return found

    assert test_clips("part", "spread") == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
    assert test_clips("part", "paper") == [[0, 1, 2, 3], [6, 7, 8, 9], [13, 14, 15, 16]]
    assert test_clips("interval", "paper") == [[0, 3, 6, 9], [6, 9, 12, 15], [13, 16, 19, 2]]
    assert test_clips("average", "spread", 1) == [[2, 7, 12, 17]]
    for name in ("average", "discrete"):
        assert test_clips(name, "spread") == [[0, 5, 10, 15], [2, 7, 12, 17], [4, 9, 14, 19]]
        assert test_clips(name, "paper") == [[0, 5, 10, 15], [1, 6, 11, 16], [3, 8, 13, 18]]


def published(num_frames: int, fps: float, clip: ClipConfig, start: Fraction) -> list[int]:
    """PySlowFast's frames of a clip: linspace over sampling_rate * num_frames / target_fps * fps of them."""
    clip_size = max(
        Fraction(1), Fraction(clip.frame_interval * clip.clip_len) / Fraction(clip.fps) * Fraction(fps)
    )
    places = [start + i * (clip_size - 1) / max(clip.clip_len - 1, 1) for i in range(clip.clip_len)]
    return [min(max(math.floor(place + Fraction(1, 10**6)), 0), num_frames - 1) for place in places]


RATES = st.sampled_from([5.0, 24.0, 25.0, 30.0, 50.0, 60.0, 30000 / 1001])


@given(
    st.integers(1, 400),
    RATES,
    st.builds(ClipConfig, clip_len=st.integers(1, 16), frame_interval=st.integers(1, 8), fps=st.just(30.0)),
    st.integers(1, 12),
    st.integers(0, 2**32),
)
def test_clips_are_resampled_as_pyslowfast_does(
    num_frames: int, fps: float, clip: ClipConfig, num_clips: int, seed: int
) -> None:
    video, size = whole(num_frames, fps), max(1.0, clip.frame_interval * clip.clip_len / 30 * fps)
    delta = Fraction(max(num_frames - size, 0.0))
    drawn = sampling.train_indices(video, clip, np.random.default_rng(seed)).tolist()
    share = Fraction(np.random.default_rng(seed).random())
    assert drawn == published(num_frames, fps, clip, share * delta)
    spread = sampling.test_indices(video, clip, num_clips, "spread").tolist()
    starts = [delta * k / (num_clips - 1) for k in range(num_clips)] if num_clips > 1 else [delta / 2]
    for found, start in zip(spread, starts, strict=True):
        assert (
            np.abs(np.subtract(found, published(num_frames, fps, clip, start))).max() <= 1
        )  # a float was rounded
    assert [spread[0], spread[-1]] == [
        published(num_frames, fps, clip, start) for start in (starts[0], starts[-1])
    ]


@pytest.mark.parametrize(
    ("fps", "frames"),
    [
        (30.0, [0, 9, 18, 27, 36, 45, 54, 63]),
        (60.0, [0, 18, 36, 54, 72, 90, 108, 127]),
        (15.0, [0, 4, 8, 13, 17, 22, 26, 31]),
        (0.0, [0, 9, 18, 27, 36, 45, 54, 63]),
    ],
)
def test_a_clip_of_8x8_lasts_as_long_at_every_rate(fps: float, frames: list[int]) -> None:
    clip = ClipConfig(clip_len=8, frame_interval=8, fps=30.0)
    assert sampling.test_indices(whole(300, fps), clip, 10, "spread")[0].tolist() == frames
    assert sampling.size(whole(300, fps), clip) == (64 * fps / 30 if fps else 64)


@pytest.mark.parametrize(
    ("num_frames", "fps", "starts"),
    [
        (300, 30.0, [0, 23, 47, 70, 94, 118, 141, 165, 188, 212]),  # 236 * k / 10
        (250, 25.0, [0, 19, 39, 59, 78, 98, 118, 137, 157, 177]),  # (250 - 64 * 25 / 30) * k / 10
        (40, 30.0, [0] * 10),
    ],
)
def test_pyslowfasts_test_clips_never_end_with_the_video(num_frames: int, fps: float, starts: list[int]) -> None:
    """Its get_start_end_idx without use_offset, and temporal_sampling: linspace, cut to the video, floor."""
    clip = ClipConfig(clip_len=8, frame_interval=8, fps=30.0)
    found = sampling.test_indices(whole(num_frames, fps), clip, 10, "slowfast")
    assert found[:, 0].tolist() == starts
    size = 64 * fps / 30
    for k, indices in enumerate(found.tolist()):
        start = max(num_frames - size, 0) * k / 10
        places = [start + i * (size - 1) / 7 for i in range(8)]
        assert indices == [min(math.floor(place + 1e-6), num_frames - 1) for place in places]
    first = sampling.test_indices(whole(300, 30.0), clip, 1, "slowfast").tolist()
    assert first == [[0, 9, 18, 27, 36, 45, 54, 63]]


def test_without_a_rate_slowfasts_starts_are_shares_of_the_spare_frames() -> None:
    clip = ClipConfig(clip_len=4, frame_interval=5)
    assert sampling.test_indices(whole(50), clip, 3, "slowfast")[:, 0].tolist() == [0, 10, 20]


def test_resampled_clips_go_by_time_stamps() -> None:
    """At 1 frame a second, a clip of 2.13 s has 3 frames; at 30, as many as it takes."""
    video, clip = whole(70, 0.0, SLOW_THEN_FAST), ClipConfig(clip_len=8, frame_interval=8, fps=30.0)
    rng, slow = np.random.default_rng(0), 0
    mean_s = SLOW_THEN_FAST[-1] / 69
    for _ in range(300):
        indices = sampling.train_indices(video, clip, rng)
        times_s = np.array(SLOW_THEN_FAST)[indices]
        # The last place is one mean frame time before the clip's end, as in a video of an even rate.
        assert times_s[-1] - times_s[0] <= 64 / 30 - mean_s + 1.0
        if times_s[-1] < 9:
            slow += 1
            assert np.unique(indices).size <= 3
    assert slow > 100
    # From 10.01 s on, when frame 10 is shown: a clip of 12.4 mean frame times, of 0.173 s each.
    last = sampling.test_indices(video, clip, 2, "spread")[1]
    begin_s, place_s = 70 * mean_s - 64 / 30, (64 / 30 - mean_s) / 7
    shown = [sum(time_s <= begin_s + i * place_s + 1e-9 for time_s in SLOW_THEN_FAST) - 1 for i in range(8)]
    assert last.tolist() == shown
    assert (np.diff(last) > 7).all()


def test_a_resampled_clip_goes_on_from_the_start_where_it_is_asked_to() -> None:
    clip = ClipConfig(clip_len=4, frame_interval=2, fps=30.0, short_videos="loop")
    assert sampling.test_indices(whole(5, 30.0), clip, 1, "spread").tolist() == [[0, 2, 4, 2]]
    repeats = clip.model_copy(update={"short_videos": "repeat_last"})
    assert sampling.test_indices(whole(5, 30.0), repeats, 1, "spread").tolist() == [[0, 2, 4, 4]]
    assert sampling.test_indices(whole(10, 30.0), repeats, 2, "paper").tolist() == [[0, 2, 4, 7], [5, 7, 9, 2]]


def test_only_interval_clips_have_a_rate() -> None:
    with pytest.raises(ConfigError, match=r"clip\.fps=30 needs clip\.sampling=interval"):
        ClipConfig(fps=30.0, sampling="average")
    assert ClipConfig(fps=30.0, clip_len=8, frame_interval=8).name == "8x8 at 30 frames/s"
    assert ClipConfig(sampling="part").name == "32x1"


@pytest.mark.parametrize(
    ("settings", "num_clips"),
    [({}, 2), ({"clip_len": 60}, 1), ({"sampling": "part"}, 4), ({"sampling": "average"}, 1), ({"fps": 30.0}, 1)],
)
def test_as_many_clips_as_cover_a_stretch(settings: dict[str, Any], num_clips: int) -> None:
    clip, video = ClipConfig(**{"clip_len": 32, "frame_interval": 2, **settings}), whole(120, 60.0)
    assert sampling.clips_to_cover(video, clip) == num_clips
    indices = sampling.test_indices(video, clip, num_clips, "spread")
    missing = set(range(120)) - {int(k) + near for k in indices.ravel() for near in range(-4, 5)}
    assert not missing, "nothing of it is left out"
