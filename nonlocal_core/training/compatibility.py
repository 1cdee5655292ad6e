"""Whether a training can start from a checkpoint, by the settings and labels that are in its header."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nonlocal_core.artifacts import tensors
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ConfigError, DamagedError, InputError

_FREE = {
    *("dropout", "zero_gamma", "nl_zero_gamma", "nl_init", "nl_out_init", "norm", "nl_norm", "head"),
    *("head_window", "nl_res2", "nl_res3", "nl_res4", "nl_res5"),
}
"""settings in which the checkpoint's network may differ: how it starts, learns and is tested, and its blocks"""


def check(config: Config, path: Path, labels: Sequence[str] = ()) -> None:
    """Check the header of a checkpoint that train.init names, and its labels if those of the videos are known.

    Raises: InputError if it is no checkpoint, or has another network or other labels.
    """
    try:
        described = json.loads(tensors.read_header(path)[0]["description"])
        stored, stored_labels = ModelConfig.model_validate(described["model"]), tuple(described["labels"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, ConfigError, DamagedError):
        raise InputError(
            f"train.init: {path} is not a whole checkpoint; a published file becomes one by `python -m"
            " nonlocal_core.import_weights`"
        ) from None
    check_network(config.model, stored, path)
    if labels and config.train.init_head == "keep":
        check_labels(tuple(labels), stored_labels, path)


def check_labels(labels: tuple[str, ...], stored: tuple[str, ...], path: Path) -> None:
    """Raise an InputError if the classifier of a checkpoint, which is to be kept, is of other labels."""
    if stored != labels:
        raise InputError(
            f"train.init={path} has other labels than the videos ({', '.join(stored[:3])}, … against"
            f" {', '.join(labels[:3])}, …): set train.init_head=match or new, or index with labels_path=FILE in"
            " its order"
        )


def check_network(model: ModelConfig, stored: ModelConfig, path: Path) -> None:
    """Raise an InputError that names the settings in which the checkpoint's network differs."""
    stages = (2, 3, 4, 5)
    has_blocks = any(stored.nl_blocks(stage) for stage in stages)
    different = [
        f"model.{name}={getattr(stored, name)}"
        for name in ModelConfig.model_fields
        if name not in _FREE
        and (has_blocks or not (name.startswith("nl_") or name == "pairwise"))
        and getattr(model, name) != getattr(stored, name)
    ]
    different += [
        f"model.nl_res{stage}={list(stored.nl_blocks(stage))}"
        for stage in stages
        if not set(stored.nl_blocks(stage)) <= set(model.nl_blocks(stage))
    ]
    if different:
        raise InputError(f"train.init={path} is of another network: set {' '.join(different)}")
