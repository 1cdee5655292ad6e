"""A trained network, named by its registry entry or its file, with what its use needs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nonlocal_core import registry
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import link_or_copy
from nonlocal_core.artifacts.keys import key_of
from nonlocal_core.artifacts.references import Checkpoint, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.key_value import text_of
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config, differences, flatten, resolve
from nonlocal_core.errors import ConfigError
from nonlocal_core.models import checkpoint
from nonlocal_core.pretrained import table

if TYPE_CHECKING:  # MindSpore takes seconds to import
    from nonlocal_core.models.i3d import I3D

log = logging.getLogger(__name__)

VERSION = 1
NETWORK = ("cache", "clip", "model")
"""sections of the settings that say what a network is, and what it sees"""
FREE = ("evaluate.batch_clips", "evaluate.protocol")
"""settings that change no more of a score than its last digits"""
OF_TRAINING = ("train.", "features.", "registry.")


class Trained(NamedTuple):
    """Weights, and the settings that they are used with."""

    name: str
    """v0001, or the name of a file"""
    path: Path
    described: checkpoint.Description
    evaluate: EvaluateConfig
    """the entry's or preset's; of a file: 10 clips and 3 crops as large as the short side of a cached frame"""
    of_index: Mapping[str, object]
    """settings of index that the entry was made with; none of a file"""

    @property
    def settings(self) -> dict[str, object]:
        """The settings that come with it, by dotted keys: network, frames, clips and views."""
        sections = {**{name: getattr(self.described, name) for name in NETWORK}, "evaluate": self.evaluate}
        fields = {f"{name}.{leaf}": value for name, section in sections.items() for leaf, value in section}
        return {**fields, "train.crop_size": self.described.train.crop_size}

    def network(self) -> I3D:
        """The network with its weights.

        Raises: DamagedError if the checkpoint is not whole.
        """
        return checkpoint.load_network(self.path)[0]


def find(entry: str, workspace: Workspace, setting: str = "entry") -> Trained:
    """The network of an entry, named by its version or an alias, of a checkpoint file, or of published weights.

    Raises: InputError if there is no such entry or file, it is no checkpoint of this project, or the entry's
            settings do not fit those of today; DamagedError if the entry is not whole.
    """
    name, path, facts = registry.find_weights(workspace, entry, setting)
    described, _ = checkpoint.read_user_file(path, setting)
    if name in table.TABLE:
        evaluate = resolve(table.TABLE[name].preset, {}).evaluate
    elif facts is None:
        evaluate = EvaluateConfig(crop_size=described.cache.short_side)
    else:
        evaluate = facts.evaluate_config(name)
    index = facts.config.get("index", {}) if facts else {}
    return Trained(name, path, described, _own(evaluate), index)


def _own(evaluate: EvaluateConfig) -> EvaluateConfig:
    """The same views without a protocol, which only names them: a person may change each of them."""
    return evaluate.model_copy(update={"protocol": "own"})


class KeptCheckpoint(NamedTuple):
    """A checkpoint that a person named, copied into the workspace."""

    name: str
    checkpoint: Checkpoint
    labels_path: Path
    settings: dict[str, object]
    """those of `Trained`"""
    of_index: Mapping[str, object]
    """the same"""
    file: Path
    """what was copied"""


def take(name: str, workspace: Workspace) -> KeptCheckpoint:
    """The checkpoint that a person names (a file, v0003, champion, published weights), copied into the workspace.

    Raises: as `find`.
    """
    trained = find(name, workspace, "checkpoint")
    key = key_of("given", VERSION, [], [trained.described.content_digest])

    def copy(folder: Path) -> Checkpoint:
        is_ours = workspace.root in trained.path.parents  # a person may change a file of his own
        take_file = link_or_copy if is_ours else shutil.copyfile
        take_file(trained.path, folder / Checkpoint.WEIGHTS)
        label_ids.write(folder / RecordCache.LABELS, trained.described.labels)
        return checkpoint.reference(key, trained.described, float("nan"))

    copied = workspace.build(Checkpoint, key, copy, {"file": str(trained.path)})
    labels = workspace.path(copied) / RecordCache.LABELS
    return KeptCheckpoint(trained.name, copied, labels, trained.settings, trained.of_index, trained.path)


def settings(
    name: str, of_checkpoint: Mapping[str, object], preset: str, overrides: Mapping[str, object]
) -> Config:
    """The settings to use a network with: its own, unless a person changes them, which the log says.

    A preset that is named says how to index, and the views.  How the network was trained matters no more.

    Raises: ConfigError if one does not exist or does not fit, or would be another network.
    """
    base = dict(of_checkpoint)
    if preset:
        chosen = resolve(preset, {})
        base |= {f"index.{name}": value for name, value in chosen.index}
        base |= {f"evaluate.{name}": value for name, value in _own(chosen.evaluate)}
    wanted = {key: value for key, value in flatten(overrides).items() if not key.startswith(OF_TRAINING)}
    config = resolve("tiny", wanted, base)
    others = [text for text in differences(of_checkpoint, config) if not text.startswith(FREE)]
    if network := [text for text in others if text.startswith("model.")]:
        raise ConfigError(f"{network[0]}: the network comes with the weights of {name}, leave it out")
    if others:
        log.info("other settings than those of %s: %s", name, ", ".join(others))
    return config


def warn_of_leak(taken: KeptCheckpoint, cache: RecordCache, config: Config, workspace: Workspace) -> None:
    """Warn if a network learned from videos that it is scored on, and say how the videos were drawn then."""
    leak = registry.leak(workspace, registry.parent_of(taken.file, "", workspace), cache, config.evaluate.split)
    if leak is None or not leak.num_videos:
        return
    others = [
        f"index.{name}={text_of(value)}"
        for name, value in taken.of_index.items()
        if getattr(config.index, name, value) != value
    ]
    advice = f"; it was made with {' '.join(others)}" if others else ""
    log.warning("%s: they are scored too well%s", leak, advice)
