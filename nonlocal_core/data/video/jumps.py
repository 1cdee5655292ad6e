"""Jumps to single frames of a video file, each checked by the time stamps of the frames that come out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import av

from nonlocal_core.data.video.containers import Contents
from nonlocal_core.data.video.opening import Stream, open_video


class UnsafeError(Exception):
    """A jump may lead, or has led, to another frame."""


def can_jump(path: Path) -> bool:
    """Whether the time stamps of a video are fit to find a frame by.

    Raises: DecodeError if the file is damaged.
    """
    with open_video(path) as (container, stream):
        return bool(_contents(container, stream).stamps()[0])


def frames_at(path: Path, num_frames: int, wanted: list[int]) -> Iterator[av.VideoFrame]:
    """The frames with these numbers, which ascend, of a video with `num_frames`, as they are stored.

    From a key frame on, every frame that comes out must be the next that the container lists, by its time stamp.

    Raises: UnsafeError if that is not so; DecodeError if the file is damaged.
    """
    with open_video(path) as (container, stream):
        contents = _contents(container, stream)
        if len(contents.stamps()[0]) != num_frames:
            raise UnsafeError
        try:
            yield from _jumped(container, stream, contents, wanted)
        except av.FFmpegError:
            raise UnsafeError from None


def _contents(container: Any, stream: Stream) -> Contents:
    contents = Contents(container, stream)
    deque(contents.demux(), maxlen=0)
    return contents


def _jumped(container: Any, stream: Stream, contents: Contents, wanted: list[int]) -> Iterator[av.VideoFrame]:
    times, landings = contents.stamps()
    coming: Iterator[av.VideoFrame] = iter(())
    at = len(times)  # number of the first frame that is still to come
    for number in wanted:
        landing = landings[bisect_right(landings, times[number]) - 1]
        first = bisect_left(times, landing)
        if not first <= at <= number:
            container.seek(landing, stream=stream)
            coming, at = _decoded(container, stream), first
        for place in range(at, number + 1):
            # Those before the key frame may refer to frames that were jumped over.
            frame = next((frame for frame in coming if not _is_before(contents.stamp(frame), landing)), None)
            if frame is None or frame.is_corrupt or contents.stamp(frame) != times[place]:
                raise UnsafeError
            if place == number:
                yield frame
        at = number + 1


def _is_before(stamp: int | None, landing: int) -> bool:
    return stamp is not None and stamp < landing


def _decoded(container: Any, stream: Stream) -> Iterator[av.VideoFrame]:
    for packet in chain((packet for packet in container.demux(stream) if packet.size), [None]):
        yield from stream.decode(packet)
