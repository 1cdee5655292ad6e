"""From a video to cached frames: decode, resize, compress.  Runs in worker processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data import transforms
from nonlocal_core.data.layouts import fetch
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.video import decoding, jumps
from nonlocal_core.errors import DamagedError, DecodeError, InputError
from nonlocal_core.process import workers


class Job(NamedTuple):
    """A video to encode, and how."""

    place: str
    """path or URI"""
    sha256: str
    """hash of its content when it was indexed"""
    kept: bool
    """whether its frames are kept; those of a video are not in which clips can be read by jumping, and nothing is
    to be stored.  Such a video is only decoded, to see whether that works"""
    settings: CacheConfig
    pixel_aspect: float = 1.0
    """width of a pixel over its height, as it is shown"""


class Encoded(NamedTuple):
    """The result of encoding a video."""

    reason: str
    """why it cannot be decoded; "" if it can"""
    jpegs: list[bytes]
    num_frames: int
    height: int
    """pixels of a cached frame, as the width; 0 if there is none"""
    width: int
    source_px: int
    """number of pixels in all decoded frames"""
    seconds: float
    """time that encoding took"""


def encode_video(job: Job) -> Encoded:
    """Every frame of a video, decoded once, from the first to the last; for a broken video, the reason.

    Raises: InputError if the file is gone or its content has changed; what `fetch.local_copy` raises.
    """
    cv2.setNumThreads(1)  # the processes of a build share the cores
    started_s = time.monotonic()
    try:
        with fetch.local_copy(job.place) as path:
            _check_content(path, job)
            return _encode(path, job, started_s)
    except FileNotFoundError:
        raise InputError(f"{job.place} is gone: run again from index") from None


def _encode(path: Path, job: Job, started_s: float) -> Encoded:
    jpegs: list[bytes] = []
    num_frames = height = width = source_px = 0
    try:
        kept = job.kept and not (
            job.settings.codec == "none" and job.settings.jump == "pyav" and jumps.can_jump(path)
        )
        for frame in decoding.read_frames(path):
            workers.alive()
            if kept or not num_frames:
                small = resize(frame, job.settings, job.pixel_aspect)
                height, width = small.shape[:2]
            if kept:
                jpegs.append(encode(small, job.settings.jpeg_quality))
            num_frames += 1
            source_px += frame.shape[0] * frame.shape[1]
    except DecodeError as error:
        return broken(str(error))
    if not num_frames:
        return broken("no frames")
    return Encoded("", jpegs, num_frames, height, width, source_px, time.monotonic() - started_s)


def broken(reason: str) -> Encoded:
    """The result for a video that cannot be decoded."""
    return Encoded(reason, [], 0, 0, 0, 0, 0.0)


def _check_content(path: Path, job: Job) -> None:
    """Raise InputError if the content has changed: records are named by content."""
    try:
        is_same = file_probe.content_hash(path) == job.sha256
    except DecodeError:  # empty, or not a file any more
        is_same = False
    if not is_same:
        raise InputError(f"{job.place} has changed since it was indexed: run again from index")


def resize(frame_HWC: NDArray[np.uint8], settings: CacheConfig, pixel_aspect: float = 1.0) -> NDArray[np.uint8]:
    """The frame in the size that a cache keeps, with square pixels.

    Shape:  (H, W, 3) to (H', W', 3), min(H', W') = settings.short_side.
    """
    return transforms.resize_short_side(frame_HWC, settings.short_side, settings.interpolation, pixel_aspect)


def encode(frame_HWC: NDArray[np.uint8], quality: int) -> bytes:
    """The JPEG of one RGB frame; equal frames give equal bytes."""
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:  # cv2 refuses only a side of more than 65,500 pixels, which no decoder yields
        raise ValueError(f"a frame of shape {frame_HWC.shape} does not fit into a JPEG")
    return bytes(jpeg)


def decode(jpeg: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The frame of a JPEG.

    Shape:  (height, width, 3), RGB.
    Raises: DamagedError if the bytes are not a JPEG of this size.
    """
    frame_HWC: NDArray[np.uint8] | None = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
    if frame_HWC is None or frame_HWC.shape != (height, width, 3):
        raise DamagedError(f"a frame is not a JPEG of {width}x{height} px")
    return frame_HWC
