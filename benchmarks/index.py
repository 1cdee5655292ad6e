"""What index costs a video, beside opening each with decord and hashing it; and a second run over the same tree.

    python benchmarks/index.py [--videos 2000] [--rounds 5]

Both are seconds of CPU of one process with its children, in turns, medians.  Every video has a content of its own.
Bars: index at most 1.3 times the plain way; the unchanged second run at least 100 times faster than the first.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import videos


def plain(videos_dir: Path, workspace_dir: Path) -> None:
    """Open each video with decord, ask for what it knows, and hash the file."""
    import decord

    for path in sorted(videos_dir.rglob("*.mp4")):
        reader = decord.VideoReader(str(path), num_threads=1)
        len(reader), reader.get_avg_fps(), reader.get_key_indices()
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)


def ours(videos_dir: Path, workspace_dir: Path) -> None:
    """The index stage."""
    from nonlocal_core.artifacts.workspace import Workspace
    from nonlocal_core.config.tree import resolve
    from nonlocal_core.stages import index

    index.index(videos_dir, resolve("nl_i3d_r50_32x2", {}), Workspace(workspace_dir))


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _serve(way: str, videos_dir: Path, workspace_dir: Path) -> None:
    """In a process of its own: import, then measure one pass."""
    function = {"plain": plain, "ours": ours}[way]
    if way == "plain":
        import decord  # noqa: F401
    else:
        from nonlocal_core.stages import index  # noqa: F401
    cpu_s, wall_s = _cpu_s(), time.perf_counter()
    function(videos_dir, workspace_dir)
    print(json.dumps({"cpu_s": _cpu_s() - cpu_s, "wall_s": time.perf_counter() - wall_s}))


def measure(way: str, videos_dir: Path, workspace_dir: Path) -> dict[str, float]:
    """Seconds of CPU and wall of one pass in a new process on one core."""
    core = min(os.sched_getaffinity(0))
    command = [sys.executable, __file__, "--serve", way, str(videos_dir), str(workspace_dir)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return spent


def make(folder: Path, count: int) -> Path:
    """Copies of a few videos, each with a box of its own at the end that no reader looks into."""
    originals = sorted(videos.make(folder / "originals", 8).rglob("*.mp4"))
    for number in range(count):
        path = folder / "videos" / "ab"[number % 2] / f"{number:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(originals[number % len(originals)], path)
        with path.open("ab") as file:
            file.write((16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))
    return folder / "videos"


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        _serve(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos_dir = make(folder, words.videos)
        first, again, plainly = [], [], []
        for number in range(words.rounds):
            plainly.append(measure("plain", videos_dir, folder)["cpu_s"])
            first.append(measure("ours", videos_dir, folder / f"workspace{number}")["cpu_s"])
            again.append(measure("ours", videos_dir, folder / f"workspace{number}")["cpu_s"])
    for name, figures in (("decord open + hash", plainly), ("index, first run", first), ("index, again", again)):
        a_video = statistics.median(figures) / words.videos
        print(f"{name:<20} {1000 * a_video:8.3f} ms CPU a video, {1 / a_video:8.0f} videos a second and core")
    ratio = statistics.median(a / b for a, b in zip(first, plainly, strict=True))
    faster = statistics.median(a / b for a, b in zip(first, again, strict=True))
    print(f"index / plain: {ratio:.2f}, bar 1.30{'' if ratio <= 1.3 else ', missed'}")
    print(f"first / again: {faster:.0f}, bar 100{'' if faster >= 100 else ', missed'}")


if __name__ == "__main__":
    main()
