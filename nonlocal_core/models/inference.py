"""The network of a checkpoint, applied to views in batches of one size, so that one graph is compiled."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.references import Features
from nonlocal_core.config.model import ModelConfig, map_sizes
from nonlocal_core.config.sections import ClipConfig, EvaluateConfig, RuntimeConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import DamagedError, InputError, few
from nonlocal_core.models import checkpoint, device, parts, trunk
from nonlocal_core.models.compiling import compiling
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.process.progress import Progress, Within

log = logging.getLogger(__name__)

Network = Callable[[NDArray[Any]], NDArray[np.float32]]


def load(
    path: Path,
    labels: list[str],
    clip: ClipConfig,
    evaluate: EvaluateConfig,
    runtime: RuntimeConfig,
    kept: Features | None = None,
    *,
    with_features: bool = False,
) -> Network:
    """The network of a checkpoint as a function from uint8 clips (N, 3, T, H, W) to logits (N, K).

    With kept features, it is a function of these, for which the trunk is not needed.  If they are asked for, the
    pooled features follow the logits (N, K + C).

    Raises: DamagedError if the checkpoint is not whole; InputError if it was trained on other labels, or the
            features are not those of its trunk.
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
    if kept and kept.trunk_digest != trunk.digest(net, kept.last):
        raise InputError(f"{path} has another trunk than the one whose features are in {kept.path}")
    rest = trunk.features(net, kept.last if kept else "")

    def forward(clip_NCTHW: ms.Tensor) -> ms.Tensor:
        return net(normalise(clip_NCTHW, net.model))

    def classify(features: ms.Tensor) -> ms.Tensor:
        return net.classify(rest(features))

    def both(clip_NCTHW: ms.Tensor) -> ms.Tensor:
        features_NC = rest(clip_NCTHW)
        logits_NK = forward(clip_NCTHW) if net.fully_conv else net.classify(features_NC)
        return ms.ops.cat((logits_NK, features_NC), 1)

    if with_features:
        return _compiled(both, net.model, path)
    return _compiled(classify if kept else forward, net.model, path)


def load_trunk(path: Path, config: Config) -> tuple[Network, str]:
    """The trunk of a checkpoint, up to train.freeze, as a function of uint8 clips, and the digest of its weights.

    Raises: InputError if the checkpoint is not whole or lacks a part of the trunk.
    """
    device.use(config.runtime)
    described, weights = checkpoint.read_user_file(path, "train.init")
    last = config.train.freeze
    net = I3D(config.model, len(described.labels))
    own = checkpoint.weights_of_network(net)
    missing = [name for name in own if name.startswith(parts.prefixes(last)) and name not in weights]
    if missing:
        raise InputError(
            f"train.init={path} lacks {few(missing, 3)}, which would stay as they are drawn: lower train.freeze"
        )
    fitting = {name: weights[name] if name.startswith(parts.prefixes(last)) else own[name] for name in own}
    try:
        checkpoint.assign(net, fitting, path)
    except DamagedError as error:
        raise InputError(f"train.init: {error}") from None
    net.set_train(False)
    return _compiled(trunk.trunk(net, last), net.model, path), trunk.digest(net, last)


def _compiled(forward: trunk.Forward, model: ModelConfig, path: Path) -> Network:
    """A function of arrays, compiled at its first call.

    What it gives must be finite: InputError names the checkpoint of which it is not.
    """
    compiled = ms.jit(forward)
    is_compiled = False

    def network(inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        nonlocal is_compiled
        with contextlib.nullcontext() if is_compiled else compiling("the network", model, inputs.shape):
            outputs = np.asarray(compiled(ms.Tensor(inputs)).asnumpy(), dtype=np.float32)
        is_compiled = True
        if not np.isfinite(outputs).all():
            raise InputError(f"{path} gives scores that are not finite: its training has diverged, take another")
        return outputs

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


def outputs(network: Network, views: Iterable[NDArray[Any]], batch_size: int) -> Iterator[NDArray[np.float32]]:
    """What a network gives for each view, in order: logits (K,), or what a trunk gives.

    The last batch is filled up with zeros, whose outputs are dropped.
    """
    views = iter(views)
    while batch := list(itertools.islice(views, batch_size)):
        padding = [np.zeros_like(batch[0])] * (batch_size - len(batch))
        yield from network(np.stack(batch + padding))[: len(batch)]


def outputs_by_video(
    network: Network, videos: Iterable[Iterable[NDArray[Any]]], batch_size: int, progress: Progress
) -> list[NDArray[np.float32]]:
    """What a network gives for each video's views, which are taken one after the other.

    A batch has views of several videos.

    Shape:  (V, K) or (V, …), a video; (0,) if no video has a view.
    """
    counts: list[int] = []
    within = Within(progress.stage, "views")

    def views() -> Iterator[NDArray[Any]]:
        for video_views in videos:
            counts.append(0)
            for view in video_views:
                counts[-1] += 1
                within(f"{progress.what}, video {len(counts)}", counts[-1])
                yield view
            progress.advance()

    rows = list(outputs(network, views(), batch_size))
    return np.split(np.array(rows, np.float32), np.cumsum(counts)[:-1])
