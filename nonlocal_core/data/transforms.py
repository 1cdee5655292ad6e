"""Resizing, cropping, mirroring and colours: all frames of a clip are changed alike, and stay uint8."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import InputError

if TYPE_CHECKING:  # a worker, which resizes frames, does without Pydantic
    from nonlocal_core.config.train import TrainConfig

Frames = NDArray[np.uint8]
Clip = Frames | list[Frames]
"""frames of one size: one array, or a list of arrays"""
Crops = Literal["ends", "even", "slowfast"]

# In the seed, "bilinear" is cv2.INTER_AREA; here it is bilinear.
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
RED_GREEN_BLUE_LUMA = (0.299, 0.587, 0.114)


class Box(NamedTuple):
    """A rectangle of a frame (pixels)."""

    top: int
    left: int
    height: int
    width: int


def resize_short_side(
    frame_HWC: Frames, short_side: int, interpolation: str = "auto", pixel_aspect: float = 1.0
) -> Frames:
    """The frame, resized in proportion so that its shorter side has `short_side` pixels; itself if it has.

    `interpolation` is a name of `INTERPOLATIONS`, or auto: area where the frame shrinks, bicubic where it grows.
    The pixels of the frame are `pixel_aspect` times as wide as high; those of the result are squares.

    Shape:  (H, W, 3) to (H', W', 3), min(H', W') = short_side.
    """
    height, width, _ = frame_HWC.shape
    return _resized(frame_HWC, *size_of(height, width, short_side, pixel_aspect), interpolation)


def size_of(height: int, width: int, short_side: int, pixel_aspect: float = 1.0) -> tuple[int, int]:
    """Height and width that `resize_short_side` gives to a frame (pixels)."""
    scale = short_side / min(height, width * pixel_aspect)
    return int(scale * height + 0.5), int(scale * width * pixel_aspect + 0.5)


def averages(interpolation: str, size: tuple[int, int], from_size: tuple[int, int]) -> bool:
    """Whether a frame of `from_size` (height, width) is resized to another size by area."""
    shrinks = math.prod(size) < math.prod(from_size)
    return shrinks and _method(interpolation, shrinks=True) == cv2.INTER_AREA


def square_pixels(frame_HWC: Frames, pixel_aspect: float) -> Frames:
    """The frame as players show it: its pixels are `pixel_aspect` times as wide as high.

    Shape:  (H, W, 3) to (H, W * pixel_aspect, 3).
    """
    return _resized(frame_HWC, frame_HWC.shape[0], max(1, int(frame_HWC.shape[1] * pixel_aspect + 0.5)), "auto")


def _resized(frame_HWC: Frames, height: int, width: int, interpolation: str) -> Frames:
    if frame_HWC.shape[:2] == (height, width):
        return frame_HWC
    method = _method(interpolation, shrinks=height * width < frame_HWC.shape[0] * frame_HWC.shape[1])
    resized: Frames = cv2.resize(frame_HWC, (width, height), interpolation=method)
    return resized


def train_view(
    frames_THWC: Iterable[Frames],
    settings: TrainConfig,
    rng: np.random.Generator,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """One random crop of the clip, perhaps mirrored and with changed colours, alike in all frames.

    With scales, the frame is scaled so that its short side has a random number of pixels, each from `scale_min`
    to `scale_max` times its own equally likely; then a square of `crop_size` pixels is cut out.  In fact the
    square is cut first, in whole pixels of the unscaled frame, and then scaled: that is a third of the work.

    The draws, in this order: the scale if there are scales, or the shape of a multi-scale crop; where it lies;
    mirrored or not; brightness, contrast and saturation if colours change.

    Frames are taken one after the other; the view is written into `out`, if there is one.

    Shape:  (T, H, W, 3) to (3, T, crop_size, crop_size), contiguous.
    Raises: InputError if a frame is smaller than the crop.
    Source: Wang et al. 2018, section 4.1, Training; mmaction2's MultiScaleCrop.
    """
    box = _multi_scale_box if settings.crop == "multi_scale" else _random_box
    if out is None:
        frames_THWC = list(frames_THWC)
        out = np.empty((3, len(frames_THWC), settings.crop_size, settings.crop_size), np.uint8)
    frames = iter(frames_THWC)
    first = next(frames)
    chosen = box([first], settings, rng)
    mirrored = bool(rng.random() < settings.flip_probability)
    _crop_into(out, chain([first], frames), chosen, mirrored=mirrored)
    if settings.colour_jitter:
        _change_colours(out, *(1 + settings.colour_jitter * rng.uniform(-1.0, 1.0, 3)))
    return out


def test_views(frames_THWC: Clip, crop_size: int, num_crops: int, crops: Crops) -> NDArray[np.uint8]:
    """The centre crop of the clip, or 3 along the longer side: start, centre, end.

    Where the spare pixels are odd, the two steps differ by a pixel (`ends`), the last crop ends a pixel before the
    frame does (`even`), or the centre is rounded up (`slowfast`).

    Shape:  (T, H, W, 3) to (num_crops, 3, T, crop_size, crop_size), contiguous.
    Raises: InputError if a frame is smaller than the crop, or num_crops is neither 1 nor 3.
    Source: Wang et al. 2018, section 4.1, Inference; for `even`, video-nonlocal-net and mmaction2's ThreeCrop; for
            `slowfast`, PySlowFast's uniform_crop.
    """
    height, width = _require_room(frames_THWC, crop_size)
    if num_crops not in (1, 3):
        raise InputError(f"a clip has 1 or 3 test crops, not {num_crops}")
    spare_h, spare_w = height - crop_size, width - crop_size
    centre_h, centre_w = ((spare + (crops == "slowfast")) // 2 for spare in (spare_h, spare_w))
    corners = [(centre_h, centre_w)]
    if num_crops == 3:
        end_h, end_w = (2 * centre_h, 2 * centre_w) if crops == "even" else (spare_h, spare_w)
        start, end = ((centre_h, 0), (centre_h, end_w))
        if height > width:
            start, end = ((0, centre_w), (end_h, centre_w))
        corners = [start, *corners, end]
    views = np.empty((num_crops, 3, len(frames_THWC), crop_size, crop_size), np.uint8)
    for view, (top, left) in zip(views, corners, strict=True):
        _crop_into(view, frames_THWC, Box(top, left, crop_size, crop_size), mirrored=False)
    return views


def _require_room(frames_THWC: Clip, crop_size: int) -> tuple[int, int]:
    height, width = frames_THWC[0].shape[:2]
    if min(height, width) < crop_size:
        raise InputError(
            f"frames of {width}x{height} px are smaller than the crop of {crop_size}:"
            f" lower the crop_size or raise cache.short_side"
        )
    return height, width


def _random_box(frames_THWC: Clip, settings: TrainConfig, rng: np.random.Generator) -> Box:
    """A random box that is a square of `crop_size` pixels in the scaled frame."""
    side, short_side = settings.crop_size, min(frames_THWC[0].shape[:2])
    if (settings.scale_min, settings.scale_max) != (1.0, 1.0):
        least, greatest = (round(short_side * scale) for scale in (settings.scale_min, settings.scale_max))
        # Rounded half up, in whole numbers.
        scaled = int(rng.integers(least, greatest + 1))
        side = (2 * side * short_side + scaled) // (2 * scaled)
    height, width = _require_room(frames_THWC, side)
    top = int(rng.integers(height - side + 1))
    return Box(top, int(rng.integers(width - side + 1)), side, side)


def _multi_scale_box(frames_THWC: Clip, settings: TrainConfig, rng: np.random.Generator) -> Box:
    """A box at a corner or in the centre, each side one of `crop_scales` of the frame's short side.

    Height and width are at most `crop_gap` apart in that list; a side within 2 pixels of `crop_size` becomes
    `crop_size`.  The shapes are equally likely, and so are the 5 places, which lie whole quarters of the spare
    pixels apart: the far corners may be up to 3 pixels off the edge.

    Source: mmaction2's MultiScaleCrop with its 5 fixed crops.
    """
    height, width = _require_room(frames_THWC, settings.crop_size)
    sides = [int(min(height, width) * scale) for scale in settings.crop_scales]
    sides = [settings.crop_size if abs(side - settings.crop_size) < 3 else side for side in sides]
    places_in_list = range(len(sides))
    shapes = [(i, j) for i in places_in_list for j in places_in_list if abs(i - j) <= settings.crop_gap]
    i, j = shapes[int(rng.integers(len(shapes)))]
    down, across = (height - sides[i]) // 4, (width - sides[j]) // 4
    top, left = ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))[int(rng.integers(5))]
    return Box(top * down, left * across, sides[i], sides[j])


def _crop_into(view_CTHW: NDArray[np.uint8], frames_THWC: Iterable[Frames], box: Box, *, mirrored: bool) -> None:
    """Cut a box out of every frame, resize it if needed, and write it into `view_CTHW`, channels first.

    One plane at a time through cv2 takes a fifth of the time of numpy's transposed copy.
    """
    side = view_CTHW.shape[2]
    method = _method("auto", shrinks=box.height * box.width > side * side)
    for t, frame in enumerate(frames_THWC):
        crop = frame[box.top : box.top + box.height, box.left : box.left + box.width]
        if crop.shape[:2] != (side, side):
            crop = cv2.resize(crop, (side, side), interpolation=method)
        if mirrored:
            crop = cv2.flip(crop, 1)
        for channel in range(3):
            cv2.extractChannel(crop, channel, view_CTHW[channel, t])


def _method(interpolation: str, *, shrinks: bool) -> int:
    # Area averages what falls into a pixel; cubic and linear skip source pixels and alias when they shrink.
    # Cubic stays sharper than linear when there is nothing to average.
    return INTERPOLATIONS[("area" if shrinks else "bicubic") if interpolation == "auto" else interpolation]


def _change_colours(view_CTHW: NDArray[np.uint8], brightness: float, contrast: float, saturation: float) -> None:
    """Multiply the clip, then its difference from its mean grey, then every pixel's difference from its own grey.

    Each step rounds to 0…255.  The mean is that of the whole clip, so that the clip does not flicker.
    """
    planes = view_CTHW.reshape(3, -1, view_CTHW.shape[3])
    levels = np.arange(256, dtype=np.float64)
    brighter = np.clip(np.rint(levels * brightness), 0, 255).astype(np.uint8)
    mean = 0.0
    for plane, luma in zip(planes, RED_GREEN_BLUE_LUMA, strict=True):
        counts = cv2.calcHist([plane], [0], None, [256], [0, 256])[:, 0].astype(np.int64)
        mean += luma * int((counts * brighter).sum()) / plane.size
    table = np.clip(np.rint(mean + contrast * (brighter.astype(np.float64) - mean)), 0, 255).astype(np.uint8)
    for plane in planes:
        cv2.LUT(plane, table, dst=plane)
    grey = cv2.cvtColor(cv2.merge(list(planes)), cv2.COLOR_RGB2GRAY)
    for plane in planes:
        cv2.addWeighted(plane, saturation, grey, 1 - saturation, 0, dst=plane)
