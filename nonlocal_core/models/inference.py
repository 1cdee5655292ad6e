"""The network of a checkpoint, applied to views by the engine that the settings choose.

MindSpore is imported only where it computes, or where what OpenVINO runs is not made yet.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.references import Features
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.model import ModelConfig, map_sizes
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import InputError
from nonlocal_core.models import checkpoint, compiling, openvino_engine, parts
from nonlocal_core.models.graph import Array, Engine, Graph, Run, check_finite
from nonlocal_core.process import device_locks
from nonlocal_core.process.progress import Progress, Within

if TYPE_CHECKING:  # MindSpore takes seconds to import
    from nonlocal_core.models.i3d import I3D
    from nonlocal_core.models.trunk import Forward

log = logging.getLogger(__name__)


class Network:
    """A function of arrays, with the engine that the settings, the machine and a comparison lead to."""

    def __init__(
        self,
        graph: Graph,
        config: Config,
        workspace: Workspace | None,
        num_views: int | None = None,
        num_wanted: int | None = None,
    ) -> None:
        self.graph, self.runtime, self.workspace = graph, config.runtime, workspace
        self.batch_size, self.num_wanted = config.evaluate.batch_clips, num_wanted
        self.num_views = num_views
        self._engine = self._ready()

    @property
    def engine(self) -> str:
        """What computes, in words; empty before the first call of what is made then."""
        return self._engine.name if self._engine else ""

    def __call__(self, inputs: Array) -> NDArray[np.float32]:
        """What the graph gives for each input, of the wanted numbers.

        Raises: InputError that names the checkpoint, if that is not finite.
        """
        if self._engine is None:
            exported = openvino_engine.make(self.graph, inputs[:1], self.batch_size, self.workspace)
            self._engine = exported or self._mindspore()
        outputs = self._engine.run(inputs)
        check_finite(outputs, self.graph)
        return outputs[:, : self.num_wanted]

    def _ready(self) -> Engine | None:
        """The engine; None if it is to be made from the first input."""
        if not openvino_engine.is_wanted(self.runtime):
            return self._mindspore()
        if "RANK_ID" not in os.environ:  # with several devices, the stage holds their locks for all processes
            device_locks.reserve("CPU", 1, self.runtime)
        exported = openvino_engine.find(self.graph, self.workspace)
        if exported is None and self.runtime.engine == "auto" and not self._is_compiled():
            return self._mindspore()
        if exported is None:
            importlib.import_module("mindspore")  # now: imported after decord, it aborts the process
            return None
        return openvino_engine.load(exported, self.batch_size) or self._mindspore()

    def _mindspore(self) -> Engine:
        from nonlocal_core.models import mindspore_engine

        compiled = self._is_compiled()
        return mindspore_engine.load(self.graph, self.runtime, self.batch_size, compiled=compiled)

    def _is_compiled(self) -> bool:
        """Whether the views are worth compiling; a function of all of them, so that going on changes no bit."""
        if self.runtime.compile != "auto" or self.num_views is None:
            return self.runtime.compile != "never"
        return compiling.pays_for_views(self.graph.model, self.graph.clip_shape, self.num_views)


def load(
    path: Path,
    labels: list[str],
    config: Config,
    stored: Features | None = None,
    workspace: Workspace | None = None,
    *,
    num_views: int | None = None,
    with_features: bool = False,
) -> Network:
    """The network of a checkpoint as a function from uint8 clips (N, 3, T, H, W) to logits (N, K).

    With kept features, it is a function of these, for which the trunk is not needed.  If they are asked for, the
    pooled features follow the logits (N, K + C).  The workspace keeps what OpenVINO runs.  `num_views` is how many
    clips it will be given in all, None for not known: for a few, nothing is compiled.

    Raises: DamagedError if the checkpoint is not whole; InputError if it was trained on other labels, or the
            features are not those of its trunk; ConfigError if there is no such engine or device here.
    """
    described, weights = checkpoint.read_whole(path)
    label_ids.check_same(described.labels, labels, str(path))
    clip, evaluate = config.clip, config.evaluate
    if described.clip != clip:
        log.warning(
            "the network was trained on clips of %s and is evaluated on %s",
            *(described.clip.name, clip.name),
        )
    if stored and stored.trunk_digest != parts.trunk_digest(weights, stored.last):
        raise InputError(f"{path} has another trunk than the one whose features are in {stored.path}")
    model, last = _with_head(described, evaluate), stored.last if stored else ""

    def build() -> tuple[I3D, Forward]:
        from nonlocal_core.models import mindspore_engine

        net = mindspore_engine.network(model, len(labels), weights, path)
        return net, mindspore_engine.logits_and_features(net) if not last else mindspore_engine.logits(net, last)

    identity = (checkpoint.tensors_digest(weights), f"after {last}" if last else "all")
    clip_shape = (3, clip.clip_len, evaluate.crop_size, evaluate.crop_size)
    graph = Graph(path, model, identity, clip_shape, stored.shape if stored else clip_shape, build, len(labels))
    return Network(graph, config, workspace, num_views, None if with_features else len(labels))


def load_trunk(
    path: Path, config: Config, workspace: Workspace | None = None, num_views: int | None = None
) -> tuple[Network, str]:
    """The trunk of a checkpoint, up to train.freeze, as a function of uint8 clips, and the digest of its weights.

    Raises: InputError if the checkpoint is not whole or lacks a part of the trunk; ConfigError as `load`.
    """
    from nonlocal_core.models import mindspore_engine, trunk

    last = config.train.freeze

    def build() -> tuple[I3D, Forward]:
        net = mindspore_engine.network_of_trunk(path, config)  # a new one each time: an export alters its network
        return net, trunk.trunk(net, last)

    digest = trunk.digest(mindspore_engine.network_of_trunk(path, config), last)
    clip_shape = (3, config.clip.clip_len, config.features.crop_size, config.features.crop_size)
    identity = (digest, f"up to {last}")
    graph = Graph(path, config.model, identity, clip_shape, clip_shape, build)
    return Network(graph, config, workspace, num_views), digest


def _with_head(described: checkpoint.Description, evaluate: EvaluateConfig) -> ModelConfig:
    """The settings with the head of `evaluate`; the head's window is as large as the map of a training clip."""
    if evaluate.head == "trained":
        return described.model
    *_, (_, frames, rows) = map_sizes(described.model, described.clip.clip_len, described.train.crop_size)
    return described.model.model_copy(update={"head": evaluate.head, "head_window": (frames, rows, rows)})


def outputs(network: Run, views: Iterable[Array], batch_size: int) -> Iterator[NDArray[np.float32]]:
    """What a network gives for each view, in order: logits (K,), or what a trunk gives."""
    views = iter(views)
    while batch := list(itertools.islice(views, batch_size)):
        yield from network(np.stack(batch))


def outputs_by_video(
    network: Run, videos: Iterable[Iterable[Array]], batch_size: int, progress: Progress
) -> list[NDArray[np.float32]]:
    """What a network gives for each video's views, which are taken one after the other.

    A batch has views of several videos.

    Shape:  (V, K) or (V, …), a video; (0,) if no video has a view.
    """
    counts: list[int] = []
    within = Within(progress.stage, "views")

    def views() -> Iterator[Array]:
        for video_views in videos:
            counts.append(0)
            for view in video_views:
                counts[-1] += 1
                within(f"{progress.what}, video {progress.done + 1}", counts[-1])
                yield view
            progress.advance()

    rows = list(outputs(network, views(), batch_size))
    return np.split(np.array(rows, np.float32), np.cumsum(counts)[:-1])
