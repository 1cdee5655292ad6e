"""From a video to cached frames: decode, resize, compress.  Runs in worker processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data import transforms
from nonlocal_core.data.layouts import fetch
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.records import frame_writer
from nonlocal_core.data.records.frame_writer import FrameWriter, Stored
from nonlocal_core.data.video import decoding, faults, jumps
from nonlocal_core.data.video.frames import Channels, Converter, Frame
from nonlocal_core.errors import DamagedError, DecodeError
from nonlocal_core.process import bounds, workers

if TYPE_CHECKING:
    from nonlocal_core.config.sections import CacheConfig

MOST_SIDE_PX = 65_500  # of a JPEG by OpenCV
CHANGED = "changed"
_BUFFER_BYTES = 1 << 20  # so that the file system is not asked to make room for each frame


class FrameSettings(NamedTuple):
    """What makes a frame of the settings of cache, without Pydantic: a third of a worker's start is its import."""

    codec: str
    jump: str
    short_side: int
    jpeg_quality: int
    interpolation: str
    pixels: str

    @classmethod
    def of(cls, cache: CacheConfig) -> FrameSettings:
        """Those of a section."""
        return cls(*(getattr(cache, name) for name in cls._fields))


class Job(NamedTuple):
    """A video to encode, and how."""

    place: str
    """path or URI"""
    sha256: str
    """hash of its content when it was indexed"""
    kept: bool
    """whether its frames are kept.  Even then they are not where nothing is to be stored and clips can be read by
    jumping: such a video is only decoded, to see whether that works"""
    settings: FrameSettings
    file: Path
    """where the frames that are kept go: into a file that is there, after its first `offset` bytes"""
    offset: int = 0
    pixel_aspect: float = 1.0
    """width of a pixel over its height, as it is shown"""


class Encoded(NamedTuple):
    """The result of encoding a video."""

    status: str
    """ok, unreadable, given_up or, if it is not what was indexed, changed"""
    reason: str
    """why it cannot be decoded; "" if it can"""
    stored: Stored
    """the frames in the file"""
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

    Frames are written as they come: those of an hour take no more memory than those of a second.

    Raises: what `fetch.local_copy` raises; OSError if the frames cannot be written.
    """
    cv2.setNumThreads(1)  # the processes of a build share the cores
    with job.file.open("r+b", _BUFFER_BYTES) as file:
        return _encoded(job, FrameWriter(file, job.offset))


def _encoded(job: Job, writer: FrameWriter) -> Encoded:
    started_s = time.monotonic()
    try:
        with fetch.local_copy(job.place) as path:
            if not _is_same(path, job):
                return broken(CHANGED, "has changed since it was indexed")
            return _encode(path, job, writer, started_s)
    except FileNotFoundError:
        return broken(CHANGED, "is gone")
    except PermissionError:
        return broken(CHANGED, "may not be read")
    except Exception as error:
        return broken(*faults.fault_of(error))


def _encode(path: Path, job: Job, writer: FrameWriter, started_s: float) -> Encoded:
    num_frames = height = width = source_px = 0
    jumps_later = job.settings.codec == "none" and job.settings.jump == "pyav"
    is_kept = job.kept and not (jumps_later and jumps.can_jump(path))
    for frame in decoding.read(path):
        workers.alive(num_frames + 1)
        if is_kept or not num_frames:
            small = resized(frame, job.settings, job.pixel_aspect, "bgr")
            height, width = small.shape[:2]
        if is_kept:
            writer.add(encode_bgr(small, job.settings.jpeg_quality))
            bounds.check_kept(writer.num_bytes)
        num_frames += 1
        source_px += frame.height * frame.width
    if not num_frames:
        raise DecodeError("no frames")
    return Encoded("ok", "", writer.stored, num_frames, height, width, source_px, time.monotonic() - started_s)


def _is_same(path: Path, job: Job) -> bool:
    """Whether a file still has its content: records are named by content."""
    try:
        return file_probe.content_hash(path) == job.sha256
    except DecodeError:  # empty, or not a file any more
        return False


def broken(status: str, reason: str) -> Encoded:
    """The result for a video that cannot be decoded."""
    return Encoded(status, reason, frame_writer.NONE, 0, 0, 0, 0, 0.0)


def resized(
    frame: Frame, settings: CacheConfig | FrameSettings, pixel_aspect: float = 1.0, channels: Channels = "rgb"
) -> NDArray[np.uint8]:
    """The frame in the size that a cache keeps, with square pixels.

    Shape:  (height, width, 3) to (H', W', 3), min(H', W') = settings.short_side.
    Raises: DecodeError if the frame is so long and thin that no JPEG can hold it.
    """
    height, width = frame.height, round(frame.width * pixel_aspect)
    if max(height, width) * settings.short_side > MOST_SIDE_PX * min(height, width):
        raise DecodeError(
            f"its frames have {width}x{height} px, too thin for cache.short_side={settings.short_side}"
        )
    size = transforms.size_of(frame.height, frame.width, settings.short_side, pixel_aspect)
    if transforms.averages(settings.interpolation, size, (frame.height, frame.width)):
        return frame.shrunk(*size, channels)
    in_full = frame.pixels(channels)
    return transforms.resize_short_side(in_full, settings.short_side, settings.interpolation, pixel_aspect)


def resize(
    frame_HWC: NDArray[np.uint8], settings: CacheConfig | FrameSettings, pixel_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """A frame with the size of the settings, of one in RGB that a program or another decoder has made.

    Shape:  (H, W, 3) to (H', W', 3), RGB.
    Raises: as `resized`.
    """
    return resized(Frame(frame_HWC, Converter()), settings, pixel_aspect)


def encode(frame_HWC: NDArray[np.uint8], quality: int) -> bytes:
    """The JPEG of one RGB frame; equal frames give equal bytes."""
    return bytes(encode_bgr(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), quality))


def encode_bgr(frame_HWC: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The JPEG of one frame with its channels in OpenCV's order; equal frames give equal bytes."""
    return np.asarray(cv2.imencode(".jpg", frame_HWC, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], np.uint8)


def decode(jpeg: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The frame of a JPEG.

    Shape:  (height, width, 3), RGB.
    Raises: DamagedError if the bytes are not a JPEG of this size.
    """
    frame_HWC: NDArray[np.uint8] | None = cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
    if frame_HWC is None or frame_HWC.shape != (height, width, 3):
        raise DamagedError(f"a frame is not a JPEG of {width}x{height} px")
    return frame_HWC
