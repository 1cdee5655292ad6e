"""Which source frames make a clip, and in which order videos are seen: pure functions of their arguments."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.sections import ClipConfig, EvaluateConfig
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import views


def generator(seed: int, epoch: int, video_id: str, purpose: str) -> np.random.Generator:
    """A random generator that depends on these four values alone, whatever the platform and the process."""
    text = "\0".join((str(seed), str(epoch), video_id, purpose))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def train_indices(num_frames: int, clip: ClipConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Source-frame indices of one random clip, chosen by `clip.sampling`.

    interval  a frame every `frame_interval`, from a random start
    part      consecutive frames from a random start
    discrete  distinct frames in their order; every choice of `clip_len` frames is equally likely
    average   one frame in each of `clip_len` equal parts of the video, at the same random place of every part

    Every frame of the video can be drawn.  Where the clip passes the end of the video, or the video has fewer
    frames than a `discrete` or `average` clip, its last frame repeats or it goes on from its first one, as
    `clip.short_videos` says.

    Shape:  (clip_len,), int64, non-decreasing unless it loops.
    Units:  source frames, 0-based.
    Raises: InputError if num_frames < 1.
    """
    _require_frames(num_frames)
    if clip.sampling == "discrete":
        if num_frames <= clip.clip_len:
            return _ended(np.arange(clip.clip_len, dtype=np.int64), num_frames, clip)
        return np.sort(rng.choice(num_frames, clip.clip_len, replace=False)).astype(np.int64)
    start = int(rng.integers(_last_train_start(num_frames, clip) + 1))
    return _ended(_clip(start, num_frames, clip), num_frames, clip)


def test_indices(
    num_frames: int, clip: ClipConfig, num_clips: int, offsets: Literal["spread", "paper"]
) -> NDArray[np.int64]:
    """Source-frame indices of `num_clips` evenly spread test clips.

    spread  The first starts with the video and the last ends with it; one clip alone lies in the middle.  In a
            video shorter than the span, all start at 0 and end as `clip.short_videos` says.
    paper   Clip k of n starts at k/n of the video and starts again where the video ends, whatever
            `clip.short_videos` says.

    `discrete` and `average` clips cover the whole video: their test clips are the same, evenly spaced frames, and
    what is spread is the place in each of the equal parts.  None is random.

    Shape:  (num_clips, clip_len), int64, each row non-decreasing unless it loops.
    Units:  source frames, 0-based.
    Raises: InputError if num_frames < 1.
    Source: Wang et al. 2018, section 4.1, Inference; mmaction2 (spread), video-nonlocal-net (paper).
    """
    _require_frames(num_frames)
    if offsets == "paper":
        starts = [num_frames * k // num_clips for k in range(num_clips)]
        return np.stack([_clip(start, num_frames, clip) % num_frames for start in starts])
    last_start = num_frames - 1 if _covers_all(clip) else max(0, num_frames - span(clip))
    starts = views.spread(last_start, num_clips)
    return np.stack([_ended(_clip(start, num_frames, clip), num_frames, clip) for start in starts])


def evaluation_indices(
    num_frames: int, clip: ClipConfig, evaluate: EvaluateConfig, video_id: str
) -> NDArray[np.int64]:
    """Source-frame indices of the clips that an evaluation takes from a video: spread, or random ones.

    Random clips depend on `evaluate.seed` and the video alone.

    Shape:  (evaluate.num_clips, clip_len), int64.
    Units:  source frames, 0-based.
    Raises: InputError if num_frames < 1.
    """
    if evaluate.offsets != "random":
        return test_indices(num_frames, clip, evaluate.num_clips, evaluate.offsets)
    rng = generator(evaluate.seed, 0, video_id, "test clip")
    return np.stack([train_indices(num_frames, clip, rng) for _ in range(evaluate.num_clips)])


def step(clip: ClipConfig) -> int:
    """Source frames from one frame of an `interval` or `part` clip to the next."""
    return 1 if clip.sampling == "part" else clip.frame_interval


def span(clip: ClipConfig) -> int:
    """Source frames that an `interval` or `part` clip covers."""
    return (clip.clip_len - 1) * step(clip) + 1


def epoch_order(num_videos: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch sees the videos.

    Shape:  (num_videos,), int64, a permutation.
    """
    return generator(seed, epoch, "", "order").permutation(num_videos).astype(np.int64)


def _covers_all(clip: ClipConfig) -> bool:
    return clip.sampling in ("discrete", "average")


def _last_train_start(num_frames: int, clip: ClipConfig) -> int:
    if _covers_all(clip):
        return num_frames - 1
    # A video hardly longer than the span still gets the starts between two clip frames, or the frames that lie
    # between them could never be drawn.
    return max(num_frames - span(clip), min(step(clip), num_frames) - 1)


def _clip(start: int, num_frames: int, clip: ClipConfig) -> NDArray[np.int64]:
    """The frames of a clip, as if the video never ended; `start` is the value that is drawn or spread."""
    steps = np.arange(clip.clip_len, dtype=np.int64)
    if not _covers_all(clip):
        return start + steps * step(clip)
    if num_frames < clip.clip_len:
        return steps
    # Part i of the video are the frames from i/clip_len of it to (i + 1)/clip_len; `start` is the place in each,
    # in 1/num_frames of a part.  Over all starts, each frame is drawn equally often.
    return (steps * num_frames + start) // clip.clip_len


def _ended(indices: NDArray[np.int64], num_frames: int, clip: ClipConfig) -> NDArray[np.int64]:
    """The frames of a clip in a video that ends: the last one repeats, or it starts again."""
    return indices % num_frames if clip.short_videos == "loop" else np.minimum(indices, num_frames - 1)


def _require_frames(num_frames: int) -> None:
    if num_frames < 1:
        raise InputError(f"a clip needs a video with at least 1 frame, not {num_frames}")
