"""A process that does one thing many times, and prints after each time what it holds."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.process import child
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.evaluate import evaluate
from nonlocal_core.stages.index import index
from nonlocal_core.stages.register import register
from nonlocal_core.stages.train import train
from tests.chaos.chain import SETTINGS


def held() -> dict[str, float]:
    """Memory (MB), open files, threads, and semaphores of the machine."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "semaphores": len(list(Path("/dev/shm").glob("sem.*"))),
    }


def main(what: str, videos_dir: str, workspace_dir: str, count: int) -> None:
    """Repeat everything from index to register as a task does, or evaluations with other clips in this process."""
    workspace, config = Workspace(workspace_dir), resolve("tiny", SETTINGS)
    for number in range(count):
        if what == "evaluations":
            own = {
                "evaluate.offsets": "random",
                "evaluate.seed": number,
                "evaluate.num_clips": 1,
                "evaluate.num_crops": 1,
            }
            config = resolve("tiny", {**SETTINGS, **own})
        cached = cache(index(videos_dir, config, workspace), config, workspace)
        trained = train(cached, config, workspace)
        if what == "evaluations":
            evaluate(trained, cached, config, workspace)
        else:
            scored = child.call(evaluate, trained, cached, config, workspace)
            register(trained, scored, cached, config, workspace)
        print(json.dumps(held()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
