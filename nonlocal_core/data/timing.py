"""When the frames of a video are shown: from a place in time to the frame that is shown there.

Places in time are counted in mean frame times, so that in a video with an even rate frame n begins at n.  A video
whose rate varies has a time stamp for each frame (`times_s`); all others need none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-6
"""frame times: 0.57 * 100 is a little less than 57"""


class Stretch(NamedTuple):
    """The frames that are shown in a stretch of a video, which may be all of it."""

    first: int
    """number of its first frame in the video"""
    num_frames: int
    length: float
    """its duration (mean frame times)"""
    fps: float
    """mean frames per second; 0.0 if the video has no rate"""
    begins: NDArray[np.float64] | None = None
    """when each of its frames begins, from that of the stretch (mean frame times); None: one after the other"""

    def part(self, start: float, end: float) -> Stretch:
        """What is shown from one place in time to another (mean frame times): at least one frame."""
        if self.begins is None:
            first = min(math.floor(start + _ROUNDING), max(self.num_frames - 1, 0))
            num_frames = max(1, min(math.ceil(end - _ROUNDING), self.num_frames) - first)
            return Stretch(self.first + first, num_frames, num_frames, self.fps)
        first = max(0, int(np.searchsorted(self.begins, start + _ROUNDING, "right")) - 1)
        num_frames = max(1, int(np.searchsorted(self.begins, end - _ROUNDING)) - first)
        begins = self.begins[first : first + num_frames] - start
        return Stretch(self.first + first, num_frames, end - start, self.fps, begins)

    def shown(self, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """The frames that are shown at some places in time, as numbers in the stretch; after its end, the last."""
        if self.begins is None:
            frames = np.floor(places + _ROUNDING).astype(np.int64)
        else:
            frames = np.searchsorted(self.begins, places + _ROUNDING, "right").astype(np.int64) - 1
        return np.asarray(np.clip(frames, 0, self.num_frames - 1), np.int64)


def whole(num_frames: int, fps: float = 0.0, times_s: ArrayLike | None = None) -> Stretch:
    """A whole video, given its mean rate or, where the rate varies, the time stamps of its frames.

    Of a last frame it is not known how long it is shown: it counts as one mean frame time.
    """
    stamps = np.asarray([] if times_s is None else times_s, np.float64)[:num_frames]
    if len(stamps) < 2 or stamps[0] == stamps[-1]:
        return Stretch(0, num_frames, num_frames, fps)
    mean_s = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    begins = (stamps - stamps[0]) / mean_s
    # A decoder may find another number of frames than the container lists.
    more = len(stamps) + np.arange(num_frames - len(stamps), dtype=np.float64)
    return Stretch(0, num_frames, num_frames, 1 / float(mean_s), np.concatenate([begins, more]))
