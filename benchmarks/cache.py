"""How fast a cache is built, how large it is, and what that comes to for Kinetics-400.

    python benchmarks/cache.py [--sizes 340x256 640x360 1280x720 1920x1080] [--scale 1] [--rounds 3] [--folder DIR]

CPU seconds of the whole stage with its workers, in turns with the least that it can cost, decoding every frame and
doing nothing with it, and with the way of before: RGB in full size, OpenCV's area, JPEG, all in one process and
without a stage around.  DIR is a folder of class folders.  Without it videos of 10 s are generated for each size,
and each of them is there several times under other titles: a stage starts two workers, whatever it has to do, and
really has 128 videos a shard.

Bars: the stage at most 1.9 times decoding at 340x256, at most 1.4 times at 1280x720 and 1920x1080, and at 1280x720
twice as fast as the way of before.  Then the quality: frames beside an exact box filter of the decoded planes.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import videos
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.records import encoding
from nonlocal_core.data.video import decoding
from nonlocal_core.stages import cache, index

sys.path.append(str(Path(__file__).parents[1]))
from tests import box_filter

KINETICS_VIDEOS = 240_000
COPIES = {"340x256": 48, "640x360": 10, "1280x720": 6, "1920x1080": 3}
"""of each of two videos"""
MOST = {"340x256": 1.9, "1280x720": 1.4, "1920x1080": 1.4}
"""times decoding that the stage may take"""
LEAST = 2.0
"""times as fast as before at 1280x720"""
SETTINGS = CacheConfig()


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _spent_s(work: Callable[[], object]) -> float:
    before_s = _cpu_s()
    work()
    return _cpu_s() - before_s


def _decoded(path: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(path), metadata_errors="replace") as container:
        container.streams.video[0].thread_type = "NONE"
        yield from container.decode(video=0)


def decode(paths: list[Path]) -> None:
    """Decode every frame, in one thread, and do nothing with it."""
    for path in paths:
        for _ in _decoded(path):
            pass


def before(frame: av.VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """A frame as caches of before had it: all of it in RGB, then OpenCV's area."""
    frame_HWC = reformatter.reformat(frame, format="rgb24", interpolation="BICUBIC").to_ndarray()
    scale = SETTINGS.short_side / min(frame.height, frame.width)
    size = int(scale * frame.width + 0.5), int(scale * frame.height + 0.5)
    if size == (frame.width, frame.height):
        return np.asarray(frame_HWC)
    return np.asarray(cv2.resize(frame_HWC, size, interpolation=cv2.INTER_AREA))


def build_before(paths: list[Path]) -> None:
    """Make the JPEGs of all frames as caches of before had them."""
    cv2.setNumThreads(1)
    for path in paths:
        reformatter = VideoReformatter()
        for frame in _decoded(path):
            encoding.encode(before(frame, reformatter), SETTINGS.jpeg_quality)


def compare(paths: list[Path], videos_dir: Path, folder: Path, rounds: int, size: str) -> None:
    """Print what the stage costs beside decoding and the way of before."""
    spent: dict[str, list[float]] = {"decoding alone": [], "before": [], "cache": []}
    made: list[RecordCache] = []
    config = resolve("nl_i3d_r50_32x2", {})
    for number in range(rounds):
        workspace = Workspace(folder / f"workspace-{size}-{number}")
        manifest = index.index(videos_dir, config, workspace)
        spent["decoding alone"].append(_spent_s(partial(decode, paths)))
        spent["before"].append(_spent_s(partial(build_before, paths)))
        before_s = _cpu_s()
        made.append(cache.cache(manifest, config, workspace))
        spent["cache"].append(_cpu_s() - before_s)
        # Else the next round's goes into memory that a virtual machine has never used, which takes longer to fill.
        shutil.rmtree(workspace.root)
    frames, a_frame = made[0].num_frames, made[0].num_bytes / made[0].num_frames
    medians = {way: statistics.median(times) for way, times in spent.items()}
    print(f"\n{size}: {made[0].num_ok} videos of {frames / made[0].num_ok:.0f} frames on average")
    print("| | ms a frame | times decoding | videos a minute and core |\n| --- | ---: | ---: | ---: |")
    for way, median_s in medians.items():
        ratio = statistics.median(a / b for a, b in zip(spent[way], spent["decoding alone"], strict=True))
        a_video = 60 * made[0].num_ok / median_s
        print(f"| {way} | {1000 * median_s / frames:.2f} | {ratio:.2f} | {a_video:.0f} |", flush=True)
    ratios = [a / b for a, b in zip(spent["cache"], spent["decoding alone"], strict=True)]
    faster = statistics.median(a / b for a, b in zip(spent["before"], spent["cache"], strict=True))
    ratio, most = statistics.median(ratios), MOST.get(size)
    if most:
        print(f"cache / decoding {ratio:.2f}, bar {most}{'' if ratio <= most else ', missed'}")
    if size == "1280x720":
        print(f"before / cache {faster:.2f}, bar {LEAST}{'' if faster >= LEAST else ', missed'}")
    a_video_s, a_video_bytes = medians["cache"] / made[0].num_ok, made[0].num_bytes / made[0].num_ok
    hours, disk_tb = KINETICS_VIDEOS * a_video_s / 16 / 3600, KINETICS_VIDEOS * a_video_bytes / 1e12
    print(f"{a_video_bytes / 2**20:.2f} MiB a video, {a_frame / 1024:.1f} KiB a frame")
    print(f"Kinetics-400, {KINETICS_VIDEOS:,} such videos, if the disk keeps up: {hours:.1f} h on 16 cores")
    print(f"  and {disk_tb:.2f} TB", flush=True)


def quality(path: Path) -> None:
    """Print how near resized frames of both ways are to an exact box filter, as they are and as they are kept."""
    reformatter = VideoReformatter()
    found: dict[str, list[tuple[float, float, float]]] = {"before": [], "cache": []}
    for number, (frame, ours) in enumerate(zip(_decoded(path), decoding.read(path), strict=True)):
        if number % 60:
            continue
        small = {"before": before(frame, reformatter), "cache": encoding.resized(ours, SETTINGS)}
        height, width, _ = small["cache"].shape
        exact = box_filter.shrunk(frame, height, width, is_left=True)
        if (height, width) == (frame.height, frame.width):
            return
        for way, made in small.items():
            jpeg = np.frombuffer(encoding.encode(made, SETTINGS.jpeg_quality), np.uint8)
            kept = encoding.decode(jpeg, height, width)
            bias = float((made - exact).mean())
            found[way].append((box_filter.psnr(made, exact), box_filter.psnr(kept, exact), bias))
    for way, figures in found.items():
        psnr, kept_psnr, bias = np.mean(figures, axis=0)
        print(f"PSNR to the exact filter, {way}: {psnr:.1f} dB, as JPEG {kept_psnr:.1f} dB; {bias:+.2f} levels")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(COPIES))
    parser.add_argument("--scale", type=float, default=1.0, help="times as many copies of each video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for size in ["as they are"] if words.folder else words.sizes:
            videos_dir = words.folder or Path(name) / size
            if not words.folder:
                width, height = map(int, size.split("x"))
                copies = max(2, round(words.scale * COPIES.get(size, 8)))
                videos.copy(videos.make(videos_dir, 2, width, height), copies)
            paths = [path for path in sorted(videos_dir.rglob("*.*")) if path.is_file()]
            compare(paths, videos_dir, Path(name), words.rounds, size)
            quality(paths[0])


if __name__ == "__main__":
    main()
