"""One way of making training clips, run by `loader.py` in a process and an interpreter of its own.

Reads a number of clips from a line, makes them, answers with the seconds of CPU and wall that they took.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CROP = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.255)  # the seed's


def ours(folder: Path, clip_len: int, interval: int, codec: str) -> Iterator[int]:
    """Batches of uint8, as the training loop hands them to the network."""
    for batch in _our_batches(folder, clip_len, interval, codec):
        yield len(batch.clip_NCTHW)


def ours_handed_over(folder: Path, clip_len: int, interval: int, codec: str) -> Iterator[int]:
    """The same batches as MindSpore's tensors, still uint8: what goes to a device."""
    import mindspore as ms

    for batch in _our_batches(folder, clip_len, interval, codec):
        yield len(ms.Tensor(batch.clip_NCTHW))


def ours_normalised(folder: Path, clip_len: int, interval: int, codec: str) -> Iterator[int]:
    """The same batches, normalised as the first part of a compiled step, where the device is this CPU."""
    import mindspore as ms

    from nonlocal_core.config.tree import resolve
    from nonlocal_core.models.normalise import normalise

    model = resolve("nl_i3d_r50_32x2", {}).model

    def normalised(clip_NCTHW: ms.Tensor) -> ms.Tensor:
        return normalise(clip_NCTHW, model)

    compiled = ms.jit(normalised)
    for batch in _our_batches(folder, clip_len, interval, codec):
        compiled(ms.Tensor(batch.clip_NCTHW)).asnumpy()
        yield len(batch.clip_NCTHW)


def _our_batches(folder: Path, clip_len: int, interval: int, codec: str) -> Iterator[Any]:
    from nonlocal_core.artifacts.references import RecordCache
    from nonlocal_core.artifacts.workspace import Workspace
    from nonlocal_core.config.tree import resolve
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.reader import RecordReader

    asked: dict[str, object] = {
        "clip.clip_len": clip_len,
        "clip.frame_interval": interval,
        "runtime.num_workers": 1,
    }
    # A random square and no scaling, as the other ways.
    asked |= {"train.batch_size": 4, "train.crop": "random", "train.scale_min": 1.0, "train.scale_max": 1.0}
    config = resolve("nl_i3d_r50_32x2", asked)
    workspace = Workspace(folder / "workspace")
    cached = RecordCache.model_validate_json((folder / f"{codec}.json").read_text())
    reader = RecordReader(workspace, cached)
    rows = loader.readable_rows(reader, "train")
    for epoch in range(1_000_000):
        yield from loader.train_batches(reader, rows, config, epoch, skip=0)


def jpeg(folder: Path, clip_len: int, interval: int) -> Iterator[int]:
    """The least that a cache of JPEGs can cost: cv2.imdecode of a clip's frames, and nothing else."""
    import cv2

    cv2.setNumThreads(1)
    videos = [np.load(path, allow_pickle=True)["jpegs"] for path in sorted(folder.glob("*.npz"))]
    rng = np.random.default_rng(0)
    while True:
        jpegs = videos[rng.integers(len(videos))]
        start = rng.integers(max(1, len(jpegs) - (clip_len - 1) * interval))
        wanted = np.minimum(start + interval * np.arange(clip_len), len(jpegs) - 1)
        frames = [cv2.imdecode(jpegs[k], cv2.IMREAD_COLOR) for k in wanted]  # held together, as in a clip
        yield len(frames) // clip_len


def seed(folder: Path, clip_len: int, interval: int) -> Iterator[int]:
    """The seed's dataset and transforms, as plain functions: float32 (3, T, H, W), normalised.

    The seed runs them inside mindspore.dataset, which costs more; that is left out in its favour.
    """
    paths = sorted((folder / "videos").rglob("*.mp4"))
    while True:
        _seed_clip(random.choice(paths), clip_len, interval)
        yield 1


def _seed_clip(path: Path, clip_len: int, interval: int) -> NDArray[np.float32]:
    import cv2
    import decord

    reader = decord.VideoReader(BytesIO(path.read_bytes()), num_threads=1)
    num_frames = len(reader)
    span = clip_len * interval + 1
    start = random.randrange(abs(num_frames - span) + 1)
    indices = [(start + k * interval) % num_frames for k in range(clip_len)]
    decoded = {index: reader[index].asnumpy() for index in sorted(set(indices))}
    clip = np.stack([decoded[index] for index in indices])
    height, width = clip.shape[1:3]
    scale = 256 / min(height, width)
    size = (int(scale * width + 0.5), int(scale * height + 0.5))
    clip = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in clip])
    top, left = random.randint(0, size[1] - CROP), random.randint(0, size[0] - CROP)
    clip = clip[:, top : top + CROP, left : left + CROP]
    if random.random() < 0.5:
        clip = np.flip(clip, 2)
    clip = (clip * (1 / 255.0)).astype(np.float32)  # a float64 in between
    clip = clip.transpose(3, 0, 1, 2)
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1, 1) for values in (MEAN, STD))
    return np.ascontiguousarray((clip - mean) / std)


def mmaction2(folder: Path, clip_len: int, interval: int) -> Iterator[int]:
    """mmaction2's training pipeline on its decord loader, one clip after the other: uint8 (1, 3, T, H, W)."""
    import warnings

    warnings.simplefilter("ignore")
    from mmaction.datasets import transforms as t

    pipeline = [
        t.DecordInit(),
        t.SampleFrames(clip_len=clip_len, frame_interval=interval, num_clips=1),
        t.DecordDecode(),
        t.Resize(scale=(-1, 256)),
        t.RandomCrop(size=CROP),
        t.Flip(flip_ratio=0.5),
        t.FormatShape(input_format="NCTHW"),
        t.PackActionInputs(),
    ]
    paths = sorted((folder / "videos").rglob("*.mp4"))
    while True:
        made: Any = {"filename": str(random.choice(paths)), "label": 0, "start_index": 0, "modality": "RGB"}
        for transform in pipeline:
            made = transform(made)
        yield len(made["inputs"])


WAYS: dict[str, Callable[..., Iterator[int]]] = {
    "cache": partial(ours, codec="jpeg"),
    "cache, handed over": partial(ours_handed_over, codec="jpeg"),
    "cache, normalised": partial(ours_normalised, codec="jpeg"),
    "video": partial(ours, codec="none"),
    "jpeg": jpeg,
    "seed": seed,
    "mmaction2": mmaction2,
}


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _settle() -> None:
    """Wait until as much is prepared ahead as before the turn, so that each turn pays for its own clips."""
    before_s = -1.0
    while _cpu_s() - before_s > 0.002:
        before_s = _cpu_s()
        time.sleep(0.05)


def main() -> None:
    """Serve one way: WAY FOLDER CLIP_LEN INTERVAL."""
    way, folder, clip_len, interval = sys.argv[1:]
    clips = WAYS[way](Path(folder), int(clip_len), int(interval))
    next(clips)
    _settle()
    print("ready", flush=True)
    for line in sys.stdin:
        cpu_s, wall_s, done = _cpu_s(), time.perf_counter(), 0
        while done < int(line):
            done += next(clips)
        _settle()
        spent = {"clips": done, "cpu_s": _cpu_s() - cpu_s, "wall_s": time.perf_counter() - wall_s}
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
