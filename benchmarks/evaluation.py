"""Videos a minute by the 30-view protocol: ours beside a plain loop in mmaction2's manner, with the same network.

    python benchmarks/evaluation.py [--torch PYTHON] [--videos 2] [--rounds 3]

I3D ResNet-50 with random weights, crops of 112 pixels, 10 clips x 3 crops, on this machine's CPU.  The videos have
the size, length and weight of Kinetics-400's 340x256 copies.

    ours        frames from the cache, each decoded once; batches of 8 views; the engine that the stage takes
                here, which is OpenVINO where it is installed, else one compiled graph of MindSpore
    eager, 30   mmaction2's manner: a video at a time, decord with one thread reads the frames of the 10 clips in
                their order, OpenCV resizes them, and the 30 views go through the network together, each operator
                called for itself by MindSpore
    eager, 1    the same, one view after the other (mmaction2's max_testing_views=1)
    engine, 30  as eager, 30, but with the network computed as ours is: what is left is the data
    engine, 1   as eager, 1, the same
    torch, 30   as eager, 30, with mmaction2's own network in PyTorch, and `torch, 1`; PYTHON has both
    compiled    as torch, 30, with the network compiled by torch.compile

The ways take turns on the same videos, so that other load meets all of them.  Figures are medians over the rounds.
Decoding is everything before the network, in seconds of CPU time a video.  Bars: at least 2 times as many videos a
minute, and a decoding share of at most a fifth of the loop's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import train_step
import videos
from evaluation_loop import Protocol, Turn, loop
from numpy.typing import NDArray

from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.evaluation import views
from nonlocal_core.models import checkpoint, inference
from nonlocal_core.models.graph import Run
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.process.progress import Progress
from nonlocal_core.stages import cache, index

LABELS = [f"label {number}" for number in range(400)]
SIDE = 112


def eager(net: I3D) -> Run:
    """The network as MindSpore calls it by default: operator by operator, as PyTorch does."""

    def network(clip_NCTHW: NDArray[Any]) -> NDArray[Any]:
        ms.set_context(mode=ms.PYNATIVE_MODE)
        try:
            return np.asarray(net(normalise(ms.Tensor(clip_NCTHW), net.model)).asnumpy())
        finally:
            ms.set_context(mode=ms.GRAPH_MODE)

    return network


def ours(reader: RecordReader, rows: list[int], config: Config, network: Run) -> Turn:
    """A turn of what the stage does."""

    def prepared() -> Iterator[NDArray[Any]]:
        return loader.video_views(reader, rows, config.clip, config.evaluate, config.runtime.num_workers)

    began, began_cpu = time.perf_counter(), time.process_time()
    progress = Progress("evaluate", "val", len(rows), "videos")
    for logits in inference.outputs_by_video(network, prepared(), config.evaluate.batch_clips, progress):
        views.average(logits)
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    before = time.process_time()
    for _ in prepared():
        pass
    return Turn(wall / len(rows), cpu / len(rows), (time.process_time() - before) / len(rows))


def compare(ways: dict[str, Callable[[], Turn]], rounds: int) -> None:
    """Let the ways take turns, and print a line each."""
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # compiles
    for number in range(rounds):
        for name, way in ways.items():
            turns[name].append(way())
            print(f"round {number + 1}, {name}: {turns[name][-1].wall_s:.2f} s a video", flush=True)
    print("\nmedians: videos a minute; decoding, s of CPU time a video and its share of the whole")
    decoding = {name: statistics.median(turn.decoding_s for turn in found) for name, found in turns.items()}
    for name, found in turns.items():
        minute = statistics.median(60 / turn.wall_s for turn in found)
        share = statistics.median(turn.decoding_s / turn.cpu_s for turn in found)
        print(f"  {name:<11} {minute:6.2f}   {decoding[name]:6.3f} s {share:7.1%}")
    for name in list(ways)[1:]:
        pairs = list(zip(turns[name], turns["ours"], strict=True))
        ratio = statistics.median(theirs.wall_s / mine.wall_s for theirs, mine in pairs)
        cpu = statistics.median(theirs.cpu_s / mine.cpu_s for theirs, mine in pairs)
        less = decoding["ours"] / decoding[name]
        print(
            f"ours / {name}: {ratio:.2f} times the videos a minute (bar 2{'' if ratio >= 2 else ', missed'}),"
            f" {cpu:.2f} times those a minute of CPU;"
        )
        print(f"    {less:.3f} of its decoding (bar 0.2{'' if less <= 0.2 else ', missed'})")


class Torch:
    """A process with mmaction2's network, in an interpreter of its own."""

    def __init__(self, python: str, kind: str, config: Config) -> None:
        threads = len(os.sched_getaffinity(0))
        case = {"net": "i3d", "frames": config.clip.clip_len, "size": SIDE, "threads": threads}
        case["map"] = train_step.map_of(case)
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("evaluation_loop.py")), kind, json.dumps(case)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # remarks of libraries
            text=True,
        )

    def turn(self, paths: list[Path], asked: Protocol, at_a_time: int) -> Turn:
        """A turn of the plain loop."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        told = {"paths": [str(path) for path in paths], "protocol": asked, "at": at_a_time}
        print(json.dumps(told), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("["):
                return Turn(*json.loads(line))
        raise SystemExit(f"{self.process.args!r} ended with code {self.process.wait()}")

    def close(self) -> None:
        """The process has gone."""
        self.process.communicate()


def main() -> None:
    """Make videos and a cache, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter with torch and mmaction2")
    parser.add_argument("--videos", type=int, default=2, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    if words.torch and not train_step.has_torch(words.torch):
        parser.error(f"--torch {words.torch} is no interpreter that imports torch and mmaction")
    settings = {"cache.short_side": SIDE, "train.crop_size": SIDE, "train.scale_max": 1.0, "runtime.device": "CPU"}
    config = resolve("i3d_r50_32x2", {**settings, "evaluate.protocol": "10x3", "index.val_fraction": 0.5})
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        workspace = Workspace(Path(folder) / "workspace")
        videos_dir = videos.make(Path(folder) / "videos", 2 * words.videos + 2)
        manifest = index.index(videos_dir, config, workspace)
        began_s = time.perf_counter()
        cached = cache.cache(manifest, config, workspace)
        spent_s = (time.perf_counter() - began_s) / cached.num_ok
        print(f"the cache took {spent_s:.2f} s a video, once", flush=True)
        reader = RecordReader(workspace, cached)
        rows = loader.readable_rows(reader, "val")[: words.videos]
        paths = [videos_dir / reader.rows["path"].iloc[row] for row in rows]
        file = Path(folder) / Checkpoint.WEIGHTS
        described = checkpoint.Description(
            step=0, labels=tuple(LABELS), model=config.model, clip=config.clip, cache=config.cache,
            train=config.train, cache_digest="", manifest_digest="",
        )  # fmt: skip
        ms.set_seed(0)
        net = I3D(config.model, len(LABELS))
        checkpoint.save_weights(file, checkpoint.weights_of_network(net), described)
        network = inference.load(file, LABELS, config, workspace=workspace)
        operators = eager(checkpoint.load_network(file)[0])
        asked = Protocol(config.evaluate.num_clips, config.clip.clip_len, config.clip.frame_interval, SIDE)
        ways = {
            "ours": lambda: ours(reader, rows, config, network),
            "eager, 30": lambda: loop(paths, asked, operators, 30),
            "eager, 1": lambda: loop(paths, asked, operators, 1),
            "engine, 30": lambda: loop(paths, asked, network, 30),
            "engine, 1": lambda: loop(paths, asked, network, 1),
        }
        if words.torch:
            plain, compiled = (
                stack.enter_context(contextlib.closing(Torch(words.torch, kind, config)))
                for kind in ("eager", "compiled")
            )
            ways |= {
                "torch, 30": lambda: plain.turn(paths, asked, 30),
                "torch, 1": lambda: plain.turn(paths, asked, 1),
                "compiled": lambda: compiled.turn(paths, asked, 30),
            }
        print(f"i3d_r50_32x2, {SIDE} px, 30 views, {len(paths)} videos a turn", flush=True)
        compare(ways, words.rounds)
        print(f"the engine is {network.engine}")


if __name__ == "__main__":
    main()
