"""What the inventory of a folder costs, beside one plain walk that asks for the size of each file.

    python benchmarks/inventory.py [--files 100000] [--rounds 5]

Seconds of CPU in turns in one process, medians; and how often each way lists a folder, counted by Python itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection

listed: Counter[str] = Counter()


def make(folder: Path, count: int) -> Path:
    """Empty files of 200 labels, every tenth of which is no video by its name."""
    for number in range(count):
        path = (
            folder
            / "train"
            / f"label{number % 200:03d}"
            / f"clip{number:06d}.{'txt' if number % 10 == 9 else 'mp4'}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def plain(folder: Path) -> int:
    """A walk that asks for the size of each file."""
    found, folders = 0, [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    found += entry.stat().st_size >= 0
    return found


def ours(folder: Path) -> int:
    """The inventory."""
    return len(detection.find(folder, IndexConfig()).sources)


def measure(way: Callable[[Path], int], folder: Path) -> float:
    """Seconds of CPU of one pass."""
    cpu_s = time.process_time()
    way(folder)
    return time.process_time() - cpu_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name), words.files)
        seconds: dict[str, list[float]] = {"plain walk": [], "inventory": []}
        for _ in range(words.rounds):
            seconds["plain walk"].append(measure(plain, folder))
            seconds["inventory"].append(measure(ours, folder))
        sys.addaudithook(
            lambda event, args: listed.update([str(args[0])]) if event in ("os.scandir", "os.listdir") else None
        )
        ours(folder)
        below = {path: times for path, times in listed.items() if path.startswith(name)}
    for way, figures in seconds.items():
        print(f"{way:<12} {statistics.median(figures):7.2f} s CPU, {len(figures)} rounds")
    ratio = statistics.median(a / b for a, b in zip(seconds["inventory"], seconds["plain walk"], strict=True))
    print(f"inventory / plain walk: {ratio:.2f}")
    print(f"folders: {len(below)}, listed more than once: {sum(times > 1 for times in below.values())}")


if __name__ == "__main__":
    main()
