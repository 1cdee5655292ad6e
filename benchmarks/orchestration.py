"""What Prefect costs: a run that has nothing to do, a mapped shard task, and its share of a run.

    python benchmarks/orchestration.py [--rounds 3] [--epochs 4]

Wall seconds, medians.  The run that has nothing to do is `python flows/full.py tiny` over a finished workspace,
from the start of the process to its end, with a server of its own.  The share compares a first run with the same
stages called without Prefect, in turns, each in a workspace of its own that has the videos; 100 epochs take some 4
minutes on two cores.
Bars: 15 s for the run with nothing to do, 0.5 s a stage apart from the start, 10 % of a run of 4 minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
NUM_SHARDS = 40
RUN_S = 240.0

PLAIN = """
import sys
from pathlib import Path
from nonlocal_core.process import child
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import resolve
from nonlocal_core.stages import cache, evaluate, index, register, train
workspace = Workspace(Path(sys.argv[1]))
config = resolve("tiny", key_value.pairs(sys.argv[2:]))
manifest = index.index(workspace.root / "toy-videos", config, workspace)
cached = cache.cache(manifest, config, workspace)
made = child.call(train.train, cached, config, workspace)
scored = child.call(evaluate.evaluate, made, cached, config, workspace)
register.register(made, scored, cached, config, workspace)
"""

IN_FLOW = """
import sys, time
from prefect import flow, task
from tasks import policy
from tasks import report
if sys.argv[1] == "map":
    @task(**policy.options("cache"))
    def one(shard):
        report.show_in_prefect()
    @flow
    def run(num_shards):
        started_s = time.monotonic()
        with policy.shard_pool("threads") as pool:
            pool.map(one, list(range(num_shards)))
        print(time.monotonic() - started_s)
    run(1)
    run(int(sys.argv[2]))
else:
    from pathlib import Path
    from flows.full import full
    from nonlocal_core.config import key_value
    for _ in range(2):
        made = full("tiny", key_value.pairs(sys.argv[3:]), workspace_dir=Path(sys.argv[2]))
    print(*(f"{stage} {seconds}" for stage, seconds in made.seconds.items()))
"""


def run(*words: str) -> tuple[float, str]:
    """The wall seconds of a Python process, and its last line."""
    environment = {
        **os.environ,
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": str(REPOSITORY),
    }
    started_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return time.monotonic() - started_s, (done.stdout.strip().splitlines() or [""])[-1]


def met(is_met: bool) -> str:
    """What stands behind a bar."""
    return "" if is_met else ", missed"


def lines(
    ours: list[float], plain: list[float], nothing: list[float], mapped: list[float], stages: str, epochs: int
) -> Iterator[str]:
    """What came out, of the wall seconds of runs with and without Prefect, finished ones, tasks and stages."""
    more = statistics.median(a - b for a, b in zip(ours, plain, strict=True))
    started_s, slowest_s = statistics.median(nothing), max(map(float, stages.split()[1::2]))
    yield f"nothing to do, from the start of the process   {started_s:6.1f} s, bar 15{met(started_s <= 15)}"
    yield f"a stage that is finished, in a running process  {stages} s, bar 0.5 each{met(slowest_s <= 0.5)}"
    yield f"a mapped task that does nothing                {statistics.median(mapped):6.3f} s"
    yield (
        f"a run of {epochs} epochs: {statistics.median(ours):.1f} s, without Prefect"
        f" {statistics.median(plain):.1f} s: {more / statistics.median(ours):.1%} of it"
    )
    yield (
        f"more with Prefect, its server's start included {more:6.1f} s: {more / RUN_S:.1%} of 4 minutes, bar 10 %"
        f"{met(more / RUN_S <= 0.1)}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    chosen = parser.parse_args()
    rounds, settings = chosen.rounds, [f"train.epochs={chosen.epochs}"]
    with tempfile.TemporaryDirectory(prefix="orchestration") as place:
        ours, plain, nothing = [], [], []
        first = Path(place) / "first"
        full = ["flows/full.py", "tiny", *settings]
        done = ["flows/full.py", "tiny", "train.epochs=1", f"workspace_dir={first}"]
        run(*done)  # makes the videos, and Prefect's database
        for number in range(rounds):
            for way in ("ours", "plain"):
                workspace = Path(place) / f"{way}-{number}"
                workspace.mkdir()
                (workspace / "toy-videos").symlink_to(first / "toy-videos")
                if way == "ours":
                    ours.append(run(*full, f"workspace_dir={workspace}")[0])
                else:
                    plain.append(run("-c", PLAIN, str(workspace), *settings)[0])
            nothing.append(run(*done)[0])
        mapped = [float(run("-c", IN_FLOW, "map", str(NUM_SHARDS))[1]) / NUM_SHARDS for _ in range(rounds)]
        stages = run("-c", IN_FLOW, "stages", str(first), "train.epochs=1")[1]
    print(*lines(ours, plain, nothing, mapped, stages, chosen.epochs), sep="\n")


if __name__ == "__main__":
    main()
