"""What reading one foreign file may take of the machine: memory, time, the size of a frame and of what is kept.

A worker has bounds (process/workers.py).  Any other process has none, and there the checks pass.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nonlocal_core.errors import BoundError

if TYPE_CHECKING:
    from nonlocal_core.config.sections import RuntimeConfig


class Bounds(NamedTuple):
    """The most that a worker may take for one video."""

    memory_gb: float = math.inf
    """beside what the worker has once it has started"""
    cpu_s: float = math.inf
    frame_mpx: float = math.inf
    """million pixels"""
    kept_gb: float = math.inf
    """frames that are kept, compressed"""


NONE = Bounds()
_bounds = NONE
_began_s = 0.0


def of(runtime: RuntimeConfig) -> Bounds:
    """The bounds that the settings ask for."""
    return Bounds(runtime.max_memory_gb, runtime.max_decode_s, runtime.max_frame_mpx, runtime.max_kept_gb)


def enter(bounds: Bounds) -> None:
    """Put bounds on this process, for good."""
    global _bounds
    _bounds = bounds
    if bounds.memory_gb < math.inf:
        limit_memory(int(bounds.memory_gb * 1e9))


def begin() -> None:
    """Begin with a video: its time counts from here."""
    global _began_s
    _began_s = time.process_time()


def limit_memory(num_bytes: int) -> None:
    """Let this process take so many more bytes than it has now; a system other than Linux does not do that."""
    if sys.platform == "linux":
        has = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = has + num_bytes if most == resource.RLIM_INFINITY else min(has + num_bytes, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def check_time() -> None:
    """Raise BoundError if the video takes longer than it may."""
    if time.process_time() - _began_s > _bounds.cpu_s:
        raise BoundError(f"takes more than {_bounds.cpu_s:g} s to decode, which runtime.max_decode_s allows")


def check_frame(width: int, height: int, name: str = "it") -> None:
    """Raise BoundError if frames of this size (pixels) are larger than they may be."""
    if width * height > _bounds.frame_mpx * 1e6:
        raise BoundError(
            f"{name} says that it has {width}x{height} px; runtime.max_frame_mpx allows {_bounds.frame_mpx:g}"
            " million"
        )


def max_frame_px() -> int:
    """The largest frame (pixels), as FFmpeg takes it."""
    return int(min(_bounds.frame_mpx * 1e6, 2**31 - 1))


def check_kept(num_bytes: int) -> None:
    """Raise BoundError if the frames that are kept of a video take more than they may."""
    if num_bytes > _bounds.kept_gb * 1e9:
        raise BoundError(
            f"its frames take more than the {_bounds.kept_gb:g} GB that runtime.max_kept_gb allows: cut it into"
            " parts, or lower cache.short_side or cache.jpeg_quality"
        )


def no_memory() -> BoundError:
    """The error for a video that takes more memory than it may."""
    return BoundError(f"takes more memory to decode than the {_bounds.memory_gb:g} GB of runtime.max_memory_gb")
