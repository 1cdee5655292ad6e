from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_core.data import transforms
from nonlocal_core.errors import InputError

SIDES = st.integers(16, 40)


def clip_of(num_frames: int, height: int, width: int) -> np.ndarray:
    """A clip in which every byte tells where it is: (frame, row, column) in the channels."""
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    frames[..., 0] = np.arange(num_frames)[:, None, None]
    frames[..., 1] = np.arange(height)[None, :, None]
    frames[..., 2] = np.arange(width)[None, None, :]
    return frames


@given(SIDES, SIDES, st.integers(8, 16), st.sampled_from([0.0, 1.0]), st.integers(0, 2**32))
def test_a_train_view_is_one_window_for_the_whole_clip(
    height: int, width: int, crop_size: int, flip_probability: float, seed: int
) -> None:
    frames = clip_of(5, height, width)
    view = transforms.train_view(frames, crop_size, flip_probability, np.random.default_rng(seed))
    assert view.shape == (3, 5, crop_size, crop_size)
    assert view.dtype == np.uint8
    assert view.flags.c_contiguous
    top, left = int(view[1].min()), int(view[2].min())
    window = frames[:, top : top + crop_size, left : left + crop_size]
    expected = window[:, :, ::-1] if flip_probability else window
    np.testing.assert_array_equal(view, expected.transpose(3, 0, 1, 2))


def test_train_views_reach_every_corner_and_flip_as_often_as_asked() -> None:
    frames = clip_of(2, 10, 12)
    rng = np.random.default_rng(0)
    views = [transforms.train_view(frames, 8, 0.25, rng) for _ in range(800)]
    corners = {(int(view[1].min()), int(view[2].min())) for view in views}
    assert corners == {(top, left) for top in range(3) for left in range(5)}
    flips = [bool(view[2, 0, 0, 0] > view[2, 0, 0, -1]) for view in views]
    assert 0.2 < np.mean(flips) < 0.3


@given(SIDES, SIDES, st.integers(8, 16))
def test_test_views_lie_along_the_longer_side(height: int, width: int, crop_size: int) -> None:
    frames = clip_of(3, height, width)
    views = transforms.test_views(frames, crop_size, 3)
    assert views.shape == (3, 3, 3, crop_size, crop_size)
    assert views.flags.c_contiguous
    tops, lefts = ([int(view[c].min()) for view in views] for c in (1, 2))
    middle_top, middle_left = (height - crop_size) // 2, (width - crop_size) // 2
    if height > width:
        assert (tops, lefts) == ([0, middle_top, height - crop_size], [middle_left] * 3)
    else:
        assert (tops, lefts) == ([middle_top] * 3, [0, middle_left, width - crop_size])
    np.testing.assert_array_equal(transforms.test_views(frames, crop_size, 1)[0], views[1])
    for view, top, left in zip(views, tops, lefts, strict=True):
        window = frames[:, top : top + crop_size, left : left + crop_size]
        np.testing.assert_array_equal(view, window.transpose(3, 0, 1, 2))


def test_a_frame_smaller_than_the_crop_is_refused() -> None:
    frames = clip_of(2, 20, 12)
    with pytest.raises(InputError, match="12x20 px are smaller than the crop of 16"):
        transforms.train_view(frames, 16, 0.5, np.random.default_rng(0))
    with pytest.raises(InputError, match="smaller than the crop"):
        transforms.test_views(frames, 16, 3)
    with pytest.raises(InputError, match="1 or 3 test crops"):
        transforms.test_views(frames, 12, 2)


@given(st.integers(16, 200), st.integers(16, 200), st.integers(16, 100))
def test_resizing_keeps_the_proportions(height: int, width: int, short_side: int) -> None:
    resized = transforms.resize_short_side(np.zeros((height, width, 3), np.uint8), short_side)
    assert min(resized.shape[:2]) == short_side
    longer = short_side * max(height, width) / min(height, width)
    assert abs(max(resized.shape[:2]) - longer) <= 0.5 + 1e-9
    assert (resized.shape[0] > resized.shape[1]) <= (height > width)


def test_a_frame_of_the_right_size_is_itself() -> None:
    frame = np.zeros((32, 48, 3), np.uint8)
    assert transforms.resize_short_side(frame, 32) is frame


def test_shrinking_averages_instead_of_skipping() -> None:
    """Columns of black and white give grey; an interpolation that skips pixels gives stripes."""
    frame = np.zeros((64, 128, 3), np.uint8)
    frame[:, ::2] = 255
    shrunk = transforms.resize_short_side(frame, 32)
    assert shrunk.shape == (32, 64, 3)
    assert np.abs(shrunk.astype(int) - 128).max() <= 1
