"""What a preset costs on this machine, before anything starts: measured on a few videos, one view and one step."""

from __future__ import annotations

import math
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np

from nonlocal_core.artifacts.files import sha256_of
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts import detection, listing
from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.data.loader import Batch, steps_per_epoch
from nonlocal_core.data.records import cache_plan, encoding, store
from nonlocal_core.errors import InputError
from nonlocal_core.models import trunk
from nonlocal_core.models.i3d import I3D
from nonlocal_core.process import bounds, workers
from nonlocal_core.training import optimizers
from nonlocal_core.training.step import inputs, make_step

NUM_SAMPLED = 3
"""videos that are decoded to see how long that takes"""


class Measured(NamedTuple):
    """The time of a computation, and of its compilation (seconds)."""

    compile_s: float
    seconds: float
    loss: float = float("nan")


def lines(config: Config, videos_dir: str) -> Iterator[tuple[str, str]]:
    """The cost of each stage for the videos of a folder, as name and text; each comes once it is measured.

    Raises: InputError if there are no videos, or they lie in object storage.
    """
    folder = listing.open_folder(videos_dir)
    if not isinstance(folder, Path):
        raise InputError(f"videos_dir={videos_dir}: costs are measured on videos that lie on a disk")
    sources = detection.find(folder, config.index, None, config.runtime.follow_links).sources
    splits = {name: sum(source.split == name for source in sources) for name in ("train", "val", "test")}
    drawn = sum(not source.split for source in sources)
    splits["val"] += round(drawn * config.index.val_fraction)
    splits["train"] += drawn - round(drawn * config.index.val_fraction)
    num_labels = len({source.label for source in sources})
    yield "videos", f"{len(sources)} of {num_labels} labels: {splits['train']} train, {splits['val']} val"
    cache_s, num_bytes = _cache(folder, sources, config)
    yield "cache", f"about {cache_plan.duration(cache_s)}, {store.gigabytes(num_bytes)} of disk"
    scored = len(sources) if config.evaluate.split == "all" else splits[config.evaluate.split]
    total_s = cache_s
    for name, text, seconds in _network(config, splits, scored, num_labels):
        total_s += seconds
        yield name, f"{text}: about {cache_plan.duration(seconds)}"
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    yield "memory", f"{peak_gb:.1f} GB for the network, and up to 0.5 GB for clips that wait"
    yield "all together", f"about {cache_plan.duration(total_s)}"


def _cache(folder: Path, sources: list[Source], config: Config) -> tuple[float, float]:
    """The seconds and bytes of decoding all videos, in proportion to the size of those that are decoded here."""
    on_disk = [source for source in sources if source.size_bytes >= 0]
    on_disk.sort(key=lambda source: source.size_bytes)
    files = [source for source in on_disk if (folder / source.path).is_file()]
    if not files:
        return 0.0, 0.0
    chosen = [files[(2 * i + 1) * len(files) // (2 * NUM_SAMPLED)] for i in range(NUM_SAMPLED)]
    settings = encoding.FrameSettings.of(config.cache)
    limits = bounds.of(config.runtime)
    seen, started_s = cache_plan.NOTHING, time.monotonic()
    with tempfile.NamedTemporaryFile(prefix="frames-") as frames:
        jobs = [
            encoding.Job(str(path), sha256_of(path), True, settings, Path(frames.name))
            for path in (folder / source.path for source in chosen)
        ]
        for outcome in workers.each(encoding.encode_video, jobs, config.runtime.video_timeout_s, "frame", limits):
            if not isinstance(outcome, workers.Lost):
                seen = seen.plus(outcome)
    seconds = time.monotonic() - started_s
    share = sum(source.size_bytes for source in on_disk) / max(1, sum(source.size_bytes for source in chosen))
    return seconds * share / (os.cpu_count() or 1), seen.num_bytes * share if config.cache.codec == "jpeg" else 0.0


def _network(
    config: Config, splits: dict[str, int], num_scored: int, num_labels: int
) -> Iterator[tuple[str, str, float]]:
    """Name, text and seconds of features, train and evaluate."""
    train, features, test = config.train, config.features, config.evaluate
    net = I3D(config.model, max(num_labels, 2))
    if features.num_clips:
        views = features.num_clips * features.num_crops * (2 if features.mirrored else 1)
        num_views = views * sum(splits.values())
        view = one_view(net, config, features.crop_size, train.freeze)
        yield "features", f"{num_views} views of {view.seconds:.2f} s", view.compile_s + num_views * view.seconds
    if train.optimizer == "lbfgs":
        yield "train", "a classifier of the features", 10.0
    else:
        step = one_step(net, config)
        epochs = steps_per_epoch(splits["train"], train.batch_size) * train.epochs
        num_steps = train.steps or epochs
        text = f"{num_steps} steps of {step.seconds:.2f} s, after {step.compile_s:.0f} s to compile"
        yield "train", text, step.compile_s + num_steps * step.seconds
    if not features.num_clips:
        num_views = test.num_clips * test.num_crops * num_scored
        view = one_view(net, config, test.crop_size)
        yield "evaluate", f"{num_views} views of {view.seconds:.2f} s", view.compile_s + num_views * view.seconds


def one_view(net: I3D, config: Config, side: int, last: str = "") -> Measured:
    """What one view of noise takes in a batch of the evaluation: up to the part `last`, or the whole network."""
    net.set_train(False)
    size = config.evaluate.batch_clips
    clip_NCTHW = ms.Tensor(_noise(size, config.clip.clip_len, side))
    forward = ms.jit(trunk.trunk(net, last) if last else trunk.features(net))
    seconds = []
    for _ in range(2):
        started_s = time.monotonic()
        forward(clip_NCTHW).asnumpy()
        seconds.append(time.monotonic() - started_s)
    return Measured(seconds[0] - seconds[1], seconds[1] / size)


def one_step(net: I3D, config: Config) -> Measured:
    """What a training step takes, on clips of noise or on what the trunk gives for one."""
    train, last = config.train, config.train.freeze if config.features.num_clips else ""
    clip_NCTHW = _noise(train.batch_size, config.clip.clip_len, train.crop_size)
    if last:
        net.set_train(False)
        clip = trunk.trunk(net, last)(
            ms.Tensor(_noise(1, config.clip.clip_len, config.features.crop_size))
        ).asnumpy()
        clip_NCTHW = np.repeat(clip, train.batch_size, 0)
    batch = Batch(clip_NCTHW, np.zeros(train.batch_size, np.int32), list(range(train.batch_size)))
    optimizers.freeze(net, train.freeze)
    optimizer = optimizers.make_optimizer(net, np.full(2, 0.01, np.float32), train)
    take_step, seconds, loss = make_step(net, optimizer, train, last=last), [], math.nan
    for step in range(2):
        started_s = time.monotonic()
        loss, _ = take_step(inputs(batch, config, step))
        seconds.append(time.monotonic() - started_s)
    return Measured(seconds[0] - seconds[1], seconds[1], loss)


def _noise(num: int, clip_len: int, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (num, 3, clip_len, side, side)).astype(np.uint8)
