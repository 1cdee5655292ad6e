"""What an ablation compares: the paper's tables, presets, and settings with several values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Frozen, Reference
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.errors import ConfigError

TABLES = {
    "2a": "pairwise functions",
    "2b": "the stage of one block",
    "2c": "number of blocks",
    "2d": "space, time, spacetime",
    "2e": "blocks or 3D convolutions",
    "2f": "blocks in I3D",
    "2g": "clips of 128 frames, each trained on from train.init",
}
PATTERN = "index.group_by"
"""setting in which `|` is a part of one value, a regular expression; all variants have the same index anyway"""
BASELINE = "c2d_r50_32x2_caffe2"


class Variant(Frozen):
    """A network to train for a row of the table: a preset, with one choice of the settings with several values."""

    name: str
    settings: str
    """the settings that all rows share"""
    published: str
    """the paper's top-1 / top-5 (per cent); empty if it is not the paper's network"""
    config: Config


class Scored(Frozen):
    """A trained and evaluated variant."""

    variant: Variant
    checkpoint: Checkpoint
    evaluation: Evaluation


class Ablation(Reference):
    """A finished table of variants: a page for people, and rows for programs."""

    stage: ClassVar[str] = "ablations"
    PAGE: ClassVar[str] = "table.md"
    ROWS: ClassVar[str] = "table.parquet"


def variants(names: Sequence[str], overrides: Mapping[str, Any]) -> list[Variant]:
    """The rows of tables and presets; of each preset one for every value of `{"model.pairwise": "gaussian|…"}`.

    Raises: ConfigError if a name or setting does not fit, there is nothing to compare, or rows are the same.
    """
    presets = dict.fromkeys(
        preset for name in names for preset in (presets_of(name) if name[:1].isdigit() else [name])
    )
    rows = [row for preset in presets for row in _of_preset(preset, overrides)]
    if len(rows) < 2:
        raise ConfigError(
            f"nothing to compare: name a table ({', '.join(TABLES)}), two presets, or one preset and several"
            " values such as 'model.pairwise=gaussian|dot_product'"
        )
    for first, second in itertools.combinations(rows, 2):
        if first.config == second.config:
            raise ConfigError(f"{first.name} and {second.name} are the same with these settings: leave one out")
        if _shared(first.config) != _shared(second.config):
            raise ConfigError(
                f"{first.name} and {second.name} differ in index.…, cache.… or evaluate.split: give one"
            )
    return rows


def presets_of(table: str) -> list[str]:
    """The presets that are the networks of a table of the paper, the one without blocks first."""
    if table not in TABLES:
        raise ConfigError(f"there is no table {table}: there are {', '.join(TABLES)}")
    named = [
        name
        for name, preset in PRESETS.items()
        if "_caffe2" in name and (row := preset.of_paper) and table in row.tables
    ]
    return list(dict.fromkeys([named[0] if named[0].startswith("c2d") else BASELINE, *named]))


def _of_preset(preset: str, overrides: Mapping[str, Any]) -> list[Variant]:
    alternatives = {
        key: text.split("|")
        for key, text in overrides.items()
        if isinstance(text, str) and "|" in text and key != PATTERN
    }
    settings = " ".join(f"{key}={value}" for key, value in overrides.items() if key not in alternatives)
    variants = []
    for values in itertools.product(*alternatives.values()):
        choice = dict(zip(alternatives, values, strict=True))
        name = " ".join([preset, *(f"{key}={value}" for key, value in choice.items())])
        config = resolve(preset, {**overrides, **choice})
        row = PRESETS[preset].of_paper
        published = row.figures if row and not choice else ""
        variants.append(Variant(name=name, settings=settings, published=published, config=config))
    return variants


def _shared(config: Config) -> tuple[object, ...]:
    return config.index, config.cache, config.evaluate.split
