from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_core.config.train import TrainConfig
from nonlocal_core.data import transforms
from nonlocal_core.errors import InputError

SIDES = st.integers(16, 40)


def train(crop_size: int, **settings: object) -> TrainConfig:
    """Settings with a crop that may be smaller than the least that a person can ask for."""
    return TrainConfig(**settings).model_copy(update={"crop_size": crop_size})  # type: ignore[arg-type]


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
    view = transforms.train_view(
        frames, train(crop_size, flip_probability=flip_probability), np.random.default_rng(seed)
    )
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
    views = [transforms.train_view(frames, train(8, flip_probability=0.25), rng) for _ in range(800)]
    corners = {(int(view[1].min()), int(view[2].min())) for view in views}
    assert corners == {(top, left) for top in range(3) for left in range(5)}
    flips = [bool(view[2, 0, 0, 0] > view[2, 0, 0, -1]) for view in views]
    assert 0.2 < np.mean(flips) < 0.3


@given(SIDES, SIDES, st.integers(8, 16))
def test_test_views_lie_along_the_longer_side(height: int, width: int, crop_size: int) -> None:
    frames = clip_of(3, height, width)
    views = transforms.test_views(frames, crop_size, 3, "ends")
    assert views.shape == (3, 3, 3, crop_size, crop_size)
    assert views.flags.c_contiguous
    tops, lefts = ([int(view[c].min()) for view in views] for c in (1, 2))
    middle_top, middle_left = (height - crop_size) // 2, (width - crop_size) // 2
    if height > width:
        assert (tops, lefts) == ([0, middle_top, height - crop_size], [middle_left] * 3)
    else:
        assert (tops, lefts) == ([middle_top] * 3, [0, middle_left, width - crop_size])
    np.testing.assert_array_equal(transforms.test_views(frames, crop_size, 1, "ends")[0], views[1])
    for view, top, left in zip(views, tops, lefts, strict=True):
        window = frames[:, top : top + crop_size, left : left + crop_size]
        np.testing.assert_array_equal(view, window.transpose(3, 0, 1, 2))


def test_a_frame_smaller_than_the_crop_is_refused() -> None:
    frames = clip_of(2, 20, 12)
    with pytest.raises(InputError, match="12x20 px are smaller than the crop of 16"):
        transforms.train_view(frames, train(16), np.random.default_rng(0))
    with pytest.raises(InputError, match="smaller than the crop"):
        transforms.test_views(frames, 16, 3, "ends")
    with pytest.raises(InputError, match="1 or 3 test crops"):
        transforms.test_views(frames, 12, 2, "ends")


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


@given(SIDES, SIDES, st.integers(8, 16), st.floats(0, 1), st.integers(0, 2**32))
def test_the_default_view_is_what_it_always_was(
    height: int, width: int, crop_size: int, flip_probability: float, seed: int
) -> None:
    """Top, left, mirrored: drawn in this order, and nothing else is drawn."""
    frames, rng, other = clip_of(2, height, width), np.random.default_rng(seed), np.random.default_rng(seed)
    view = transforms.train_view(frames, train(crop_size, flip_probability=flip_probability), rng)
    top, left = (int(other.integers(side - crop_size + 1)) for side in (height, width))
    expected = frames[:, top : top + crop_size, left : left + crop_size]
    expected = expected[:, :, ::-1] if other.random() < flip_probability else expected
    np.testing.assert_array_equal(view, expected.transpose(3, 0, 1, 2))
    assert rng.random() == other.random()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("nearest", cv2.INTER_NEAREST),
        ("bilinear", cv2.INTER_LINEAR),
        ("bicubic", cv2.INTER_CUBIC),
        ("area", cv2.INTER_AREA),
    ],
)
@pytest.mark.parametrize("short_side", [24, 60])
def test_an_interpolation_is_what_its_name_says(name: str, method: int, short_side: int) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    expected = cv2.resize(frame, (short_side * 3 // 2, short_side), interpolation=method)
    np.testing.assert_array_equal(transforms.resize_short_side(frame, short_side, name), expected)
    automatic = transforms.resize_short_side(frame, short_side, "auto")
    assert np.array_equal(automatic, expected) == (name == ("area" if short_side < 40 else "bicubic"))


def test_bilinear_is_bilinear() -> None:
    """Halfway between 0 and 100 along a row, by hand: pixel centres at a fourth and three fourths."""
    frame = np.repeat(np.array([[[0], [100]]], np.uint8), 3, axis=2).repeat(2, axis=0)
    assert transforms.resize_short_side(frame, 4, "bilinear")[0, :, 0].tolist() == [0, 25, 75, 100]
    assert transforms.resize_short_side(frame, 4, "nearest")[0, :, 0].tolist() == [0, 0, 100, 100]


def ramps(num_frames: int, height: int, width: int) -> np.ndarray:
    """A clip whose second and third channel grow by 2 a pixel downwards and to the right."""
    frames = clip_of(num_frames, height, width)
    frames[..., 1:] *= 2
    return frames


def windows(frames: np.ndarray, settings: TrainConfig, number: int) -> list[tuple[float, float, float, float]]:
    """Where views were taken from: top, left, height, width, read from the ramps (pixels)."""
    rng, found, side = np.random.default_rng(0), [], settings.crop_size
    for _ in range(number):
        view = transforms.train_view(frames, settings, rng).astype(float)
        assert (view[0] == np.arange(len(frames))[:, None, None]).all(), "one window for the whole clip"
        assert (view[:2, :1] == view[:2, :1, :, :1])[1].all()
        rise = [(plane[-5] - plane[4]) / (side - 9) / 2 for plane in (view[1, 0, :, 0], view[2, 0, 0, :])]
        height, width = (abs(step) * side for step in rise)
        centres = [float(plane.mean()) / 2 for plane in (view[1, 0], view[2, 0])]
        found.append((centres[0] + 0.5 - height / 2, centres[1] + 0.5 - width / 2, height, width))
    return found


def test_scales_are_drawn_evenly_from_the_least_to_the_greatest() -> None:
    """A frame of 64 that is scaled to 64 … 80 and cut to 48 shows 48 … 38.4 of its own pixels, anywhere."""
    frames = ramps(2, 64, 90)
    found = np.array(windows(frames, train(48, scale_max=1.25), 1500))
    assert found[:, 2:].min() == pytest.approx(38, abs=0.8)
    assert found[:, 2:].max() == pytest.approx(48, abs=0.8)
    np.testing.assert_allclose(found[:, 2], found[:, 3], atol=1.2)
    expected = np.mean([48 * 64 / scale for scale in range(64, 81)])
    assert found[:, 2].mean() == pytest.approx(expected, abs=0.3)
    for start, length, side in ((found[:, 0], found[:, 2], 64), (found[:, 1], found[:, 3], 90)):
        assert start.min() == pytest.approx(0, abs=0.8)
        assert (start + length).max() == pytest.approx(side, abs=0.8)


def test_scales_of_1_cut_the_frame_as_it_is() -> None:
    frames = clip_of(2, 40, 50)
    same = transforms.train_view(frames, train(32), np.random.default_rng(0))
    top, left = int(same[1].min()), int(same[2].min())
    window = frames[:, top : top + 32, left : left + 32].transpose(3, 0, 1, 2)
    assert np.array_equal(same, window) or np.array_equal(same, window[..., ::-1])
    with pytest.raises(InputError, match="smaller than the crop"):
        transforms.train_view(frames, train(32, scale_min=0.5, scale_max=0.5), np.random.default_rng(0))


@pytest.mark.parametrize("scale", [40, 80, 100])
def test_scaling_the_cut_is_cutting_the_scaled(scale: int) -> None:
    """Against the plain way, on a smooth picture: scale the whole frame, then cut the same place out of it."""
    y, x = np.mgrid[:64, :80]
    frame = np.stack(
        [127 + 90 * np.sin(x / 9), 127 + 90 * np.cos(y / 7), 127 + 60 * np.sin((x + y) / 11)], axis=-1
    )
    frames = frame.astype(np.uint8)[None]
    settings = train(32, scale_min=scale / 64, scale_max=scale / 64, flip_probability=0.0)
    view = transforms.train_view(frames, settings, np.random.default_rng(3))[:, 0].transpose(1, 2, 0)
    scaled = transforms.resize_short_side(frames[0], scale)
    height, width = scaled.shape[:2]
    errors = [
        np.abs(scaled[top : top + 32, left : left + 32].astype(int) - view).mean()
        for top in range(height - 31)
        for left in range(width - 31)
    ]
    assert min(errors) < 4


@pytest.mark.parametrize(
    ("crops", "height", "width", "expected"),
    [
        ("even", 256, 455, [(0, 0), (0, 99), (0, 198)]),  # 16:9: mmaction2 and video-nonlocal-net end at 454
        ("ends", 256, 455, [(0, 0), (0, 99), (0, 199)]),
        ("slowfast", 256, 455, [(0, 0), (0, 100), (0, 199)]),  # ceil((455 - 256) / 2)
        ("even", 455, 256, [(0, 0), (99, 0), (198, 0)]),
        ("slowfast", 455, 256, [(0, 0), (100, 0), (199, 0)]),
        ("even", 256, 340, [(0, 0), (0, 42), (0, 84)]),
        ("slowfast", 256, 340, [(0, 0), (0, 42), (0, 84)]),
    ],
)
def test_three_crops_lie_where_their_authors_put_them(crops, height, width, expected) -> None:
    frame = np.zeros((1, height, width, 3), np.uint8)
    frame[0, ..., 1], frame[0, ..., 2] = np.mgrid[:height, :width] % 251
    for view, (top, left) in zip(transforms.test_views(frame, 256, 3, crops), expected, strict=True):
        window = frame[0, top : top + 256, left : left + 256]
        np.testing.assert_array_equal(view[:, 0], window.transpose(2, 0, 1))


def test_a_multi_scale_crop_is_mmaction2s() -> None:
    """MultiScaleCrop(224, scales=(1, 0.8), random_crop=False, max_wh_scale_gap=0) of frames of 340x256 pixels.

    Sides of 256 and int(0.8 * 256) = 204; steps of (340 - 256) // 4 = 21, (340 - 204) // 4 = 34 and
    (256 - 204) // 4 = 13: the last corner of the small one is 52 down and 136 across.
    """
    settings = train(224, crop="multi_scale", crop_scales=(1.0, 0.8), crop_gap=0)
    frames, rng = np.zeros((1, 256, 340, 3), np.uint8), np.random.default_rng(0)
    found = Counter(transforms._multi_scale_box(frames, settings, rng) for _ in range(4000))
    large = [(0, 0), (0, 84), (0, 42)]
    small = [(0, 0), (0, 136), (52, 0), (52, 136), (26, 68)]
    assert set(found) == {(*at, 256, 256) for at in large} | {(*at, 204, 204) for at in small}
    shares = {tuple(box): count / 4000 for box, count in found.items()}
    assert shares[0, 42, 256, 256] == pytest.approx(0.1, abs=0.02)  # one of five places of one of two shapes
    assert shares[0, 0, 256, 256] == pytest.approx(0.2, abs=0.02)  # as its lower left corner
    assert shares[26, 68, 204, 204] == pytest.approx(0.1, abs=0.02)


def test_the_far_corner_of_a_multi_scale_crop_is_whole_quarters_away() -> None:
    """Frames of 455x256: (455 - 204) // 4 = 62, so the right crops start at 248, not at 251."""
    settings = train(224, crop="multi_scale", crop_scales=(0.8,), crop_gap=0)
    frames, rng = np.zeros((1, 256, 455, 3), np.uint8), np.random.default_rng(0)
    lefts = {transforms._multi_scale_box(frames, settings, rng).left for _ in range(200)}
    assert lefts == {0, 124, 248}


def test_multi_scale_crops_have_ten_shapes_and_five_places() -> None:
    frames = ramps(2, 100, 120)
    found = windows(frames, train(64, crop="multi_scale"), 1500)
    sides = [100, 87, 75, 64]  # 66 is within 2 pixels of 64
    expected = {(sides[i], sides[j]) for i in range(4) for j in range(4) if abs(i - j) < 2}
    seen = Counter()
    for top, left, height, width in found:
        shape = min(expected, key=lambda s: abs(s[0] - height) + abs(s[1] - width))
        assert abs(shape[0] - height) + abs(shape[1] - width) < 3.5
        spare_h, spare_w = 100 - shape[0], 120 - shape[1]
        places = [(0, 0), (0, spare_w), (spare_h, 0), (spare_h, spare_w), (spare_h // 2, spare_w // 2)]
        nearest = min(places, key=lambda p: abs(p[0] - top) + abs(p[1] - left))
        assert abs(nearest[0] - top) + abs(nearest[1] - left) < 3.5
        seen[shape, nearest] += 1
    assert {shape for shape, _ in seen} == expected
    assert len(seen) == 10 * 5 - 2 * 2, "two shapes have the frame's full height: no top, no bottom"


def test_a_multi_scale_crop_of_its_own_size_is_not_touched() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    rng = np.random.default_rng(0)
    views = [
        transforms.train_view(frames, train(32, crop="multi_scale", flip_probability=0.0), rng) for _ in range(60)
    ]
    assert any(np.array_equal(view, frames.transpose(3, 0, 1, 2)) for view in views)
    with pytest.raises(InputError, match="smaller than the crop of 33"):
        transforms.train_view(frames, train(33, crop="multi_scale"), rng)


def colours_by_hand(view: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    def whole(x: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(x), 0, 255)

    luma = np.array([0.299, 0.587, 0.114])
    bright = whole(view * brightness)
    mean = np.tensordot(luma, bright, 1).mean()
    contrasted = whole(mean + contrast * (bright - mean))
    grey = np.tensordot(luma, contrasted, 1)[None]
    return whole(grey + saturation * (contrasted - grey))


@given(st.integers(0, 2**32), st.floats(0.05, 1.0))
def test_colours_change_as_one_for_the_whole_clip(seed: int, strength: float) -> None:
    frames = np.random.default_rng(seed).integers(0, 256, (3, 20, 20, 3)).astype(np.uint8)
    kept = frames.copy()
    rng = np.random.default_rng(seed)
    plain = transforms.train_view(frames, train(16), rng)
    factors = 1 + strength * rng.uniform(-1, 1, 3)
    view = transforms.train_view(frames, train(16, colour_jitter=strength), np.random.default_rng(seed))
    assert (view.dtype, view.shape) == (np.uint8, plain.shape)
    assert view.flags.c_contiguous
    assert np.abs(view - colours_by_hand(plain.astype(float), *factors)).max() <= 1 + max(0, factors[2] - 1)
    np.testing.assert_array_equal(frames, kept)


def test_grey_stays_grey_and_colours_reach_their_strength() -> None:
    frames = np.full((2, 32, 32, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    views = [transforms.train_view(frames, train(32, colour_jitter=0.4), rng) for _ in range(300)]
    assert all(len(np.unique(view)) == 1 for view in views), "one grey has neither contrast nor colour"
    levels = [int(view[0, 0, 0, 0]) for view in views]
    assert min(levels) in (60, 61, 62)
    assert max(levels) in (138, 139, 140)


def test_the_least_scale_may_shrink() -> None:
    frames, rng = ramps(1, 64, 90), np.random.default_rng(0)
    views = [
        transforms.train_view(frames, train(48, scale_min=0.75, flip_probability=0.0), rng) for _ in range(200)
    ]
    heights = [(int(view[1].max()) - int(view[1].min())) / 2 + 1 for view in views]
    assert min(heights) == pytest.approx(48, abs=0.6)
    assert max(heights) == pytest.approx(64, abs=1.6)


@pytest.mark.parametrize(("scale", "method"), [(48, cv2.INTER_AREA), (96, cv2.INTER_CUBIC)])
def test_what_is_cut_out_is_averaged_when_it_shrinks_and_bicubic_when_it_grows(scale: int, method: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    settings = train(48, scale_min=scale / 64, scale_max=scale / 64, flip_probability=0.0)
    view = transforms.train_view(frames, settings, np.random.default_rng(0))
    side = 48 * 64 // scale
    windows = [
        frames[0, top : top + side, left : left + side] for top in range(65 - side) for left in range(65 - side)
    ]
    resized = [cv2.resize(window, (48, 48), interpolation=method) for window in windows]
    assert sum(np.array_equal(view[:, 0].transpose(1, 2, 0), one) for one in resized) == 1
