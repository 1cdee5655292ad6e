"""The frames of a video that is in no cache, in a file, as a cache would keep them.

Only places in the file are handed on, so an hour of video takes no more memory than a second of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data import timing
from nonlocal_core.data.records import encoding
from nonlocal_core.data.records.encoding import FrameSettings
from nonlocal_core.data.timing import Stretch
from nonlocal_core.data.video import decoding, faults
from nonlocal_core.process import workers


class Job(NamedTuple):
    """A video, and where its frames go."""

    path: Path
    file: Path
    settings: FrameSettings


class Spooled(NamedTuple):
    """What came out of a video."""

    status: str
    """ok, or what is wrong with it as in a manifest"""
    reason: str
    ends: list[int]
    """where each frame ends in the file (bytes)"""
    height: int
    width: int
    timing: Stretch
    """when its frames are shown"""

    def frames(self, file: Path, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """The frames of the file at `indices`, which may repeat; each is read once.

        Shape:  (height, width, 3), RGB, each.
        """
        read: dict[int, NDArray[np.uint8]] = {}
        with file.open("rb") as stream:
            for number in np.unique(indices).tolist():
                start = self.ends[number - 1] if number else 0
                stream.seek(start)
                jpeg = np.frombuffer(stream.read(self.ends[number] - start), np.uint8)
                read[number] = encoding.decode(jpeg, self.height, self.width)
        return [read[number] for number in indices.tolist()]


def spool(job: Job) -> Spooled:
    """Every frame of a video, decoded once, resized, compressed and written."""
    cv2.setNumThreads(1)
    ends: list[int] = []
    height = width = 0
    try:
        probed = decoding.probe(job.path)
        aspect = (probed.pixel_aspect or 1.0) if job.settings.pixels == "shown" else 1.0
        with job.file.open("wb") as stream:
            for frame in decoding.read(job.path):
                workers.alive(len(ends) + 1)
                small = encoding.resized(frame, job.settings, aspect, "bgr")
                height, width = small.shape[:2]
                stream.write(encoding.encode_bgr(small, job.settings.jpeg_quality).data)
                ends.append(stream.tell())
    except Exception as error:
        return broken(*faults.fault_of(error))
    if not ends:
        return broken("unreadable", "no frames")
    timed = timing.whole(len(ends), probed.fps, probed.times_s)
    return Spooled("ok", "", ends, height, width, timed)


def broken(status: str, reason: str) -> Spooled:
    """What comes out of a video that cannot be read."""
    return Spooled(status, reason, [], 0, 0, timing.whole(0))
