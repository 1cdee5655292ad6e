"""The views of new videos: of each window, or of each video where no windows were asked for.

A video is decoded in a process of its own, resized and compressed as the cache that the network was trained on, so
that the network sees what it saw.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader, sampling
from nonlocal_core.data.records import frame_file
from nonlocal_core.data.records.encoding import FrameSettings
from nonlocal_core.data.timing import Stretch
from nonlocal_core.prediction.results import Request
from nonlocal_core.process import bounds, workers
from nonlocal_core.process.progress import Within

Clips = Iterator[NDArray[np.uint8]]
"""the views of all parts of a video, one after the other"""


class Decoded(NamedTuple):
    """A decoded video with its windows, or why it could not be decoded."""

    name: str
    status: str
    reason: str
    times_s: list[tuple[float, float]]
    """of its windows; none where the whole video is one part"""
    num_views: list[int]
    """of each part"""


def look(
    videos: list[tuple[str, Path]], config: Config, request: Request
) -> Generator[tuple[Decoded, Clips], None, None]:
    """Each video with the views of all its parts, to be taken before the next video."""
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        file = Path(folder) / "frames"
        settings = FrameSettings.of(config.cache)
        jobs = [frame_file.Job(path, file, settings) for _, path in videos]
        within, limits = Within("predict", "frames decoded"), bounds.of(config.runtime)
        outcomes = workers.each(
            frame_file.spool, jobs, config.runtime.video_timeout_s, "frame", limits,
            lambda job, done: within(job.path.name, done),
        )  # fmt: skip
        for (name, _), outcome in zip(videos, outcomes, strict=True):
            if isinstance(outcome, workers.Lost):
                outcome = frame_file.broken("unreadable", outcome.reason)
            if outcome.status == "ok" and request.window_s is not None and not outcome.timing.fps:
                outcome = frame_file.broken("no_time", "it has no frame rate, and a window is so many seconds")
            times_s, parts = _parts(outcome, config, request)
            frames_at = partial(outcome.frames, file)
            views_CTHW = (
                view for part, test in parts for view in loader.views_of(frames_at, part, name, config.clip, test)
            )
            num_views = [test.num_clips * test.num_crops for _, test in parts]
            yield Decoded(name, outcome.status, outcome.reason, times_s, num_views), views_CTHW


def _parts(
    spooled: frame_file.Spooled, config: Config, request: Request
) -> tuple[list[tuple[float, float]], list[tuple[Stretch, EvaluateConfig]]]:
    """The times of the windows of a video, and each window or the whole video with the views that it gets.

    A window gets as many clips as cover it, unless a person says how many.
    """
    test, video = config.evaluate, spooled.timing
    if spooled.status != "ok":
        return [], []
    if request.window_s is None:
        return [], [(video, test)]
    times_s = times(video.num_frames, video.fps, request)
    stretches = [video.part(start * video.fps, end * video.fps) for start, end in times_s]
    if not _are_covered(request):
        return times_s, [(stretch, test) for stretch in stretches]
    counts = [sampling.clips_to_cover(stretch, config.clip) for stretch in stretches]
    tests = [test.model_copy(update={"num_clips": count, "offsets": "spread"}) for count in counts]
    return times_s, list(zip(stretches, tests, strict=True))


def times(num_frames: int, fps: float, request: Request) -> list[tuple[float, float]]:
    """Start and end of the sliding windows of a video; none where none were asked for.

    The last one ends with the video, and a video shorter than a window is one.

    Units:  seconds.
    """
    if request.window_s is None:
        return []
    length, hop = request.window_s, request.hop_s or request.window_s / 2
    duration = num_frames / fps
    if duration <= length:
        return [(0.0, duration)]
    count = int((duration - length) / hop + 1e-9) + 1
    starts = [number * hop for number in range(count)]
    if duration - length - starts[-1] > 1e-6 * duration:
        starts.append(duration - length)
    return [(start, start + length) for start in starts]


def _are_covered(request: Request) -> bool:
    """Whether windows get as many clips as cover them: nobody has said how many."""
    nested = request.overrides.get("evaluate", {})
    named = {*request.overrides, *(f"evaluate.{name}" for name in nested)}
    return request.window_s is not None and named.isdisjoint({"evaluate.num_clips", "evaluate.protocol"})


def protocol(config: Config, request: Request) -> str:
    """Clips and crops of what is averaged, in words."""
    test = config.evaluate
    clips = "clips over all of each window" if _are_covered(request) else f"{test.num_clips} clips"
    text = f"{clips} x {test.num_crops} crops of {config.clip.name}"
    return f"{text}, {test.crop_size} px" + (f", windows of {request.window_s:g} s" if request.window_s else "")
