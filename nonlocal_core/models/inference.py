"""The network of a checkpoint, applied to views in batches of one size, so that one graph is compiled."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts import label_ids
from nonlocal_core.config.model import map_sizes
from nonlocal_core.config.sections import ClipConfig, EvaluateConfig, RuntimeConfig
from nonlocal_core.errors import InputError
from nonlocal_core.models import checkpoint, device
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.process.progress import Progress

log = logging.getLogger(__name__)

Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def load(
    path: Path, labels: list[str], clip: ClipConfig, evaluate: EvaluateConfig, runtime: RuntimeConfig
) -> Network:
    """The network of a checkpoint as a function from uint8 clips (N, 3, T, H, W) to logits (N, K).

    Raises: DamagedError if the checkpoint is not whole; InputError if it was trained on other labels.
    """
    device.use(runtime)
    net, described = checkpoint.load_network(path)
    label_ids.check_same(described.labels, labels, str(path))
    if described.clip != clip:
        log.warning(
            "the network was trained on clips of %s and is evaluated on %s",
            *(described.clip.name, clip.name),
        )
    net = with_head(net, described, evaluate)

    def forward(clip_NCTHW: ms.Tensor) -> ms.Tensor:
        return net(normalise(clip_NCTHW, net.model))

    compiled = ms.jit(forward)

    def network(clip_NCTHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits_NK = np.asarray(compiled(ms.Tensor(clip_NCTHW)).asnumpy(), dtype=np.float32)
        if not np.isfinite(logits_NK).all():
            raise InputError(f"{path} gives scores that are not finite: its training has diverged, take another")
        return logits_NK

    return network


def with_head(net: I3D, described: checkpoint.Description, evaluate: EvaluateConfig) -> I3D:
    """The network with the head of `evaluate`; the head's window is as large as the map of a training clip."""
    if evaluate.head == "trained":
        return net
    *_, (_, frames, rows) = map_sizes(described.model, described.clip.clip_len, described.train.crop_size)
    model = described.model.model_copy(update={"head": evaluate.head, "head_window": (frames, rows, rows)})
    changed = I3D(model, len(described.labels))
    checkpoint.assign(changed, checkpoint.weights_of_network(net), Path("the checkpoint"))
    changed.set_train(False)
    return changed


def logits(
    network: Network, views_CTHW: Iterable[NDArray[np.uint8]], batch_size: int
) -> Iterator[NDArray[np.float32]]:
    """The logits of each view, in order.

    The last batch is filled up with zeros, whose logits are dropped.

    Shape:  (K,), each.
    """
    views = iter(views_CTHW)
    while batch := list(itertools.islice(views, batch_size)):
        padding = [np.zeros_like(batch[0])] * (batch_size - len(batch))
        yield from network(np.stack(batch + padding))[: len(batch)]


def logits_by_video(
    network: Network, videos: Iterable[Iterable[NDArray[np.uint8]]], batch_size: int, progress: Progress
) -> list[NDArray[np.float32]]:
    """The logits of each video's views, which are taken one after the other; a batch has views of several videos.

    Shape:  (V, K), a video; (0,) if no video has a view.
    """
    counts: list[int] = []

    def views() -> Iterator[NDArray[np.uint8]]:
        for video_views in videos:
            counts.append(0)
            for view in video_views:
                counts[-1] += 1
                yield view
            progress.advance()

    rows = list(logits(network, views(), batch_size))
    return np.split(np.array(rows, np.float32), np.cumsum(counts)[:-1])
