"""Videos a minute by the 30-view protocol: ours beside a plain loop in mmaction2's manner, with the same network.

    python benchmarks/evaluation.py [--preset i3d_r50_32x2] [--videos 2] [--rounds 3]

I3D ResNet-50 with random weights, crops of 112 pixels, 10 clips x 3 crops, on this machine's CPU.  The videos have
the size, length and weight of Kinetics-400's 340x256 copies.

    ours        frames from the cache, each decoded once; batches of 8 views, one compiled graph
    eager, 30   mmaction2's manner: a video at a time, decord with one thread reads the frames of the 10 clips in
                their order, OpenCV resizes them, and the 30 views go through the network together, each operator
                called for itself
    eager, 1    the same, one view after the other (mmaction2's max_testing_views=1)
    graph, 30   as eager, 30, but with the network compiled as ours is: what is left is the data
    graph, 1    as eager, 1, compiled

The ways take turns on the same videos, so that other load meets all of them.  Figures are medians over the rounds.
Decoding is everything before the network, in seconds of CPU time a video.  Bars: at least 2 times as many videos a
minute, and a decoding share of at most a fifth of the loop's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mindspore as ms
import numpy as np
import videos
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


class Turn(NamedTuple):
    """What one turn of a way cost, for each video."""

    wall_s: float
    cpu_s: float
    decoding_s: float
    """of the CPU time"""


def decoded(path: Path, config: Config) -> NDArray[Any]:
    """The 30 views of a video as mmaction2's pipeline makes them: DecordInit, SampleFrames, DecordDecode, Resize,
    ThreeCrop.

    Shape: (30, 3, T, H, W) uint8
    """
    import decord  # after MindSpore: the other order aborts the process

    video = decord.VideoReader(str(path), num_threads=1)
    clip_len, interval, num_clips = config.clip.clip_len, config.clip.frame_interval, config.evaluate.num_clips
    last = max(len(video) - (clip_len - 1) * interval - 1, 0)
    starts = np.round(np.arange(num_clips) * last / (num_clips - 1)).astype(int)
    indices = (starts[:, None] + np.arange(clip_len) * interval) % len(video)
    frames = video.get_batch(indices.ravel()).asnumpy()
    height, width = frames.shape[1:3]
    size = (round(width * SIDE / min(height, width)), round(height * SIDE / min(height, width)))
    resized = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames])
    spare = size[0] - SIDE
    crops = [resized[:, :, left : left + SIDE] for left in (0, spare // 2, spare)]
    clips = np.stack([crop.reshape(num_clips, clip_len, SIDE, SIDE, 3) for crop in crops], 1)
    return np.ascontiguousarray(clips.reshape(-1, clip_len, SIDE, SIDE, 3).transpose(0, 4, 1, 2, 3))


def loop(paths: list[Path], config: Config, network: Run, at_a_time: int) -> Turn:
    """A turn of the plain loop."""
    began, began_cpu, decoding = time.perf_counter(), time.process_time(), 0.0
    for path in paths:
        before = time.process_time()
        clips = decoded(path, config)
        decoding += time.process_time() - before
        logits = [network(clips[i : i + at_a_time]) for i in range(0, len(clips), at_a_time)]
        views.average(np.concatenate(logits))
    spent = (time.perf_counter() - began, time.process_time() - began_cpu, decoding)
    return Turn(*(one / len(paths) for one in spent))


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
        print(
            f"ours / {name}: {ratio:.2f} times the videos a minute (bar 2), {cpu:.2f} times those a minute of CPU;"
        )
        print(f"    {decoding['ours'] / decoding[name]:.3f} of its decoding (bar 0.2)")


def main() -> None:
    """Make videos and a cache, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="i3d_r50_32x2")
    parser.add_argument("--videos", type=int, default=2, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    settings = {"cache.short_side": SIDE, "train.crop_size": SIDE, "train.scale_max": 1.0, "runtime.device": "CPU"}
    config = resolve(words.preset, {**settings, "evaluate.protocol": "10x3", "index.val_fraction": 0.5})
    with tempfile.TemporaryDirectory() as folder:
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
        network = inference.load(file, LABELS, config)
        operators = eager(checkpoint.load_network(file)[0])
        print(f"{words.preset}, {SIDE} px, 30 views, {len(paths)} videos a turn", flush=True)
        compare(
            {
                "ours": lambda: ours(reader, rows, config, network),
                "eager, 30": lambda: loop(paths, config, operators, 30),
                "eager, 1": lambda: loop(paths, config, operators, 1),
                "graph, 30": lambda: loop(paths, config, network, 30),
                "graph, 1": lambda: loop(paths, config, network, 1),
            },
            words.rounds,
        )


if __name__ == "__main__":
    main()
