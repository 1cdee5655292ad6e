"""A plain loop that scores videos in mmaction2's manner, with any network; with PyTorch's, a process of its own.

    PYTHON benchmarks/evaluation_loop.py eager|compiled CASE

PYTHON is an interpreter that has torch and mmaction2.  `evaluation.py` starts it, writes lines with the paths of
videos and how many views go through the network together, and reads what each turn cost.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Network = Callable[[NDArray[Any]], NDArray[Any]]
"""logits (N, K) of uint8 clips (N, 3, T, H, W)"""


class Protocol(NamedTuple):
    """The views of a video: 3 crops of each clip."""

    num_clips: int
    clip_len: int
    interval: int
    side: int


class Turn(NamedTuple):
    """What one turn of a way cost, for each video."""

    wall_s: float
    cpu_s: float
    decoding_s: float
    """of the CPU time"""


def decoded(path: Path, asked: Protocol) -> NDArray[Any]:
    """The views of a video as mmaction2's pipeline makes them: DecordInit, SampleFrames, DecordDecode, Resize,
    ThreeCrop.

    Shape: (3 * num_clips, 3, T, H, W) uint8
    """
    import decord  # after MindSpore: the other order aborts the process

    video = decord.VideoReader(str(path), num_threads=1)
    num_clips, clip_len, interval, side = asked
    last = max(len(video) - (clip_len - 1) * interval - 1, 0)
    starts = np.round(np.arange(num_clips) * last / (num_clips - 1)).astype(int)
    indices = (starts[:, None] + np.arange(clip_len) * interval) % len(video)
    frames = video.get_batch(indices.ravel()).asnumpy()
    height, width = frames.shape[1:3]
    size = (round(width * side / min(height, width)), round(height * side / min(height, width)))
    resized = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in frames])
    spare = size[0] - side
    crops = [resized[:, :, left : left + side] for left in (0, spare // 2, spare)]
    clips = np.stack([crop.reshape(num_clips, clip_len, side, side, 3) for crop in crops], 1)
    return np.ascontiguousarray(clips.reshape(-1, clip_len, side, side, 3).transpose(0, 4, 1, 2, 3))


def loop(paths: list[Path], asked: Protocol, network: Network, at_a_time: int) -> Turn:
    """A turn of the plain loop."""
    began, began_cpu, decoding = time.perf_counter(), time.process_time(), 0.0
    for path in paths:
        before = time.process_time()
        clips = decoded(path, asked)
        decoding += time.process_time() - before
        logits = [network(clips[i : i + at_a_time]) for i in range(0, len(clips), at_a_time)]
        np.concatenate(logits).mean(0)
    spent = (time.perf_counter() - began, time.process_time() - began_cpu, decoding)
    return Turn(*(one / len(paths) for one in spent))


def torch_network(case: dict[str, Any], *, compiled: bool) -> Network:
    """mmaction2's network in PyTorch, called operator by operator or compiled by Inductor."""
    import torch
    import train_step

    torch.set_num_threads(case["threads"])
    backbone, channels = train_step.resnet(case)
    train_step.check_map(backbone, case)
    net = torch.nn.ModuleList([backbone, torch.nn.Linear(channels, train_step.CLASSES)]).eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (train_step.MEAN, train_step.STD))

    def forward(clip: Any) -> Any:
        return net[1](net[0]((clip.float() - mean) / std).mean((2, 3, 4)))

    called = torch.compile(forward) if compiled else forward

    def network(clip_NCTHW: NDArray[Any]) -> NDArray[Any]:
        with torch.inference_mode():
            return np.asarray(called(torch.from_numpy(clip_NCTHW)).numpy())

    return network


def main() -> None:
    """Take a turn for every line that comes in."""
    kind, case = sys.argv[1], json.loads(sys.argv[2])
    network = torch_network(case, compiled=kind == "compiled")
    for line in sys.stdin:
        asked = json.loads(line)
        turn = loop([Path(path) for path in asked["paths"]], Protocol(*asked["protocol"]), network, asked["at"])
        print(json.dumps(turn), flush=True)


if __name__ == "__main__":
    main()
