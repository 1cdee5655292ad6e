"""Frames that decord jumps to, by their number; only for files in which that is safe.

decord has an FFmpeg of 2020 inside, and gives wrong frames in whole families of files.  So `is_safe` says first
where it may jump, and `frames_at` is called in a worker process, which a file may crash or hang.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data.video.containers import Contents
from nonlocal_core.data.video.opening import check_file
from nonlocal_core.errors import DecodeError

# Where decord was seen to jump to the right frame (AVI: if frames are not reordered); else it raises or is wrong.
_JUMPS_RIGHT = {
    "mov": {"h264", "hevc", "mpeg4", "mjpeg", "vp9", "h263", "prores", "png", "qtrle"},
    "matroska": {"h264", "hevc", "mpeg4", "mjpeg", "vp8", "vp9", "ffv1"},
    "flv": {"h264", "flv1"},
    "avi": {"mpeg4", "mjpeg", "msmpeg4v3"},
}
_NARROW_PX = 256  # FFmpeg pads a row by 64 px at most, less than a third of this


def is_installed() -> bool:
    """Whether decord is there; it has wheels for Linux on x86-64 only."""
    return find_spec("decord") is not None


def is_safe(contents: Contents) -> bool:
    """Whether decord finds the frames of a file, all of whose packets were read, by their number.

    decord counts packets in the order of the file and frames in the order of showing.  Both orders must agree
    at every key frame, and every packet must be one frame that is shown.
    """
    packets = contents.packets
    if contents.codec not in _JUMPS_RIGHT.get(contents.family, ()) or any(packet.is_hidden for packet in packets):
        return False
    if contents.family == "avi" and contents.is_reordered():
        return False
    if contents.family == "matroska" and not contents.has_duration():
        return False
    if not contents.has_one_video():  # decord may choose another one
        return False
    stamps = [packet.pts for packet in packets if packet.pts is not None]
    if len(set(stamps)) < len(packets) or not packets[0].is_key:
        return False
    pts, keys = np.array(stamps), np.array(contents.key_numbers())
    latest, earliest_after = np.maximum.accumulate(pts), np.minimum.accumulate(pts[::-1])[::-1]
    later = keys[1:]  # the first packet is a key frame
    return bool((pts[keys] == earliest_after[keys]).all() and (latest[later - 1] < pts[later]).all())


def frames_at(path: Path, wanted: list[int]) -> list[NDArray[np.uint8]]:
    """The frames with these numbers, which ascend.

    Shape:  (H, W, 3), RGB, each.
    Raises: DecodeError if one cannot be decoded.
    """
    import decord  # where it is not installed, nothing else of this file needs it

    check_file(path)
    decord.logging.set_level(decord.logging.QUIET)
    try:
        # fault_tol: raise where decord would repeat a frame for one that cannot be decoded; 0 switches that off.
        reader = decord.VideoReader(str(path.absolute()), num_threads=1, fault_tol=1e-6)
        if reader.get_batch([]).shape[2] >= _NARROW_PX:
            return list(reader.get_batch(wanted).asnumpy())
        return [_without_padding(reader[number]) for number in wanted]
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, IndexError, StopIteration):
        raise DecodeError("damaged: a frame cannot be decoded") from None


def _without_padding(frame: Any) -> NDArray[np.uint8]:
    """A frame of a narrow video as an array (H, W, 3).

    decord divides the bytes of a row by the width, so where FFmpeg pads the rows to a multiple of the width (16,
    72 px, …), the padding appears as more channels.
    """
    height, width, channels = frame.shape
    rows: NDArray[np.uint8] = frame.asnumpy().reshape(height, width * channels)
    return np.ascontiguousarray(rows[:, : 3 * width]).reshape(height, width, 3)
