"""Decoding of videos: what describes them, and what decodes them.

PyAV describes a file without decoding it, reads it from the first frame to the last, and jumps to single frames
where their time stamps prove that they are the right ones.  A folder of pictures is a video too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data.video import complaints, decord_frames, jumps, pictures
from nonlocal_core.data.video.containers import Contents, may_be_turned
from nonlocal_core.data.video.frames import Converter, Frame, Turn, turn_of
from nonlocal_core.data.video.opening import Stream, fault_of, open_video
from nonlocal_core.errors import DecodeError

Pixels = Callable[[Frame], NDArray[np.uint8]]
"""what is made of a frame: an array (H, W, 3), RGB"""
_UNDECODABLE = "damaged: a frame cannot be decoded"
_UNEVEN = 1.5  # times the usual time between two frames; containers round their time stamps
_DRIFT = 0.5  # mean frame times
_SQUARE = 0.005  # from 1, of the aspect of a pixel: some writers round the size of the frame there
_MAX_ASPECT = 16.0  # as wide as high; 4 is the widest in use
_SAME_RATE = 0.01  # share by which the rates of the header and of the time stamps may differ


class Probe(NamedTuple):
    """The properties of a video, as its file states them."""

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
    codec: str
    """its name in FFmpeg; `pictures` for a folder of pictures"""
    rotation: int
    """degrees clockwise, 0, 90, 180 or 270, by which a frame is turned to be shown"""
    variable_fps: bool
    """whether the time between two frames varies"""
    num_keyframes: int
    """frames that can be decoded by themselves"""
    longest_gap: int
    """greatest number of frames from one key frame to the next"""
    first_pts_s: float
    """time stamp (seconds) of the first frame that is shown"""
    container_frames: int
    """number of frames in the header, shown or not; 0 if it has none"""
    seek_safe: bool
    """whether decord may jump in it"""
    times_s: tuple[float, ...] | None = None
    """seconds from the first frame to each, where `variable_fps`"""
    pixel_aspect: float | None = None
    """width of a pixel over its height, as it is shown after rotation; None if it is a square"""


def probe(path: Path) -> Probe:
    """The properties of a video, found by decoding its first frame at most.

    Only reading all frames finds every fault; this finds files that are no video or are cut short.

    Raises: DecodeError with one short reason.
    """
    if pictures.is_sequence(path):
        return _probe_pictures(path)
    with open_video(path, is_decoded=False) as (container, stream):
        contents = Contents(container, stream)
        turn = None if may_be_turned(path, contents.family) else Turn()
        for packet in contents.demux():
            turn = _turn_of_first(stream, packet) if turn is None else turn
        turn = turn or _turn_of_first(stream, None) or Turn()
        contents.check_whole(path)
        shown, keys = contents.shown(), contents.key_numbers()
        num_frames, times = len(shown), contents.times(shown)
        if num_frames < 1 or not stream.width:
            raise DecodeError("no frames")
        gaps = np.diff([*keys, len(contents.packets)]) if keys else np.array([num_frames])
        fps, is_uneven = _average_rate(stream, times), _is_uneven(times)
        height, width = stream.height, stream.width
        if turn.degrees % 180:
            height, width = width, height
        return Probe(
            num_frames=num_frames,
            fps=fps,
            height=height,
            width=width,
            duration_s=num_frames / fps if fps else 0.0,
            codec=contents.codec,
            rotation=turn.degrees,
            variable_fps=is_uneven,
            num_keyframes=len(keys),
            longest_gap=int(gaps.max()),
            first_pts_s=float(times[0] * stream.time_base) if times else 0.0,
            container_frames=stream.frames,
            seek_safe=decord_frames.is_safe(contents) and _decord_turns(turn, contents.family),
            times_s=tuple(float((time - times[0]) * stream.time_base) for time in times) if is_uneven else None,
            pixel_aspect=_pixel_aspect(stream, turn),
        )


def read(path: Path) -> Iterator[Frame]:
    """Every frame of one video, once and in the order of showing; every frame as large as the first.

    Raises: DecodeError with one short reason, after some or all of the frames before the fault.
    """
    converter = Converter()
    is_sequence = pictures.is_sequence(path)
    for frame in pictures.read_pictures(pictures.list_pictures(path)) if is_sequence else _read(path):
        yield Frame(frame, converter)


def read_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The pixels of every frame of one video, once and in the order of showing.

    Shape:  (H, W, 3), RGB; every frame as large as the first.
    Raises: as `read`.
    """
    return (frame.pixels() for frame in read(path))


def frames_at(
    path: Path, num_frames: int, indices: NDArray[np.int64], pixels: Pixels = Frame.pixels
) -> list[NDArray[np.uint8]]:
    """The frames with these numbers, which may be in any order and may repeat, of a video with `num_frames`.

    They are those that `read` yields; `pixels` makes an array of each.  Where jumping to them is not safe, they
    are read from the start.  Every call opens the file, so that threads do not disturb each other.

    Shape:  (H, W, 3), RGB, each.
    Raises: DecodeError with one short reason; what `pixels` raises.
    """
    distinct, places = np.unique(indices, return_inverse=True)
    for number in distinct[[0, -1]] if len(distinct) else ():
        if not 0 <= number < num_frames:
            raise DecodeError(f"there is no frame {number}: the video has {num_frames}")
    if pictures.is_sequence(path):
        paths = pictures.list_pictures(path)
        if len(paths) != num_frames:
            raise DecodeError(f"it has {len(paths)} pictures, not {num_frames}")
        converter, chosen = Converter(), [paths[number] for number in distinct]
        frames = [pixels(Frame(picture, converter)) for picture in pictures.read_pictures(chosen)]
    else:
        wanted = distinct.tolist()
        frames = jump_to(path, num_frames, wanted, pixels) or _read_up_to(path, wanted, pixels)
    return [frames[place] for place in places]


def jump_to(
    path: Path, num_frames: int, wanted: list[int], pixels: Pixels = Frame.pixels
) -> list[NDArray[np.uint8]]:
    """The frames with these numbers, which ascend, of a video with `num_frames`; none where jumping is not safe.

    Raises: DecodeError if the file is damaged.
    """
    converter = Converter()
    try:
        return [pixels(Frame(frame, converter)) for frame in jumps.frames_at(path, num_frames, wanted)]
    except jumps.UnsafeError:
        return []


def _read(path: Path) -> Iterator[av.VideoFrame]:
    """Every frame of a video file, once and in the order of showing, as it is stored.

    Raises: DecodeError with one short reason, after some or all of the frames before the fault.
    """
    with open_video(path) as (container, stream):
        contents = Contents(container, stream)
        num_read, first_size = 0, (0, 0)
        for frame in _decoded(stream, contents):
            size = (frame.width, frame.height)
            if num_read and size != first_size:
                raise DecodeError("damaged: the frames change from {}x{} to {}x{} px".format(*first_size, *size))
            yield frame
            num_read, first_size = num_read + 1, size
        contents.check_whole(path)
        num_shown = len(contents.shown())
        if num_read < max(1, num_shown - contents.may_end_without_picture()):
            raise DecodeError(f"damaged: {num_read} of {num_shown} frames can be decoded")


def _read_up_to(path: Path, wanted: list[int], pixels: Pixels) -> list[NDArray[np.uint8]]:
    """The frames with these numbers, which ascend, found by reading from the start."""
    converter, frames, missing = Converter(), enumerate(_read(path)), deque(wanted)
    chosen: list[NDArray[np.uint8]] = []
    while missing:
        number, frame = next(frames, (-1, None))
        if frame is None:
            raise DecodeError(f"there is no frame {missing[0]}")
        if number == missing[0]:
            chosen.append(pixels(Frame(frame, converter)))
            missing.popleft()
    return chosen


def _decoded(stream: Stream, contents: Contents) -> Iterator[av.VideoFrame]:
    """The frames of a video as they are stored, from the first that does not refer to frames before the file."""
    for packet in chain(contents.demux(), [None]):
        try:
            frames, complaint = complaints.decode(stream, packet)
        except av.FFmpegError as error:
            if contents.start is not None:
                raise fault_of(error, _UNDECODABLE) from None
            continue
        if complaint and not contents.may_lack_references():
            raise DecodeError(f"{_UNDECODABLE}: {complaint}")
        for frame in frames:
            if frame.is_corrupt:
                raise DecodeError(_UNDECODABLE)
            yield frame


def _turn_of_first(stream: Stream, packet: Any) -> Turn | None:
    """How the first frame is turned; None while the decoder waits for more packets."""
    try:
        frames = stream.decode(packet)
    except av.FFmpegError:
        return Turn()  # reading the frames will find the fault
    return turn_of(frames[0]) if frames else None


def _decord_turns(turn: Turn, family: str) -> bool:
    """Whether decord shows the frames the right way up."""
    return turn == Turn() or (family == "mov" and not turn.is_mirrored)


def _pixel_aspect(stream: Stream, turn: Turn) -> float | None:
    """The shape of a pixel; None for a square.

    Raises: DecodeError if it is so far from a square that the header must be wrong.
    """
    aspect = float(stream.sample_aspect_ratio or 1)
    if turn.degrees % 180:
        aspect = 1 / aspect
    if not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
        raise DecodeError(f"damaged: it says that its pixels are {aspect:.3g} times as wide as high")
    return None if abs(aspect - 1) < _SQUARE else aspect


def _average_rate(stream: Stream, times: list[int]) -> float:
    """Frames per second: the header's, unless the time stamps contradict it."""
    header = float(stream.average_rate or 0)
    if len(times) < 2 or times[0] == times[-1]:
        return header
    measured = (len(times) - 1) / float((times[-1] - times[0]) * stream.time_base)
    return header if abs(header - measured) <= _SAME_RATE * measured else measured


def _is_uneven(times: list[int]) -> bool:
    """Whether gaps differ, or a frame is shown at another time than its number and the mean rate would say."""
    gaps = np.diff(times)
    if not len(gaps) or gaps.min() == gaps.max():
        return False
    usual, even = float(np.median(gaps)), np.linspace(times[0], times[-1], len(times))
    drift = float(np.abs(times - even).max())
    return bool(gaps.max() > _UNEVEN * usual or gaps.min() * _UNEVEN < usual or drift > _DRIFT * gaps.mean())


def _probe_pictures(folder: Path) -> Probe:
    paths = pictures.list_pictures(folder)
    height, width, _ = pictures.read_picture(paths[0]).shape
    num_frames = len(paths)
    return Probe(num_frames, 0.0, height, width, 0.0, "pictures", 0, False, num_frames, 1, 0.0, num_frames, True)
