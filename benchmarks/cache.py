"""How fast a cache is built, how large it is, and what that comes to for Kinetics-400.

    python benchmarks/cache.py [--videos 16] [--rounds 5] [--folder DIR]

CPU seconds of the stage with its workers, in turns with the least that it can cost: decoding every frame and doing
nothing with it.  DIR is a folder of class folders; without it 10 s videos of 340x256 pixels are generated.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from pathlib import Path

import av
import videos

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.stages import cache, index

KINETICS_VIDEOS = 240_000


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def build(videos_dir: Path, workspace_dir: Path) -> tuple[float, RecordCache]:
    """Seconds of CPU of the cache stage, and what it made."""
    config, workspace = resolve("nl_i3d_r50_32x2", {}), Workspace(workspace_dir)
    manifest = index.index(videos_dir, config, workspace)
    before_s = _cpu_s()
    made = cache.cache(manifest, config, workspace)
    return _cpu_s() - before_s, made


def decode(videos_dir: Path) -> float:
    """Seconds of CPU that decoding alone takes, in one thread."""
    before_s = _cpu_s()
    for path in sorted(videos_dir.rglob("*.*")):
        with av.open(str(path), metadata_errors="replace") as container:
            container.streams.video[0].thread_type = "NONE"
            for _ in container.decode(video=0):
                pass
    return _cpu_s() - before_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    words = parser.parse_args()
    built, decoded = [], []
    with tempfile.TemporaryDirectory() as name:
        videos_dir = words.folder or videos.make(Path(name) / "videos", words.videos)
        for number in range(words.rounds):
            decoded.append(decode(videos_dir))
            spent_s, made = build(videos_dir, Path(name) / f"workspace{number}")
            built.append(spent_s)
    a_video_s, a_video_bytes = statistics.median(built) / made.num_ok, made.num_bytes / made.num_ok
    frames = made.num_frames / made.num_ok
    print(f"{made.num_ok} videos of {frames:.0f} frames on average")
    print(f"cache            {60 / a_video_s:8.1f} videos a minute and core ({a_video_s:.3f} s CPU a video)")
    print(f"decoding alone   {60 / (statistics.median(decoded) / made.num_ok):8.1f} videos a minute and core")
    a_frame = a_video_bytes / frames / 1024
    print(f"size             {a_video_bytes / 2**20:8.2f} MiB a video, {a_frame:.1f} KiB a frame")
    print(f"Kinetics-400, {KINETICS_VIDEOS:,} such videos, if the disk keeps up:")
    for cores in (16, 64):
        print(f"  {cores} cores: {KINETICS_VIDEOS * a_video_s / cores / 3600:.1f} h")
    print(f"  disk: {KINETICS_VIDEOS * a_video_bytes / 1e12:.2f} TB")


if __name__ == "__main__":
    main()
