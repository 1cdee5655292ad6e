"""The only decoder: everything this project knows about the inside of a video file comes through here.

Frames are read one after the other from the first.  Jumping to a frame is never offered: decord returns wrong
frames after a jump for whole families of files (open GOPs, B-frames in AVI, edit lists).
"""

from __future__ import annotations

import ctypes
import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.errors import DecodeError


def _load_decord() -> Any:
    """The decord module, loaded so that it lives beside MindSpore whichever of the two comes first.

    decord opens its library RTLD_GLOBAL.  Its C++ symbols then replace those of every library that is loaded
    later, and `import mindspore` aborts the process.  Nothing needs them there, so RTLD_LOCAL keeps them apart.
    """
    loader: Any = ctypes
    global_mode = loader.RTLD_GLOBAL
    loader.RTLD_GLOBAL = loader.RTLD_LOCAL
    try:
        import decord
    finally:
        loader.RTLD_GLOBAL = global_mode
    # FFmpeg writes remarks about bad files to stderr that do not name the file; DecodeError says what is wrong.
    decord.logging.set_level(decord.logging.QUIET)
    return decord


_decord = _load_decord()
_FAULTS = (_decord.DECORDError, RuntimeError)

# "error reading" is all that decord raises when FFmpeg does not know the container or finds no header.
_REASONS = (
    ("Error reading", "not a video or damaged: no container that can be read"),
    ("cannot find video stream", "no video stream"),
    ("is NULL", "no decoder for this kind of video"),
    ("avcodec_open2", "no decoder for this kind of video"),
    ("av_read_frame", "damaged: cut short or unreadable inside"),
    ("Invalid frame count", "no frames"),
    ("sending packet", "damaged: a frame cannot be decoded"),
    ("decoding frame", "damaged: a frame cannot be decoded"),
    ("run_.load()", "damaged: a frame cannot be decoded"),
)
_SOURCE_PREFIX = re.compile(r"^(\[[\d:]+\]\s+\S+:\d+:\s*)+")
_MAX_REASON = 120  # characters
_CUT_IN_TWO = (b"\x1a\x45\xdf\xa3", b"RIFF")  # what Matroska (also WebM) and AVI begin with
_SHARE_THERE = 0.8  # of what the header promises; sound may end a little after the picture
_NO_TIMESTAMP_S = -1e9  # decord turns "this packet has no timestamp" into about -3e17 seconds


class Probe(NamedTuple):
    """What a file says about its video, none of which has been decoded."""

    num_frames: int
    """frames that should be shown; a damaged file may yield fewer"""
    fps: float
    """average frames per second; 0.0 if the file does not say"""
    height: int
    """pixels, after rotation"""
    width: int
    """pixels, after rotation"""
    duration_s: float
    """num_frames / fps; 0.0 if the file does not say"""


def probe(path: Path) -> Probe:
    """Counts, rate and size of one video, from its container alone.

    No frame is decoded, so that a damaged file gives the same answer every time: decord decodes ahead in a thread,
    and a fault further on discards the frames before it that nobody has taken yet.  Whether a first frame comes
    out of such a file is a race.  Reading all frames finds every fault.

    Raises: DecodeError with one short reason.
    """
    reader = _open(path)
    _check_whole(path, reader)
    try:
        # A batch of no frames has the size of a frame, after rotation.
        _, height, width, _ = reader.get_batch([]).shape
        fps = float(reader.get_avg_fps())
        num_frames = _num_shown(reader)
    except _FAULTS as error:
        raise DecodeError(_reason(error)) from None
    fps = fps if math.isfinite(fps) and fps > 0 else 0.0
    return Probe(num_frames, fps, height, width, num_frames / fps if fps else 0.0)


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Every frame of one video, once and in the order of showing.

    Shape:  (H, W, 3), RGB; every frame as large as the first.
    Raises: DecodeError with one short reason, after some or all of the frames before the fault.
    """
    reader = _open(path)
    num_read = 0
    while True:
        try:
            frame = reader.next()
        except StopIteration:
            return
        except _decord.DECORDLimitReachedError:
            # The decoder has no picture left although the container lists more packets.  Packets before the start
            # of an edit list are not shown, and many AVI writers (all of HMDB51) end with one empty packet.
            if num_read >= max(1, _num_shown(reader) - 1):
                return
            raise DecodeError(f"damaged: {num_read} of {_num_shown(reader)} frames can be decoded") from None
        except _FAULTS as error:
            raise DecodeError(_reason(error)) from None
        yield _pixels(frame)
        num_read += 1


def _open(path: Path) -> Any:
    """A decord reader at frame 0 that raises where it would repeat a frame for one that cannot be decoded."""
    try:
        status = path.stat()
    except OSError as error:
        raise DecodeError(f"cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError("not a file")
    if status.st_size == 0:
        raise DecodeError("empty file")
    try:
        # A share of the frames that rounds to none; 0 would switch the check off.
        reader = _decord.VideoReader(str(path), num_threads=1, fault_tol=1e-6)
    except (*_FAULTS, AssertionError) as error:
        raise DecodeError(_reason(error)) from None
    if len(reader) < 1:
        raise DecodeError("no frames")
    try:
        reader.get_frame_timestamp(range(len(reader)))
    except IndexError:  # a file that ends in its first frames has packets without times
        raise DecodeError("damaged: cut short") from None
    return reader


def _check_whole(path: Path, reader: Any) -> None:
    """Compare with what the header promises: a Matroska or AVI file that is cut in two opens as a shorter one.

    An MP4 that is cut does not open, and what an edit list hides of it is promised all the same.

    Raises: DecodeError if the file is cut short.
    """
    with path.open("rb") as file:
        if file.read(4) not in _CUT_IN_TWO:
            return
    header = cv2.VideoCapture(str(path))
    num_promised, fps = header.get(cv2.CAP_PROP_FRAME_COUNT), header.get(cv2.CAP_PROP_FPS)
    header.release()
    if num_promised < 1 or fps <= 0:
        return  # the header promises nothing
    start_s, end_s = reader.get_frame_timestamp(range(len(reader))).T
    timed = bool((start_s > _NO_TIMESTAMP_S).all())
    # Seconds rather than frames, for a variable rate; AVI files with B-frames have no timestamps but count frames.
    promised, there = (num_promised / fps, float(end_s.max())) if timed else (num_promised, float(len(reader)))
    if there < _SHARE_THERE * promised:
        unit = "s" if timed else "frames"
        raise DecodeError(f"damaged: cut short, {there:.1f} of {promised:.1f} {unit} are there")


def _pixels(frame: Any) -> NDArray[np.uint8]:
    """A frame of decord as an array (H, W, 3).

    decord takes the bytes per row for channels x width, so in a narrow video whose rows FFmpeg pads to a multiple
    of the width (16, 72, 104 px, …) the padding appears as more channels.
    """
    height, width, channels = frame.shape
    pixels: NDArray[np.uint8] = frame.asnumpy()
    if channels == 3:
        return pixels
    return np.ascontiguousarray(pixels.reshape(height, width * channels)[:, : 3 * width]).reshape(height, width, 3)


def _num_shown(reader: Any) -> int:
    """Packets of the file less those before the start of its edit list, which are decoded but not shown."""
    start_s = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    return len(reader) - int(np.count_nonzero((start_s > _NO_TIMESTAMP_S) & (start_s < -1e-6)))


def _reason(error: Exception) -> str:
    """One short phrase for an error of decord, whose own text is a C++ place and sometimes a stack."""
    text = str(error)
    for part, reason in _REASONS:
        if part in text:
            return reason
    lines = text.strip().splitlines() or [type(error).__name__]
    return f"damaged: {_SOURCE_PREFIX.sub('', lines[0])}"[:_MAX_REASON]
