"""Contact sheets: a few frames of a video side by side, small enough for a page."""

from __future__ import annotations

import cv2
import numpy as np

from nonlocal_core.data.records.reader import RecordReader

FRAMES = 6
FRAME_PX = 120
"""shorter side of a frame on a sheet, at most"""
WIDEST = 16 / 9
"""of a frame on a sheet, height being 1; a wider one is cut"""
QUALITY = 72


def sheet(reader: RecordReader, row_number: int) -> bytes:
    """A JPEG of evenly spread frames of one cached video.

    Raises: DamagedError if a frame is not what was cached.
    """
    num_frames = int(reader.rows["num_frames"].iloc[row_number])
    indices = np.linspace(0, num_frames - 1, FRAMES).round().astype(np.int64)
    return joined([_small(frame) for frame in reader.frames(row_number, indices)])


def joined(frames: list[cv2.typing.MatLike]) -> bytes:
    """A JPEG of frames of one size side by side."""
    pixels = cv2.cvtColor(np.concatenate(frames, axis=1), cv2.COLOR_RGB2BGR)
    done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    assert done
    return bytes(jpeg)


def _small(frame_HWC: cv2.typing.MatLike) -> cv2.typing.MatLike:
    height, width = frame_HWC.shape[:2]
    spare = max(0, width - round(height * WIDEST))
    cut = frame_HWC[:, spare // 2 : width - (spare - spare // 2)]
    height, width = cut.shape[:2]
    if min(height, width) <= FRAME_PX:
        return cut
    scale = FRAME_PX / min(height, width)
    return cv2.resize(cut, (round(scale * width), round(scale * height)), interpolation=cv2.INTER_AREA)
