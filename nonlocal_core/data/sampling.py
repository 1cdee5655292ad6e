"""Which source frames make a clip, and in which order videos are seen: pure functions of their arguments."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.sections import ClipConfig, EvaluateConfig
from nonlocal_core.data.timing import Stretch
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import views

Offsets = Literal["spread", "paper", "slowfast"]


def generator(seed: int, epoch: int, video_id: str, purpose: str) -> np.random.Generator:
    """A random generator that depends on these four values alone, whatever the platform and the process."""
    text = "\0".join((str(seed), str(epoch), video_id, purpose))
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def train_indices(stretch: Stretch, clip: ClipConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Source-frame indices of one random clip, chosen by `clip.sampling`.

    interval  a frame every `frame_interval`, from a random start
    part      consecutive frames from a random start
    discrete  distinct frames in their order; every choice of `clip_len` frames is equally likely
    average   one frame in each of `clip_len` equal parts of the stretch, at the same random place of every part

    Every frame of the stretch can be drawn.  Where the clip passes its end, or it has fewer frames than a
    `discrete` or `average` clip, its last frame repeats or it goes on from its first one, as `clip.short_videos`
    says.

    With `clip.fps`, the clip lasts as long as `clip_len * frame_interval` frames of that rate, its start is any
    place in time, and its frames are those that are shown at `clip_len` evenly spread places.

    Shape:  (clip_len,), int64, non-decreasing unless it loops.
    Units:  source frames of the video, 0-based.
    Raises: InputError if there is no frame.
    Source: PySlowFast, slowfast/datasets/decoder.py, for `clip.fps`.
    """
    num_frames = _require_frames(stretch)
    if clip.fps:
        return _resampled(stretch, clip, rng.random() * max(0.0, stretch.length - size(stretch, clip)))
    if clip.sampling == "discrete":
        if num_frames <= clip.clip_len:
            return stretch.first + _ended(np.arange(clip.clip_len, dtype=np.int64), num_frames, clip)
        return stretch.first + np.sort(rng.choice(num_frames, clip.clip_len, replace=False)).astype(np.int64)
    start = int(rng.integers(_last_train_start(num_frames, clip) + 1))
    return stretch.first + _ended(_clip(start, num_frames, clip), num_frames, clip)


def test_indices(stretch: Stretch, clip: ClipConfig, num_clips: int, offsets: Offsets) -> NDArray[np.int64]:
    """Source-frame indices of `num_clips` evenly spread test clips.

    spread    The first starts with the stretch and the last ends with it; one clip alone lies in the middle.  In a
              stretch shorter than the span, all start at 0 and end as `clip.short_videos` says.
    paper     Clip k of n starts at k/n of the stretch and starts again where it ends, whatever
              `clip.short_videos` says.
    slowfast  Clip k of n starts at k/n of what the stretch has more than a clip stands for: the last one never
              ends with the stretch, and one clip alone starts with it.

    `discrete` and `average` clips cover the whole stretch: their test clips are the same, evenly spaced frames,
    and what is spread is the place in each of the equal parts.  None is random.

    Shape:  (num_clips, clip_len), int64, each row non-decreasing unless it loops.
    Units:  source frames of the video, 0-based.
    Raises: InputError if there is no frame.
    Source: Wang et al. 2018, section 4.1, Inference; mmaction2 (spread), video-nonlocal-net (paper), PySlowFast.
    """
    num_frames = _require_frames(stretch)
    if clip.fps:
        return _resampled_test_clips(stretch, clip, num_clips, offsets)
    if offsets == "paper":
        starts = [num_frames * k // num_clips for k in range(num_clips)]
        clips = [_clip(start, num_frames, clip) % num_frames for start in starts]
    elif offsets == "slowfast":
        more = num_frames - 1 if _covers_all(clip) else max(0, num_frames - clip.clip_len * step(clip))
        starts = [more * k // num_clips for k in range(num_clips)]
        clips = [_ended(_clip(start, num_frames, clip), num_frames, clip) for start in starts]
    else:
        last_start = num_frames - 1 if _covers_all(clip) else max(0, num_frames - span(clip))
        starts = views.spread(last_start, num_clips)
        clips = [_ended(_clip(start, num_frames, clip), num_frames, clip) for start in starts]
    return np.asarray(stretch.first + np.stack(clips), np.int64)


def evaluation_indices(
    stretch: Stretch, clip: ClipConfig, evaluate: EvaluateConfig, video_id: str
) -> NDArray[np.int64]:
    """Source-frame indices of the clips that an evaluation takes from a video: spread, or random ones.

    Random clips depend on `evaluate.seed` and the video alone.

    Shape:  (evaluate.num_clips, clip_len), int64.
    Units:  source frames of the video, 0-based.
    Raises: InputError if there is no frame.
    """
    if evaluate.offsets != "random":
        return test_indices(stretch, clip, evaluate.num_clips, evaluate.offsets)
    rng = generator(evaluate.seed, 0, video_id, "test clip")
    return np.stack([train_indices(stretch, clip, rng) for _ in range(evaluate.num_clips)])


def clips_to_cover(stretch: Stretch, clip: ClipConfig) -> int:
    """The number of spread clips that leave nothing of a stretch out."""
    if _covers_all(clip):
        return 1
    length = stretch.length if clip.fps else stretch.num_frames
    return max(1, math.ceil(length / size(stretch, clip) - 1e-6))


def step(clip: ClipConfig) -> int:
    """Source frames from one frame of an `interval` or `part` clip to the next."""
    return 1 if clip.sampling == "part" else clip.frame_interval


def span(clip: ClipConfig) -> int:
    """Source frames that an `interval` or `part` clip covers."""
    return (clip.clip_len - 1) * step(clip) + 1


def size(stretch: Stretch, clip: ClipConfig) -> float:
    """Source frames that a clip stands for, those after its last one too; of a resampled one, mean frame times.

    A video without a rate counts as one of `clip.fps`.
    """
    scale = stretch.fps / clip.fps if clip.fps and stretch.fps else 1.0
    return max(1.0, clip.clip_len * step(clip) * scale)


def epoch_order(num_videos: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch sees the videos.

    Shape:  (num_videos,), int64, a permutation.
    """
    return generator(seed, epoch, "", "order").permutation(num_videos).astype(np.int64)


def balanced_order(label_N: NDArray[np.int32], balance: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch sees the videos of some labels; some come again, and others not at all.

    A label gets places in proportion to (its number of videos) ** (1 - balance): with 0 every video has one, as in
    `epoch_order`, with 1 all labels have equally many.  Parts of a place are drawn.  The videos of a label get its
    places in turn: no video comes for the third time before all have come twice.

    Shape:  (N,), int64.
    """
    if not balance:
        return epoch_order(len(label_N), seed, epoch)
    rng = generator(seed, epoch, "", "balanced order")
    labels, counts = np.unique(label_N, return_counts=True)
    shares = counts ** (1.0 - balance)
    ends = np.floor(np.cumsum(shares) / shares.sum() * len(label_N) + rng.random())
    ends[-1] = len(label_N)  # whatever the sum is rounded to
    chosen = []
    for label, num_places in zip(labels, np.diff(ends, prepend=0.0).astype(int), strict=True):
        own = np.flatnonzero(label_N == label)
        rounds = [rng.permutation(own) for _ in range(math.ceil(num_places / len(own)))]
        chosen += np.concatenate([*rounds, own[:0]])[:num_places].tolist()
    return rng.permutation(np.array(chosen, np.int64))


def turns(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each video of an order has come before.

    Shape:  (N,), int64.
    """
    seen: Counter[int] = Counter()
    before = []
    for place in order.tolist():
        before.append(seen[place])
        seen[place] += 1
    return np.array(before, np.int64)


def _resampled(stretch: Stretch, clip: ClipConfig, start: float, *, loops: bool = False) -> NDArray[np.int64]:
    """The frames of a clip with `clip.fps` that starts at a place in time (mean frame times)."""
    places = start + np.linspace(0.0, size(stretch, clip) - 1, clip.clip_len)
    if loops or clip.short_videos == "loop":
        places %= stretch.length
    return stretch.first + stretch.shown(places)


def _resampled_test_clips(
    stretch: Stretch, clip: ClipConfig, num_clips: int, offsets: Offsets
) -> NDArray[np.int64]:
    if offsets == "paper":
        starts = [stretch.length * k / num_clips for k in range(num_clips)]
        return np.stack([_resampled(stretch, clip, start, loops=True) for start in starts])
    last_start = max(0.0, stretch.length - size(stretch, clip))
    if offsets == "slowfast":
        return np.stack([_resampled(stretch, clip, last_start * k / num_clips) for k in range(num_clips)])
    spread = np.linspace(0.0, last_start, num_clips) if num_clips > 1 else [last_start / 2]
    return np.stack([_resampled(stretch, clip, float(start)) for start in spread])


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


def _require_frames(stretch: Stretch) -> int:
    if stretch.num_frames < 1:
        raise InputError(f"a clip needs a video with at least 1 frame, not {stretch.num_frames}")
    return stretch.num_frames
