"""Clips read by jumping, by PyAV and by decord, side by side: how many are right, and what one costs.

    python benchmarks/jumps.py [--clips 32x2 32x6 8x8] [--rounds 9]

First the families of files that the tests make: in how many every frame is the one that was asked for, and in how
many a jump is made; each clip is compared with the frames that the whole video shows.  Then videos of 10 s with
340x256 px: milliseconds of CPU a clip, medians over the rounds, in which both take turns on one core.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import videos
from numpy.typing import NDArray

from nonlocal_core.data.video import decoding, decord_frames, jumps

sys.path.append(str(Path(__file__).parents[1] / "tests" / "unit"))
import video_files

Frames = list[NDArray[np.uint8]]
KINDS = {
    "mp4, H.264, 1 key frame in 250": "-c copy",
    "mp4, H.264, 1 in 12": "-c:v libx264 -g 12 -crf 18",
    "mp4, H.264, all key frames": "-c:v libx264 -g 1 -crf 18",
    "mkv, H.264, 1 in 250": "-c copy",
    "mp4, HEVC, 1 in 12": "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=12:open-gop=0",
    "avi, MPEG-4, 1 in 12": "-c:v mpeg4 -g 12 -q:v 4",
    "avi, MJPEG": "-pix_fmt yuvj420p -c:v mjpeg -q:v 4",
    "webm, VP9, 1 in 128": "-c:v libvpx-vp9 -g 128 -deadline realtime -cpu-used 8 -b:v 700k",
}


def compare_families(folder: Path) -> None:
    """Print in how many families each is right, jumps, and is fast."""
    names = [*video_files.FAMILIES, *video_files.REMAKES]
    num_right, num_jumps, num_right_by_decord, ms_of = 0, 0, 0, dict[str, tuple[float, float]]()
    for name in names:
        path = video_files.make_family(folder, name)
        whole, is_safe = list(decoding.read_frames(path)), decoding.probe(path).seek_safe
        clips = [_clip(random.Random(number), len(whole), 16, 2) for number in range(9)]
        is_right, ms = _turn(partial(_by_pyav, path, len(whole)), clips, whole)
        num_right += is_right
        num_jumps += jumps.can_jump(path)
        if is_safe:  # in others, decord is wrong, fails or hangs
            is_right, ms_by_decord = _turn(partial(decord_frames.frames_at, path), clips, whole)
            num_right_by_decord += is_right
            ms_of[name] = ms, ms_by_decord
    slower = sorted(name for name, (ours, theirs) in ms_of.items() if ours > theirs)
    medians = [statistics.median(ms) for ms in zip(*ms_of.values(), strict=True)]
    print(f"{len(names)} families: PyAV is right in {num_right} and jumps in {num_jumps};", end=" ")
    print(f"decord may jump in {len(ms_of)} and is right in {num_right_by_decord} of them")
    print(
        f"where both jump, a clip of 16 frames takes {medians[0]:.2f} ms with PyAV, {medians[1]:.2f} with decord"
    )
    print(f"PyAV is the slower one in {len(slower)} of {len(ms_of)}: {', '.join(slower)}", flush=True)


def _by_pyav(path: Path, num_frames: int, wanted: list[int]) -> Frames:
    return decoding.frames_at(path, num_frames, np.array(wanted))


def _turn(read: Callable[[list[int]], Frames], clips: list[list[int]], whole: Frames) -> tuple[bool, float]:
    """Whether every frame is right (up to the rounding of colours), and the median of the CPU time (ms)."""
    is_right, spent = True, []
    for wanted in clips:
        started_s = time.process_time()
        frames = read(wanted)
        spent.append(1e3 * (time.process_time() - started_s))
        off = (np.abs(frame.astype(int) - whole[n]).mean() for frame, n in zip(frames, wanted, strict=True))
        is_right = is_right and max(off) < 1
    return is_right, statistics.median(spent)


def _clip(rng: random.Random, num_frames: int, clip_len: int, interval: int) -> list[int]:
    start = rng.randrange(max(1, num_frames - (clip_len - 1) * interval))
    return sorted({min(start + k * interval, num_frames - 1) for k in range(clip_len)})


def compare_speed(folder: Path, clips: list[str], rounds: int) -> None:
    """Print the cost of a clip of each kind of file."""
    (source, *_) = sorted(videos.make(folder / "videos", 1).rglob("*.mp4"))
    print(f"\n{'CPU ms a clip, medians':<34}{''.join(f'{clip:>8} PyAV  decord' for clip in clips)}")
    for number, (kind, arguments) in enumerate(KINDS.items()):
        path = folder / f"{number}.{kind.partition(',')[0]}"
        video_files.ffmpeg("-i", source, *arguments.split(), path)
        probe, line = decoding.probe(path), f"{kind:<34}"
        assert (probe.seek_safe, jumps.can_jump(path)) == (True, True), kind
        for clip in clips:
            clip_len, interval = map(int, clip.split("x"))
            spent: tuple[list[float], list[float]] = ([], [])
            for turn in range(rounds):
                wanted = _clip(random.Random(turn), probe.num_frames, clip_len, interval)
                started_s = time.process_time()
                decoding.frames_at(path, probe.num_frames, np.array(wanted))
                between_s = time.process_time()
                decord_frames.frames_at(path, wanted)
                spent[0].append(1e3 * (between_s - started_s))
                spent[1].append(1e3 * (time.process_time() - between_s))
            line += f"{statistics.median(spent[0]):13.1f}{statistics.median(spent[1]):8.1f}"
        print(line, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", nargs="+", default=["32x2", "32x6", "8x8"])
    parser.add_argument("--rounds", type=int, default=9)
    words = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        compare_speed(Path(folder), words.clips, words.rounds)
        compare_families(Path(folder))


if __name__ == "__main__":
    main()
