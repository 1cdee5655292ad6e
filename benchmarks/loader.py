"""Ready training clips a second and core: ours from cache, ours from video, the seed's way, mmaction2's loader.

    python benchmarks/loader.py [--peer PYTHON] [--clips 32x6 8x8 32x2] [--rounds 7] [--videos 12]

Every way is a process of its own on one core.  They take turns, so that other load meets all of them; figures
are clips a second of CPU time, medians over the rounds.  PYTHON is an interpreter that can import mmaction2, which
does not live beside MindSpore:

    python -m venv peer && peer/bin/pip install torch mmaction2 mmengine 'mmcv-lite==2.1.0' 'numpy<2' decord \
        'opencv-python-headless<4.12' importlib_metadata 'setuptools<81'

Bars at 32x6: from cache 12 times the seed's way and 6 times mmaction2's, at most 1.4 times the cost of decoding
the JPEGs alone; from video 1.4 times the seed's way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import videos

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.video.decoding import read_frames
from nonlocal_core.stages import cache, index

HERE = Path(__file__).parent
CLIPS_A_TURN = {"cache": 24, "cache, handed over": 24, "cache, normalised": 24, "jpeg": 24}
BARS = (
    ("cache", "seed", 12.0),
    ("cache", "mmaction2", 6.0),
    ("cache", "jpeg", 1 / 1.4),
    ("cache, handed over", "jpeg", 1 / 1.4),
    ("video", "seed", 1.4),
)


class Way:
    """A process that makes clips one way."""

    def __init__(self, name: str, interpreter: str, folder: Path, clip: str) -> None:
        self.name = name
        self.figures: list[float] = []
        core = min(os.sched_getaffinity(0))
        self.process = subprocess.Popen(
            [interpreter, str(HERE / "loader_ways.py"), name, str(folder), *clip.split("x")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # remarks of libraries; a way that dies is left out
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )

    def is_ready(self) -> bool:
        """Whether it made its first clip."""
        assert self.process.stdout is not None
        return any(line == "ready\n" for line in self.process.stdout)

    def turn(self, num_clips: int) -> None:
        """Make some clips and keep the rate."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(num_clips, file=self.process.stdin, flush=True)
        spent = json.loads(next(line for line in self.process.stdout if line.startswith("{")))
        self.figures.append(spent["clips"] / spent["cpu_s"])


def prepare(folder: Path, num_videos: int) -> None:
    """Videos, a cache of each kind, and the bare JPEGs."""
    print(f"making and caching {num_videos} videos of 10 s, {videos.WIDTH}x{videos.HEIGHT}", flush=True)
    videos_dir = videos.make(folder / "videos", num_videos)
    workspace = Workspace(folder / "workspace")
    for codec in ("jpeg", "none"):
        config = resolve("nl_i3d_r50_32x2", {"cache.codec": codec, "index.val_fraction": 0.1})
        manifest = index.index(videos_dir, config, workspace)
        cached = cache.cache(manifest, config, workspace)
        (folder / f"{codec}.json").write_text(cached.model_dump_json())
    for path in sorted(videos_dir.rglob("*.mp4")):
        jpegs = [cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 90])[1] for frame in read_frames(path)]
        held = np.empty(len(jpegs), object)
        held[:] = jpegs
        np.savez(folder / f"{path.stem}.npz", jpegs=held)


def compare(folder: Path, clip: str, rounds: int, peer: str | None) -> None:
    """One table: every way on one kind of clip."""
    names = ["jpeg", "cache", "cache, handed over", "cache, normalised", "video", "seed"]
    ways = [Way(name, sys.executable, folder, clip) for name in names]
    if peer:
        ways.append(Way("mmaction2", peer, folder, clip))
    ways = [way for way in ways if way.is_ready() or print(f"{way.name} does not run: left out")]
    for _ in range(rounds):
        for way in ways:
            way.turn(CLIPS_A_TURN.get(way.name, 6))
    for way in ways:
        way.process.kill()
    medians = {way.name: statistics.median(way.figures) for way in ways}
    print(f"\n{clip}, 224 px: clips a second and core (least to most), times the seed's way")
    for way in ways:
        spread = f"{min(way.figures):.1f} to {max(way.figures):.1f}"
        print(f"  {way.name:<19} {medians[way.name]:7.1f}  ({spread}){medians[way.name] / medians['seed']:8.1f} x")
    for ours, theirs, bar in BARS:
        if theirs in medians:
            ratio = medians[ours] / medians[theirs]
            met = "" if ratio >= bar else ", missed"
            print(f"  {ours} / {theirs}: {ratio:.2f}, bar {bar:.2f}{met}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer", help="an interpreter that can import mmaction2; left out: not compared")
    parser.add_argument("--clips", nargs="+", default=["32x6", "32x2", "8x8"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--videos", type=int, default=12)
    words = parser.parse_args()
    if not words.peer:
        print("mmaction2 is not compared: name an interpreter that has it with --peer")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), words.videos)
        for clip in words.clips:
            compare(Path(folder), clip, words.rounds, words.peer)


if __name__ == "__main__":
    main()
