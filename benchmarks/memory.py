"""Whether memory stays flat over thousands of opened videos and loaded clips.

    python benchmarks/memory.py [--opens 5000] [--clips 20000]

Prints the resident memory after the first tenth (warm-up) and at the end.  Bar: less than 10 per cent growth.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import videos

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.video import decoding
from nonlocal_core.stages import cache, index


def rss_mb() -> float:
    """Resident memory of this process in MB."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def opens(paths: list[Path], ask: Callable[[Path], object]) -> Iterator[int]:
    """Open videos in turn for ever."""
    while True:
        for path in paths:
            ask(path)
            yield 1


def clips(videos_dir: Path, folder: Path) -> Iterator[int]:
    """Batches of the loader from a cache, for ever."""
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.reader import RecordReader

    config = resolve("nl_i3d_r50_8x8", {"train.batch_size": 8})
    workspace = Workspace(folder)
    cached = cache.cache(index.index(videos_dir, config, workspace), config, workspace)
    reader = RecordReader(workspace, cached)
    rows = loader.readable_rows(reader, "train")
    for epoch in range(sys.maxsize):
        for batch in loader.train_batches(reader, rows, config, epoch, skip=0):
            yield len(batch.rows)


def watch(name: str, source: Iterator[int], total: int) -> bool:
    """Whether memory grew by less than a tenth between a tenth of the way and its end."""
    done, warm_mb = 0, 0.0
    while done < total:
        done += next(source)
        if not warm_mb and done >= total // 10:
            warm_mb = rss_mb()
    growth = rss_mb() / warm_mb - 1
    print(f"{name:<32} {done:6d}: {warm_mb:6.0f} MB -> {rss_mb():6.0f} MB, {growth:+.1%}", flush=True)
    return growth < 0.1


def main() -> None:
    """Measure and print; ends with code 1 if anything grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--opens", type=int, default=5000)
    parser.add_argument("--clips", type=int, default=20000)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        videos_dir = videos.make(Path(folder) / "videos", 12)
        paths = sorted(videos_dir.rglob("*.mp4"))
        flat = [
            watch("videos inspected", opens(paths, decoding.probe), words.opens),
            watch(
                "videos opened for one frame",
                opens(paths, lambda p: decoding.frames_at(p, videos.NUM_FRAMES, np.array([0]))),
                words.opens,
            ),
            watch("clips of 8 frames, 224 px", clips(videos_dir, Path(folder) / "workspace"), words.clips),
        ]
    sys.exit(not all(flat))


if __name__ == "__main__":
    main()
