"""A finished checkpoint whose weights are whole, made without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.models import checkpoint


def finished(workspace: Workspace, name: str, config: Config, provenance: dict[str, Any]) -> Checkpoint:
    """A checkpoint of a key, whose only tensor `w` holds the key's letters."""
    described = checkpoint.Description(
        step=1, labels=("falls", "grows", "rises", "shrinks"), model=config.model, clip=config.clip,
        cache=config.cache, train=config.train, cache_digest="", manifest_digest="",
    )  # fmt: skip
    weights: checkpoint.Tensors = {"w": np.frombuffer(name.encode(), np.uint8)}

    def make(folder: Path) -> Checkpoint:
        written = checkpoint.save_weights(folder / Checkpoint.WEIGHTS, weights, described)
        return checkpoint.reference(name, written, 0.5)

    return workspace.build(Checkpoint, name, make, provenance)
