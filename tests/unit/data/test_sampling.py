from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nonlocal_core
from nonlocal_core.config import ClipConfig
from nonlocal_core.data import sampling
from nonlocal_core.errors import InputError

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
    indices = sampling.train_indices(num_frames, clip, np.random.default_rng(seed))
    assert_is_clip(indices, num_frames, clip)
    if num_frames >= clip.span + clip.frame_interval - 1:
        assert (np.diff(indices) == clip.frame_interval).all()


@pytest.mark.parametrize("num_frames", [1, 2, 5, 12, 13, 14, 40])
@pytest.mark.parametrize(("clip_len", "frame_interval"), [(1, 1), (4, 1), (4, 4), (7, 2)])
def test_every_frame_can_be_drawn(num_frames: int, clip_len: int, frame_interval: int) -> None:
    clip = ClipConfig(clip_len=clip_len, frame_interval=frame_interval)
    rng = np.random.default_rng(0)
    drawn = {int(i) for _ in range(1500) for i in sampling.train_indices(num_frames, clip, rng)}
    assert drawn == set(range(num_frames))


@given(LENGTHS, CLIPS, st.integers(1, 12))
def test_test_clips_are_spread_evenly_from_start_to_end(num_frames: int, clip: ClipConfig, num_clips: int) -> None:
    indices = sampling.test_indices(num_frames, clip, num_clips)
    assert indices.shape == (num_clips, clip.clip_len)
    for row in indices:
        assert_is_clip(row, num_frames, clip)
    starts, last_start = indices[:, 0], max(0, num_frames - clip.span)
    if num_clips == 1:
        assert starts[0] == last_start // 2
    else:
        assert (starts[0], starts[-1]) == (0, last_start)
        exact = np.arange(num_clips) * last_start / (num_clips - 1)
        assert np.abs(starts - exact).max() <= 0.5


def test_test_clips_of_a_known_video() -> None:
    clip = ClipConfig(clip_len=3, frame_interval=4)
    assert sampling.test_indices(14, clip, 3).tolist() == [[0, 4, 8], [3, 7, 11], [5, 9, 13]]
    assert sampling.test_indices(4, clip, 2).tolist() == [[0, 3, 3], [0, 3, 3]]


@pytest.mark.parametrize("num_frames", [0, -1])
def test_a_video_without_frames_has_no_clip(num_frames: int) -> None:
    with pytest.raises(InputError, match="at least 1 frame"):
        sampling.test_indices(num_frames, ClipConfig(), 10)
    with pytest.raises(InputError, match="at least 1 frame"):
        sampling.train_indices(num_frames, ClipConfig(), np.random.default_rng(0))


@given(st.integers(0, 300), st.integers(0, 99), st.integers(0, 99))
def test_an_epoch_sees_every_video_once(num_videos: int, seed: int, epoch: int) -> None:
    order = sampling.epoch_order(num_videos, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(num_videos))


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
