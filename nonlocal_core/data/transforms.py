"""Resizing, cropping and mirroring.  A clip is transformed as one, and stays uint8 all the way."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import InputError

Frames = NDArray[np.uint8]


def resize_short_side(frame_HWC: Frames, short_side: int) -> Frames:
    """The frame with its shorter side at `short_side` pixels and its proportions kept; itself if it is so already.

    Shape:  (H, W, 3) to (H', W', 3), min(H', W') = short_side.
    """
    height, width = frame_HWC.shape[:2]
    if min(height, width) == short_side:
        return frame_HWC
    scale = short_side / min(height, width)
    size = (int(scale * width + 0.5), int(scale * height + 0.5))
    # Area averages what falls into a pixel; cubic and linear skip source pixels and alias when they shrink.
    # Cubic stays sharper than linear when there is nothing to average.
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized: Frames = cv2.resize(frame_HWC, size, interpolation=interpolation)
    return resized


def train_view(
    frames_THWC: Frames, crop_size: int, flip_probability: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One random crop of the clip, mirrored or not as a whole.

    Shape:  (T, H, W, 3) to (3, T, crop_size, crop_size), contiguous.
    Raises: InputError if a frame is smaller than the crop.
    """
    height, width = _require_room(frames_THWC, crop_size)
    top = int(rng.integers(height - crop_size + 1))
    left = int(rng.integers(width - crop_size + 1))
    view = np.empty((3, len(frames_THWC), crop_size, crop_size), np.uint8)
    _crop_into(view, frames_THWC, top, left, mirrored=bool(rng.random() < flip_probability))
    return view


def test_views(frames_THWC: Frames, crop_size: int, num_crops: int) -> NDArray[np.uint8]:
    """The centre crop of the clip, or 3 along the longer side: start, centre, end.

    Shape:  (T, H, W, 3) to (num_crops, 3, T, crop_size, crop_size), contiguous.
    Raises: InputError if a frame is smaller than the crop, or num_crops is neither 1 nor 3.
    Source: Wang et al. 2018, section 4.1, Inference.
    """
    height, width = _require_room(frames_THWC, crop_size)
    if num_crops not in (1, 3):
        raise InputError(f"a clip has 1 or 3 test crops, not {num_crops}")
    spare_h, spare_w = height - crop_size, width - crop_size
    corners = [(spare_h // 2, spare_w // 2)]
    if num_crops == 3:
        start, end = ((spare_h // 2, 0), (spare_h // 2, spare_w))
        if height > width:
            start, end = ((0, spare_w // 2), (spare_h, spare_w // 2))
        corners = [start, *corners, end]
    views = np.empty((num_crops, 3, len(frames_THWC), crop_size, crop_size), np.uint8)
    for view, (top, left) in zip(views, corners, strict=True):
        _crop_into(view, frames_THWC, top, left, mirrored=False)
    return views


def _require_room(frames_THWC: Frames, crop_size: int) -> tuple[int, int]:
    height, width = frames_THWC.shape[1:3]
    if min(height, width) < crop_size:
        raise InputError(
            f"frames of {width}x{height} px are smaller than the crop of {crop_size}:"
            f" lower the crop_size or raise cache.short_side"
        )
    return height, width


def _crop_into(view_CTHW: NDArray[np.uint8], frames_THWC: Frames, top: int, left: int, *, mirrored: bool) -> None:
    """Write a crop of every frame into `view_CTHW`, channels first.

    One plane at a time through cv2 takes a fifth of the time of numpy's transposed copy.
    """
    crop_size = view_CTHW.shape[2]
    for t, frame in enumerate(frames_THWC):
        crop = frame[top : top + crop_size, left : left + crop_size]
        if mirrored:
            crop = cv2.flip(crop, 1)
        for channel in range(3):
            cv2.extractChannel(crop, channel, view_CTHW[channel, t])
