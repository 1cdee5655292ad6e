"""Entries of real networks, and the code of their model cards."""

from __future__ import annotations

import re
from pathlib import Path

import mindspore as ms
import numpy as np
import pandas as pd
from registered import NUM_VIDEOS, facts, ranks, scored
from small import small_config

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Entry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.evaluation import figures
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D

QUARANTINED = ["empty", "unreadable", "unreadable"]
LABELS = ("falls", "grows", "rises", "![shrinks](http://e.x)\n# <b>")


def add_network(workspace: Workspace, name: str, **settings: object) -> Entry:
    """The entry of a small network none of whose tensors is what it starts as."""
    config = small_config(**settings)
    net, drawn = I3D(config.model, len(LABELS)), np.random.default_rng(len(name))
    for param in net.get_parameters():
        if not param.name.endswith("weight"):
            low = 0.5 if param.name.endswith(("gamma", "variance")) else -0.5
            param.set_data(ms.Tensor((low + drawn.random(param.shape)).astype(np.float32)))
    coverage = figures.coverage(NUM_VIDEOS, pd.DataFrame({"status": ["ok"] * NUM_VIDEOS + QUARANTINED}))
    num_videos = NUM_VIDEOS + len(QUARANTINED)
    made, evaluation = scored(workspace, name, 0.5, coverage=coverage, num_videos=num_videos)
    described = checkpoint.Description(
        step=1, labels=LABELS, model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    weights = checkpoint.weights_of_network(net)
    checkpoint.save_weights(workspace.path(made) / made.file, weights, described)
    table = ranks([number < 50 for number in range(NUM_VIDEOS)])
    labels = {label: number for number, label in enumerate(LABELS)}
    return registry.add(workspace, facts(made, evaluation, labels, config), table, RegistryConfig())


def code_of(card: Path, title: str) -> str:
    """The Python code below a title of a model card."""
    found = re.search(rf"### {re.escape(title)}\n\n```python\n(.*?)```", card.read_text(), re.DOTALL)
    assert found, title
    return found[1]
