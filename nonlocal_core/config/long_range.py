"""The plan of the long-range set: long_range.json, committed before the run and all that the flow reads.

docs/evidence/long_range.md says what it is for, and what came out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from nonlocal_core.config.section import Fraction, Positive, Section, Settings
from nonlocal_core.config.tree import Config, resolve

FILE = Path(__file__).with_name("long_range.json")
Kind = Literal["far", "near", "left", "right", "single", "shuffled"]
"""generated videos: those of the claim, and its controls; data/layouts/long_range.py draws them"""
CHANCE: tuple[Kind, ...] = ("left", "right", "single", "shuffled")
"""controls that say nothing of the label"""


class Row(Section):
    """A network to train with each seed."""

    name: str
    tables: tuple[str, ...]
    """tables of the paper that have such a row, or control, or motion"""
    videos: Kind | Literal["motion"]
    """the set that it learns and is scored on; motion: the four toy motions"""
    quick: bool
    """it is one of the rows of a trial"""
    settings: Settings
    """what differs from the settings of the plan"""

    @property
    def key(self) -> tuple[str, str]:
        """The set and the name, which no other row has."""
        return self.videos, self.name

    @property
    def guessing(self) -> float:
        """What guessing gives (0…1); a training that diverges counts as that."""
        return 0.25 if self.videos == "motion" else 0.5


class Bars(Section):
    """What counts as met (fractions of the val videos, mean of the seeds)."""

    least_gain: Fraction
    """least gain of the blocks over none, its interval above 0; that of blocks in space alone must be less"""
    most_loss: Fraction
    """greatest loss of the blocks against no blocks on the plain motions"""
    most_chance: Fraction
    """greatest mean that counts as guessing one of two labels"""
    least_near: Fraction
    """least mean of every row on bars that are near each other"""


class Plan(Section):
    """What is trained, on what and how often."""

    about: str
    preset: str
    seeds: tuple[int, ...]
    quick_seeds: tuple[int, ...]
    num_train: Positive
    num_val: Positive
    videos_seed: int
    num_motion: Positive
    """videos of the plain motions, train and val together"""
    settings: Settings
    motion_settings: Settings
    """what differs for the plain motions"""
    baseline: str
    """row without blocks that the others of the same videos are compared with"""
    blocks: str
    """row of the claim"""
    space: str
    """row of blocks that see one frame"""
    bars: Bars
    rows: tuple[Row, ...]

    def chosen(self, quick: bool) -> tuple[Row, ...]:
        """The rows of the whole run, or of a trial."""
        return tuple(row for row in self.rows if row.quick or not quick)

    @property
    def num_motion_val(self) -> int:
        """The plain motions that are scored."""
        return round(self.num_motion * float(str(self.motion_settings["index.val_fraction"])))

    def seeds_of(self, quick: bool) -> tuple[int, ...]:
        """The seeds of the whole run, or of a trial."""
        return self.quick_seeds if quick else self.seeds

    def config(self, row: Row, seed: int) -> Config:
        """All settings of a training."""
        motion = self.motion_settings if row.videos == "motion" else {}
        return resolve(self.preset, {**self.settings, **motion, **row.settings, "train.seed": seed})


def read() -> Plan:
    """The plan."""
    return Plan.model_validate(json.loads(FILE.read_text(encoding="utf-8")))
