"""Frames of clips that decord reads (cache.jump=decord), in processes that a file may crash or hang."""

from __future__ import annotations

import logging
import queue
from collections import deque
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data.records import encoding
from nonlocal_core.data.records.encoding import FrameSettings
from nonlocal_core.data.video import decord_frames, pictures
from nonlocal_core.errors import DecodeError
from nonlocal_core.process import workers

TIMEOUT_S = 60.0
"""longest wait for the frames of a clip"""

log = logging.getLogger(__name__)


class Job(NamedTuple):
    """A clip to read."""

    path: Path
    wanted: list[int]
    """numbers of frames, which ascend"""
    settings: FrameSettings
    pixel_aspect: float


def read(job: Job) -> list[NDArray[np.uint8]] | str:
    """The frames of a clip, resized; or why they cannot be read.  Runs in a worker process."""
    cv2.setNumThreads(1)
    try:
        frames = decord_frames.frames_at(job.path, job.wanted)
        return [encoding.resize(frame, job.settings, job.pixel_aspect) for frame in frames]
    except DecodeError as error:
        return str(error)


class Pool:
    """Processes in which decord reads, one for each thread that asks at the same time."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._failed: set[Path] = set()

    def frames(
        self, path: Path, indices: NDArray[np.int64], settings: FrameSettings, pixel_aspect: float = 1.0
    ) -> list[NDArray[np.uint8]]:
        """The frames of a file at distinct `indices`, resized; none where decord fails, which is logged once."""
        if pictures.is_sequence(path) or path in self._failed:
            return []
        order = np.argsort(indices)
        try:
            process = self._idle.get_nowait()
        except queue.Empty:
            process = _Process()
        frames = process.read(Job(path, indices[order].tolist(), settings, pixel_aspect))
        self._idle.put(process)
        if isinstance(frames, str):
            self._failed.add(path)
            log.warning("decord fails in %s (%s): PyAV reads it", path, frames)
            return []
        return [frames[place] for place in np.argsort(order)]


class _Process:
    def __init__(self) -> None:
        self._asked: deque[Job] = deque()
        self._outcomes = workers.each(read, iter(self._asked.popleft, None), TIMEOUT_S, "clip")

    def read(self, job: Job) -> list[NDArray[np.uint8]] | str:
        self._asked.append(job)
        outcome = next(self._outcomes)
        return outcome.reason if isinstance(outcome, workers.Lost) else outcome
