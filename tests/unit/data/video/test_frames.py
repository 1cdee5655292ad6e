"""Frames shrunk by area, against an exact box filter in float64; those of other interpolations, against OpenCV."""

from __future__ import annotations

import gc
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from video_files import make_family

from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data.records import encoding
from nonlocal_core.data.video import decoding
from nonlocal_core.data.video.frames import Converter, Frame
from tests import box_filter

LEVELS, PSNR_DB = 0.6, 58.5
"""greatest error and least signal-to-noise ratio of a frame; rounding alone gives 0.5 and 58.9"""
FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le"]
SIZES = [((180, 320), (64, 114)), ((181, 323), (64, 115)), ((131, 67), (125, 64)), ((67, 66), (65, 64))]
"""height and width, before and after"""
TURNED = {"turned_90.mp4": 1, "turned_180.mp4": 2, "turned_270.mov": 3}
"""quarter turns against the clock"""


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Colours that change from place to place, none so bright that a format lacks it."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.normal(0, 30, (6, 8, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + coarse + rng.normal(0, 12, (height, width, 3)), 40, 215).astype(np.uint8)


def check(made: NDArray[np.uint8], exact: NDArray[np.float64]) -> None:
    assert made.flags.c_contiguous
    assert np.abs(made - exact).max() < LEVELS
    assert box_filter.psnr(made, exact) > PSNR_DB


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_area_is_an_exact_box_filter(pixel_format: str, size: tuple[tuple[int, int], tuple[int, int]]) -> None:
    from_size, (height, width) = size
    decoded = av.VideoFrame.from_ndarray(picture(*from_size), format="rgb24").reformat(format=pixel_format)
    frame = Frame(decoded, Converter())
    np.testing.assert_array_equal(frame.pixels("bgr"), frame.pixels()[..., ::-1])
    check(frame.shrunk(height, width), box_filter.shrunk(decoded, height, width, is_left=False))
    np.testing.assert_array_equal(frame.shrunk(height, width, "bgr"), frame.shrunk(height, width)[..., ::-1])


@pytest.mark.parametrize(
    "name", ["gop12_b.mp4", "10_bit.mp4", "full_range.mp4", "bt709.mp4", "odd.mp4", "422.mp4"]
)
def test_cached_frames_of_a_file_are_those_of_the_box_filter(tmp_path: Path, name: str) -> None:
    path = make_family(tmp_path, name)
    with av.open(str(path)) as container:
        decoded = next(container.decode(video=0))
        height = 24
        width = int(height * decoded.width / decoded.height + 0.5)
        exact = box_filter.shrunk(decoded, height, width, is_left=True)
    check(encoding.resized(next(decoding.read(path)), CacheConfig(short_side=height)), exact)
    (jumped,) = decoding.frames_at(path, 80, np.array([0]), lambda frame: frame.shrunk(height, width))
    check(jumped, exact)


@pytest.mark.parametrize("name", [*TURNED, "mirrored.mp4"])
def test_turned_frames_are_shrunk_the_way_up_they_are_shown(tmp_path: Path, name: str) -> None:
    path = make_family(tmp_path, name)
    frame = next(decoding.read(path))
    with av.open(str(path)) as container:
        exact = box_filter.shrunk(next(container.decode(video=0)), 24, 48, is_left=True)
    exact = np.rot90(exact, TURNED[name]) if name in TURNED else exact[:, ::-1]
    assert frame.pixels().shape == (frame.height, frame.width, 3)
    check(encoding.resized(frame, CacheConfig(short_side=24)), exact)


def test_the_fields_of_an_interlaced_frame_are_not_shrunk_apart(tmp_path: Path) -> None:
    frame = next(decoding.read(make_family(tmp_path, "interlaced.mp4")))
    expected = cv2.resize(frame.pixels(), (48, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(frame.shrunk(24, 48), expected)


@pytest.mark.parametrize("name", ["gop12_b.mp4", "10_bit.mp4", "turned_90.mp4", "interlaced.mp4"])
@pytest.mark.parametrize(
    ("interpolation", "method"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC)]
)
def test_other_interpolations_are_opencvs_to_the_pixel(
    tmp_path: Path, name: str, interpolation: str, method: int
) -> None:
    path = make_family(tmp_path, name)
    frame, in_full = next(decoding.read(path)), next(decoding.read_frames(path))
    size = (24, 48) if in_full.shape[0] > in_full.shape[1] else (48, 24)
    settings = CacheConfig.model_validate({"short_side": 24, "interpolation": interpolation})
    expected = cv2.resize(in_full, size, interpolation=method)
    np.testing.assert_array_equal(encoding.resized(frame, settings), expected)
    np.testing.assert_array_equal(encoding.resized(frame, settings, channels="bgr"), expected[..., ::-1])


def test_frames_that_are_not_resized_or_grow_keep_the_colours_of_ffmpeg(tmp_path: Path) -> None:
    frame = next(decoding.read(make_family(tmp_path, "gop12_b.mp4")))
    as_it_is = encoding.resized(frame, CacheConfig(short_side=64))
    np.testing.assert_array_equal(as_it_is, frame.pixels())
    expected = cv2.resize(frame.pixels(), (160, 80), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(encoding.resized(frame, CacheConfig(short_side=80)), expected)


def test_a_picture_is_shrunk_by_opencv_and_has_its_channels_in_either_order() -> None:
    made = picture(60, 90)
    frame = Frame(made, Converter())
    np.testing.assert_array_equal(frame.pixels("bgr"), made[..., ::-1])
    expected = cv2.resize(made, (60, 40), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(frame.shrunk(40, 60), expected)
    np.testing.assert_array_equal(frame.shrunk(40, 60, "bgr"), expected[..., ::-1])


def test_frames_do_not_wait_for_a_search_of_rings(tmp_path: Path) -> None:
    """What refers to itself keeps the memory of a frame, and the decoder takes more for each."""
    path = make_family(tmp_path, "gop12_b.mp4")
    gc.collect()
    gc.disable()
    try:
        assert sum(frame.height for frame in decoding.read(path)) == 80 * 64
        assert gc.collect() < 40
    finally:
        gc.enable()
