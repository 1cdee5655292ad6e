"""A cross-validation: its folds, and the figures of all of them together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Frozen, Manifest, RecordCache, Reference
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.evaluation import intervals

log = logging.getLogger(__name__)


class Fold(Frozen):
    """One fold: which videos are held out (val) while a network learns from the others (train)."""

    name: str
    number: int
    """from 1"""
    num_folds: int
    lists: tuple[tuple[Path, str], ...] = ()
    """list files with the split of each; without them, the fold is drawn"""
    labels: tuple[str, ...] | None = None
    """those of all folds, in the order of their ids; None for alphabetical order"""
    first_id: int = 0
    """the lowest id in the lists"""


class ScoredFold(Frozen):
    """A fold whose network was trained, and scored on the videos that it held out."""

    fold: Fold
    manifest: Manifest
    cache: RecordCache
    checkpoint: Checkpoint
    evaluation: Evaluation


class CrossvalRequest(Frozen):
    """What a person asked for."""

    preset: str
    overrides: dict[str, Any]
    folds: str
    """number of folds, or folder of their lists"""


class Crossval(Reference):
    """The figures of all folds, a page of them for people, and what each video was taken for."""

    stage: ClassVar[str] = "crossval"
    PAGE: ClassVar[str] = "table.md"
    FIGURES: ClassVar[str] = "figures.json"
    PREDICTIONS: ClassVar[str] = "predictions.parquet"


class Pooled(NamedTuple):
    """The figures of the held-out videos of all folds together; fractions 0…1."""

    top1: float
    num_correct: int
    num_scored: int
    num_videos: int
    """those that the folds hold out, scored or not"""
    interval: tuple[float, float]
    """Wilson's, 95 %"""
    guessing: float
    mean: float
    """of the folds' top-1"""
    std: float
    """standard deviation of the folds' top-1, as of a sample"""
    num_repeated: int
    """videos that more than one fold holds out; each time counts in the pooled figures"""


def check_out(out: Path | None) -> None:
    """Check that figures can be written to a file, before hours are spent on them.

    Raises: ConfigError or InputError, which say what to change.
    """
    if out is not None and out.suffix != ".json":
        raise ConfigError(f"out={out}: name a file that ends with .json")
    if out is not None and not out.expanduser().absolute().parent.is_dir():
        raise InputError(f"out={out} cannot be written: there is no such folder")


def check(config: Config, out: Path | None) -> None:
    """Check that the settings fit a cross-validation, and that its figures can be written to `out`.

    Raises: ConfigError or InputError, which say what to change.
    """
    if config.evaluate.split != "val":
        raise ConfigError("crossval scores the videos that a fold holds out: leave evaluate.split out")
    if config.index.frozen_val:
        raise ConfigError("crossval has its own splits: leave index.frozen_val out")
    check_out(out)
    if config.train.select == "best" or config.train.patience:
        log.warning(
            "train.select=best and train.patience choose weights by the videos that are held out: the figures are"
            " too good"
        )


def pooled(predictions: pd.DataFrame, num_videos: int) -> Pooled:
    """The figures of some predictions, which have the columns fold, video_id, label and predicted."""
    is_right = predictions["label"] == predictions["predicted"]
    top1s = is_right.groupby(predictions["fold"]).mean().to_numpy()
    num_correct, num_scored = int(is_right.sum()), len(predictions)
    return Pooled(
        top1=num_correct / num_scored,
        num_correct=num_correct,
        num_scored=num_scored,
        num_videos=num_videos,
        interval=intervals.wilson(num_correct, num_scored),
        guessing=intervals.guessing(predictions["label"].value_counts()),
        mean=float(top1s.mean()),
        std=float(np.std(top1s, ddof=1)),
        num_repeated=int((predictions.groupby("video_id")["fold"].nunique() > 1).sum()),
    )


def counts(labels: Sequence[str] | pd.Series[Any]) -> dict[str, int]:
    """The number of videos of each label, by name."""
    num_by_label = pd.Series(labels, dtype=str).value_counts().sort_index()
    return {str(label): int(count) for label, count in num_by_label.items()}
