"""A frame of a video, the way up it is shown: in full, or shrunk in one pass from the planes of the decoder.

FFmpeg's area filter takes each plane by itself, with exact weights: a pixel of the result is the mean of what lies
in its box.  Chroma lies where its samples are sited (to the left, unless the file says otherwise).  Where it has
fewer samples than the result, it is interpolated linearly.  Then colours become RGB, rounded once.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from nonlocal_core.errors import DecodeError

Channels = Literal["rgb", "bgr"]
"""order of the channels; OpenCV compresses blue, green, red"""
# A frame and its own `side_data` refer to each other: both would stay in memory until Python looks for such rings,
# and the decoder would write every frame into new memory.
_side_data_of: Any = SideDataContainer
_AREA = Interpolation.AREA | Interpolation.ACCURATE_RND


class Turn(NamedTuple):
    """How a frame is changed before it is shown: mirrored left to right, then turned."""

    degrees: int = 0
    is_mirrored: bool = False

    def of(self, pixels_HWC: NDArray[Any]) -> NDArray[Any]:
        """The pixels as they are shown."""
        if self == _UPRIGHT:
            return np.ascontiguousarray(pixels_HWC)
        if self.is_mirrored:
            pixels_HWC = pixels_HWC[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels_HWC, -self.degrees // 90))


_UPRIGHT = Turn()


class Converter:
    """What turns the frames of one video into RGB, by one thread; setting it up is slow."""

    def __init__(self) -> None:
        self.in_full, self.by_area = VideoReformatter(), VideoReformatter()


class Frame:
    """A frame that was decoded, or a picture in RGB; pixels are made when they are asked for."""

    def __init__(self, decoded: av.VideoFrame | NDArray[np.uint8], converter: Converter) -> None:
        self._decoded, self._converter = decoded, converter
        if isinstance(decoded, np.ndarray):
            self._turn, (height, width) = _UPRIGHT, decoded.shape[:2]
        else:
            self._turn, height, width = turn_of(decoded), decoded.height, decoded.width
        self.height, self.width = (width, height) if self._turn.degrees % 180 else (height, width)

    def pixels(self, channels: Channels = "rgb") -> NDArray[np.uint8]:
        """All pixels.

        Shape:  (height, width, 3).
        """
        if isinstance(self._decoded, np.ndarray):
            return self._decoded if channels == "rgb" else _swapped(self._decoded)
        direct = channels == "rgb" or _converts_alike(self._decoded)
        # FFmpeg's threads would compete with the processes and threads that read other videos.
        packed = self._converter.in_full.reformat(
            self._decoded,
            format=f"{channels}24" if direct else "rgb24",
            interpolation=Interpolation.BICUBIC,
            threads=1,
        ).to_ndarray()
        return self._turn.of(packed if direct else _swapped(packed))

    def shrunk(self, height: int, width: int, channels: Channels = "rgb") -> NDArray[np.uint8]:
        """The frame in another size, which has fewer pixels, by area.

        Shape:  (height, width, 3).
        """
        # FFmpeg would shrink the two fields of an interlaced frame by themselves.
        if isinstance(self._decoded, np.ndarray) or self._decoded.interlaced_frame:
            in_full = self.pixels(channels)
            return np.asarray(cv2.resize(in_full, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        if self._turn.degrees % 180:
            height, width = width, height
        # In planes, because FFmpeg has no fast way to packed pixels.
        planar: Any = self._converter.by_area.reformat(
            self._decoded, width=width, height=height, format="gbrp", interpolation=_AREA, threads=1
        )
        green, blue, red = (
            np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)[:, :width] for plane in planar.planes
        )
        return self._turn.of(cv2.merge([red, green, blue] if channels == "rgb" else [blue, green, red]))


def _converts_alike(frame: av.VideoFrame) -> bool:
    """Whether FFmpeg gives the same colours in either order; else it rounds each order in its own way."""
    return frame.format.name in ("yuv420p", "yuvj420p") and frame.height % 2 == 0 and not frame.interlaced_frame


def _swapped(frame_HWC: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame_HWC, cv2.COLOR_RGB2BGR), np.uint8)


def turn_of(frame: av.VideoFrame) -> Turn:
    """How a frame is turned, by its display matrix.

    Raises: DecodeError if the angle is no multiple of 90 degrees.
    """
    data = _side_data_of(frame).get("DISPLAYMATRIX")
    if data is None:
        return _UPRIGHT
    # The pixel at (column, row) is shown at x = a * column + c * row, y = b * column + d * row.
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    largest = max(abs(a), abs(b), abs(c), abs(d))
    if min(max(abs(a), abs(d)), max(abs(b), abs(c))) > 0.02 * largest:
        raise DecodeError("its frames are to be shown at an angle that is no right one")
    degrees = (0 if d > 0 else 180) if abs(d) > abs(c) else (90 if c < 0 else 270)
    return Turn(degrees, is_mirrored=a * d - b * c < 0)
