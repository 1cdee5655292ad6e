"""A trained network, named by its registry entry or its file, with what its use needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nonlocal_core import registry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import resolve
from nonlocal_core.models import checkpoint
from nonlocal_core.pretrained import table

if TYPE_CHECKING:  # MindSpore takes seconds to import
    from nonlocal_core.models.i3d import I3D


class Trained(NamedTuple):
    """Weights, and the settings that they are used with."""

    name: str
    """v0001, or the name of a file"""
    path: Path
    described: checkpoint.Description
    evaluate: EvaluateConfig
    """the entry's or preset's; of a file: 10 clips and 3 crops as large as the short side of a cached frame"""

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
        return Trained(name, path, described, resolve(table.TABLE[name].preset, {}).evaluate)
    if facts is None:
        return Trained(name, path, described, EvaluateConfig(crop_size=described.cache.short_side))
    # A protocol only names the values of other settings, and a prediction may change each of them.
    return Trained(name, path, described, facts.evaluate_config(name).model_copy(update={"protocol": "own"}))
