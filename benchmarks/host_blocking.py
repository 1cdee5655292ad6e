"""A training step of `tiny` with and without MindSpore's kernel pipeline, on all cores and on one.

    python benchmarks/host_blocking.py [ROUNDS]        # default: 2

Each figure comes from a process of its own; the rounds take turns.  Milliseconds a step.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

STEPS = 60


def measure() -> None:
    """Time some steps in this process and print them."""
    import mindspore as ms
    import numpy as np

    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.training.optimizers import make_optimizer
    from nonlocal_core.training.step import Inputs, make_step

    config = resolve("tiny", {})
    ms.set_context(mode=ms.GRAPH_MODE)
    net = I3D(config.model, 4)
    rates = np.full(STEPS + 1, 0.01, np.float32)
    step = make_step(net, make_optimizer(net, rates, config.train), config.train)
    size, crop = config.train.batch_size, config.train.crop_size
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (size, 3, config.clip.clip_len, crop, crop), dtype=np.uint8)
    keep = np.ones((size, config.model.num_features), np.float32)
    places = np.arange(size, dtype=np.int32)
    batch = Inputs(clip, places % 4, keep, places, np.array(1.0, np.float32))
    step(batch)
    for _ in range(STEPS):
        started_s = time.perf_counter()
        step(batch)
        print(time.perf_counter() - started_s)


def main() -> None:
    """Run each variant some times and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    cores = sorted(os.sched_getaffinity(0))
    variants = [(blocking, used) for used in (cores, cores[:1]) for blocking in ("", "1")]
    found: dict[int, list[float]] = {number: [] for number in range(len(variants))}
    for _ in range(rounds):
        for number, (blocking, used) in enumerate(variants):
            code = f"import os; os.sched_setaffinity(0, {used}); import benchmarks.host_blocking as b; b.measure()"
            environment = {**os.environ, "MS_DEV_HOST_BLOCKING_RUN": blocking, "PYTHONPATH": os.getcwd()}
            if not blocking:
                del environment["MS_DEV_HOST_BLOCKING_RUN"]
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            found[number] += [1000 * float(line) for line in done.stdout.splitlines()[-STEPS:]]
    print("| cores | MS_DEV_HOST_BLOCKING_RUN | median ms | maximum ms |\n| --- | --- | --- | --- |")
    for number, (blocking, used) in enumerate(variants):
        ms_s = found[number]
        print(f"| {len(used)} | {blocking or 'unset'} | {statistics.median(ms_s):.0f} | {max(ms_s):.0f} |")


if __name__ == "__main__":
    main()
