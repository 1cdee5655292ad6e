"""What a training costs beside its arithmetic: nl_i3d_r50_8x8 at 112 px, from a cache, on this machine's cores.

    python benchmarks/training.py [STEPS] [key=value …]        # default: 16; settings such as runtime.device=GPU

Prints the share of a step that waits for clips (should be below 5 %), what the loop adds to the bare compiled step
(below 3 %), a checkpoint's time and size, the time from the start of the process to the first step, and the most
memory.  The compiled step is timed inside the loop, so
that other work on the machine meets both.  Videos are generated: 16 train videos, larger than a crop.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nonlocal_core.artifacts.files import read_json_lines
from nonlocal_core.artifacts.references import Checkpoint, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.stages import cache, index

SETTINGS = {
    "cache.short_side": 128,
    "clip.frame_interval": 2,
    "train.crop_size": 112,
    "train.batch_size": 2,
    "train.lr_batch": 0,
    "train.base_lr": 1e-3,
    "train.val_epochs": 0,
    "evaluate.crop_size": 128,
    "runtime.checkpoint_steps": 10_000,
}


def settings(num_steps: int, words: list[str]) -> Config:
    """Those of the benchmark, and what the command line has."""
    chosen = {**SETTINGS, "train.steps": num_steps, "train.milestones": (10_000,), **key_value.pairs(words)}
    return resolve("nl_i3d_r50_8x8", chosen)


def measure(folder: str, num_steps: int, words: list[str], started: float) -> None:
    """Train in this process and print each figure."""
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.reader import RecordReader
    from nonlocal_core.models import checkpoint
    from nonlocal_core.stages import train as stage
    from nonlocal_core.training import loop
    from nonlocal_core.training import step as steps
    from nonlocal_core.training.videos import Videos

    workspace, config = Workspace(folder), settings(num_steps, words)
    records = RecordCache.model_validate_json((workspace.root / "cache.json").read_text())
    reader = RecordReader(workspace, records)
    videos = Videos(reader, loader.readable_rows(reader, "train"), loader.readable_rows(reader, "val"))
    began: list[float] = []
    bare_s: list[float] = []
    make_step = steps.make_step

    def timed(*arguments: object) -> steps.Step:
        """The loop's step, timed from inside: what is left of the loop's time is the loop's own."""
        take_step = make_step(*arguments)  # type: ignore[arg-type]

        def take(given: steps.Inputs) -> object:
            began.append(time.perf_counter())
            result = take_step(given)
            bare_s.append(time.perf_counter() - began[-1])
            if len(bare_s) == 1:
                print("first_step_s", time.time() - started)
            return result

        return take  # type: ignore[return-value]

    setattr(loop, "make_step", timed)  # noqa: B010 (it is no name of the loop's own)
    partial = workspace.root / "measured"
    partial.mkdir()
    described = stage._description(records, config, workspace)
    began_s = time.perf_counter()
    loop.run(videos, described, config, partial, None)
    print("run_s", time.perf_counter() - began_s)
    lines = read_json_lines(partial / Checkpoint.LOG)
    for number in range(2, num_steps - 1):
        if lines[number]["epoch"] != lines[number + 1]["epoch"]:
            continue  # the end of an epoch draws curves
        waited_s = lines[number + 1]["waits"] * config.train.batch_size / lines[number + 1]["clips_per_s"]
        whole_s = began[number + 1] - began[number]
        print("waits", waited_s / whole_s)
        print("adds", (whole_s - waited_s - bare_s[number]) / bare_s[number])
        print("step_s", bare_s[number])
    net_file = partial / Checkpoint.WEIGHTS
    description, weights = checkpoint.read_weights(net_file)
    for number in range(3):
        began_s = time.perf_counter()
        checkpoint.save_weights(partial / f"again-{number}", {**weights, **_moments(weights)}, description)
        print("checkpoint_s", time.perf_counter() - began_s)
    print("checkpoint_mb", (partial / "again-0").stat().st_size / 1e6)
    print("memory_gb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def _moments(weights: dict) -> dict:  # type: ignore[type-arg]
    """As many bytes again as the optimizer holds."""
    return {f"optimizer/{name}": array for name, array in weights.items() if ".moving_" not in name}


def main() -> None:
    """Make videos and a cache, train in a process of its own, and print the medians."""
    words = sys.argv[1:]
    num_steps = int(words.pop(0)) if words and words[0].isdigit() else 16
    with tempfile.TemporaryDirectory() as folder:
        workspace, config = Workspace(Path(folder)), settings(num_steps, words)
        manifest = index.index(make_toy_videos(workspace.root / "videos", 20), config, workspace)
        (workspace.root / "cache.json").write_text(cache.cache(manifest, config, workspace).model_dump_json())
        code = f"import benchmarks.training as b; b.measure({folder!r}, {num_steps}, {words!r}, {time.time()})"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, list[float]] = {}
    for line in done.stdout.splitlines():
        name, _, figure = line.partition(" ")
        if name.isidentifier() and figure.replace(".", "").replace("-", "").replace("e", "").isdigit():
            found.setdefault(name, []).append(float(figure))
    middle = {name: statistics.median(figures) for name, figures in found.items()}
    print(f"cores                        {len(os.sched_getaffinity(0))}")
    print(f"step                         {middle['step_s']:.2f} s, median of {len(found['step_s'])}")
    print(f"waiting for clips            {middle['waits']:.1%} of a step (bar: 5 %)")
    print(f"the loop adds                {middle['adds']:.1%} to the bare step (bar: 3 %)")
    print(f"checkpoint                   {middle['checkpoint_s']:.2f} s, {middle['checkpoint_mb']:.0f} MB")
    print(f"start of process to step 1   {middle['first_step_s']:.1f} s, compilation included")
    print(f"most memory                  {middle['memory_gb']:.2f} GB")
    sys.exit(middle["waits"] >= 0.05 or middle["adds"] >= 0.03)


if __name__ == "__main__":
    main()
