"""Contact sheets: a few frames of a video side by side, small enough for a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data import transforms
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.report import video_files

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
    frames = [_small(frame) for frame in reader.frames(row_number, indices)]
    return video_files.jpeg(np.concatenate(frames, axis=1), QUALITY)


def _small(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame_HWC.shape[:2]
    spare = max(0, width - round(height * WIDEST))
    cut = frame_HWC[:, spare // 2 : width - (spare - spare // 2)]
    return transforms.resize_short_side(cut, min(FRAME_PX, *cut.shape[:2]))
