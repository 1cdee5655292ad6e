"""Which source frames make a clip, and in which order videos are seen: pure functions of their arguments."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config import ClipConfig
from nonlocal_core.errors import InputError


def generator(seed: int, epoch: int, video_id: str, purpose: str) -> np.random.Generator:
    """A random generator that depends on these four values alone, on every platform and in every process."""
    text = "\0".join((str(seed), str(epoch), video_id, purpose))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def train_indices(num_frames: int, clip: ClipConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Source-frame indices of one clip that starts at random.

    Every frame of the video can be drawn.  Where the clip passes the end of the video, its last frame repeats.

    Shape:  (clip_len,), int64, non-decreasing.
    Units:  source frames, 0-based.
    Raises: InputError if num_frames < 1.
    """
    _require_frames(num_frames)
    # A video hardly longer than the span still gets the starts between two clip frames, or the frames that lie
    # between them could never be drawn.
    last_start = max(num_frames - clip.span, min(clip.frame_interval, num_frames) - 1)
    return _clip(int(rng.integers(last_start + 1)), num_frames, clip)


def test_indices(num_frames: int, clip: ClipConfig, num_clips: int) -> NDArray[np.int64]:
    """Source-frame indices of `num_clips` evenly spread test clips.

    The first starts with the video and the last ends with it; one clip alone lies in the middle.  In a video
    shorter than the span, all start at 0 and the last frame repeats.

    Shape:  (num_clips, clip_len), int64, each row non-decreasing.
    Units:  source frames, 0-based.
    Raises: InputError if num_frames < 1.
    Source: Wang et al. 2018, section 4.1, Inference.
    """
    _require_frames(num_frames)
    last_start = max(0, num_frames - clip.span)
    if num_clips == 1:
        starts = [last_start // 2]
    else:
        # Rounded in whole numbers, halves up: no platform can round another way.
        steps = num_clips - 1
        starts = [(2 * last_start * i + steps) // (2 * steps) for i in range(num_clips)]
    return np.stack([_clip(start, num_frames, clip) for start in starts])


def epoch_order(num_videos: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch sees the videos.

    Shape:  (num_videos,), int64, a permutation.
    """
    return generator(seed, epoch, "", "order").permutation(num_videos).astype(np.int64)


def _clip(start: int, num_frames: int, clip: ClipConfig) -> NDArray[np.int64]:
    indices = start + np.arange(clip.clip_len, dtype=np.int64) * clip.frame_interval
    return np.minimum(indices, num_frames - 1)


def _require_frames(num_frames: int) -> None:
    if num_frames < 1:
        raise InputError(f"a clip needs a video with at least 1 frame, not {num_frames}")
