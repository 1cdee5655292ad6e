"""In how many processes the tests run: `-n auto`."""

from __future__ import annotations

import os
import time
from pathlib import Path

MOST = 12
"""the longest file takes as long as all the others in so many processes"""
PROCESS_GB = 2.0
"""what a process has taken at its end: MindSpore keeps what it has compiled"""


def here() -> int:
    """The number of processes for this machine, as busy and as full as it is now; 3 where Linux does not tell."""
    if not Path("/proc/meminfo").exists():
        return 3
    return suited(len(os.sched_getaffinity(0)), busy_cores(), _free_gb())


def suited(cores: int, busy: float, free_gb: float) -> int:
    """One process more than there are cores, since some wait; and more beside other programs.

    Linux gives the same share to each process of a terminal: beside two busy ones, six of the tests have 1.5 of
    two cores, and three have 1.2.
    """
    return max(2, min(MOST, cores + 1 + int(1.5 * busy), int(free_gb / PROCESS_GB)))


def busy_cores(seconds: float = 1.0) -> float:
    """How many cores are busy now; a mean load would count what ran before."""
    before = _idle_s()
    time.sleep(seconds)
    return max(0.0, (os.cpu_count() or 1) - (_idle_s() - before) / seconds)


def _idle_s() -> float:
    """Seconds that all cores together have waited, also for a disk."""
    _, _, _, _, idle, disk, *_ = Path("/proc/stat").read_text().split()[:10]
    return (int(idle) + int(disk)) / os.sysconf("SC_CLK_TCK")


def _free_gb() -> float:
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) / (1 << 20)
