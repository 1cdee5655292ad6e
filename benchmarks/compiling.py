"""What compiling a network costs and saves on a CPU: the figures behind `runtime.compile=auto`.

    python benchmarks/compiling.py [PRESET ...]        # default: tiny

A row: processor seconds until the first result is there, and those of each further one, the median of some.  Each
figure comes from a process of its own.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WAYS = ("training, compiled", "training, operators", "views, compiled", "views, OpenVINO", "views, operators")
REPEATS = 4


def measure(preset: str, way: str) -> None:
    """Print the processor seconds of the first results of one way."""
    run = _training(preset, way) if way.startswith("training") else _views(preset, way)
    for _ in range(1 + REPEATS):
        started_s = time.process_time()
        run()
        print(time.process_time() - started_s)


def _training(preset: str, way: str) -> Callable[[], object]:
    import mindspore as ms
    import numpy as np

    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models import device
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.training.optimizers import make_optimizer
    from nonlocal_core.training.step import Inputs, make_step

    config = resolve(preset, {"runtime.device": "CPU"})
    device.use(config.runtime, compiled=way.endswith("compiled"))
    net = I3D(config.model, 4)
    step = make_step(net, make_optimizer(net, np.full(99, 0.01, np.float32), config.train), config.train)
    size, crop = config.train.batch_size, config.train.crop_size
    clip = np.random.default_rng(0).integers(0, 256, (size, 3, config.clip.clip_len, crop, crop), dtype=np.uint8)
    keep, places = np.ones((size, config.model.num_features), np.float32), np.arange(size, dtype=np.int32)
    batch = Inputs(clip, places % 4, keep, places, np.array(1.0, np.float32))
    assert ms.get_context("mode") == (ms.GRAPH_MODE if way.endswith("compiled") else ms.PYNATIVE_MODE)
    return lambda: step(batch)


def _views(preset: str, way: str) -> Callable[[], object]:
    import numpy as np

    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models import checkpoint, device, inference
    from nonlocal_core.models.i3d import I3D

    engine = "openvino" if way.endswith("OpenVINO") else "mindspore"
    compiling = "never" if way.endswith("operators") else "always"
    runtime = {"runtime.device": "CPU", "runtime.engine": engine, "runtime.compile": compiling}
    config = resolve(preset, {**runtime, "evaluate.batch_clips": 1})
    device.use(config.runtime, compiled=False)
    described = checkpoint.Description(
        step=0, labels=("a", "b"), model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        checkpoint.save_weights(file, checkpoint.weights_of_network(I3D(config.model, 2)), described)
        network = inference.load(file, ["a", "b"], config)
    crop = config.evaluate.crop_size
    clip = np.random.default_rng(0).integers(0, 256, (1, 3, config.clip.clip_len, crop, crop), dtype=np.uint8)
    return lambda: network(clip)


def main() -> None:
    """Measure each way and print the table."""
    environment = {**os.environ, "MS_DEV_HOST_BLOCKING_RUN": "1", "PYTHONPATH": os.getcwd()}
    print("| preset | way | first, CPU s | each further one, CPU s |\n| --- | --- | ---: | ---: |")
    for preset in sys.argv[1:] or ["tiny"]:
        for way in WAYS:
            code = f"import benchmarks.compiling as b; b.measure({preset!r}, {way!r})"
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            )
            first, *others = [float(line) for line in done.stdout.splitlines()[-1 - REPEATS :]]
            print(f"| {preset} | {way} | {first:.1f} | {statistics.median(others):.2f} |", flush=True)


if __name__ == "__main__":
    main()
