"""A checkpoint that a person names becomes one of the workspace, with its labels and settings beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from nonlocal_core import registry
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import key_of
from nonlocal_core.artifacts.references import Checkpoint, RecordCache
from nonlocal_core.artifacts.workspace import Workspace

VERSION = 1
DESCRIBED = ("cache", "clip", "model", "train")
"""sections of the settings that a checkpoint has"""


class Given(NamedTuple):
    """A checkpoint that a person named, and what it brings along."""

    checkpoint: Checkpoint
    labels_path: Path
    settings: dict[str, object]
    """of `DESCRIBED`, with dotted keys"""


def take(name: str, workspace: Workspace) -> Given:
    """The checkpoint that a person names: a file, a registry entry such as v0003, champion or another alias.

    It is kept in the workspace, with its labels beside it.

    Raises: InputError if there is none, or it is not a checkpoint of ours.
    """
    from nonlocal_core.models import checkpoint

    file = registry.find_weights(workspace, name, "checkpoint").path
    described, _ = checkpoint.read_given(file, "checkpoint")
    asked = key_of("given", VERSION, [], [described.content_digest])

    def make(folder: Path) -> Checkpoint:
        shutil.copyfile(file, folder / checkpoint.WEIGHTS_FILE)
        write_json(folder / RecordCache.LABELS, {label: number for number, label in enumerate(described.labels)})
        return checkpoint.reference(asked, described, float("nan"))

    made = workspace.build(Checkpoint, asked, make, {"file": str(file)})
    settings = {
        f"{section}.{leaf}": value
        for section in DESCRIBED
        for leaf, value in getattr(described, section).model_dump(mode="json").items()
    }
    return Given(made, workspace.path(made) / RecordCache.LABELS, settings)
