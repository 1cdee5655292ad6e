"""The content of entry.json."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Frozen, Provenance, RecordCache
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.errors import InputError, few

Settings = dict[str, dict[str, Any]]
"""sections of the settings as an entry was made with them; they need not fit the sections of today"""


class Parent(Frozen):
    """The weights that a training started from."""

    file: str
    digest: str
    """empty: unknown"""
    version: str | None = None
    """the entry that they lie in"""
    imported_from: str | None = None
    """profile and digest of the published file that they come from"""


class Leak(Frozen):
    """Scored videos that the ancestors of a training learned from, by content."""

    num_videos: int
    of: int
    """videos of the split"""
    split: str
    by: tuple[str, ...]
    """the ancestors that learned from them"""
    unknown: tuple[str, ...] = ()
    """the ancestors of which it is not known, because their cache is gone"""

    def __str__(self) -> str:
        """One line for a person."""
        leaked = f"{self.num_videos} of {self.of} {self.split} videos were in the train split of {few(self.by)}"
        not_known = f"what {few(self.unknown)} learned from is not known"
        return "; ".join([*([leaked] if self.by else []), *([not_known] if self.unknown else [])])


class Training(Provenance):
    """How weights were made."""

    config: Settings = Field(default_factory=dict)
    init: Parent | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    device: str = ""
    file: str = ""
    """where the weights were copied from, if they were not trained here"""


class Facts(Frozen):
    """What is known of an entry."""

    key: str
    evaluation: Evaluation
    checkpoint: Checkpoint
    labels: dict[str, int]
    manifest_digest: str
    cache: RecordCache
    config: Settings
    training: Training
    parent: Parent | None
    leak: Leak | None = None
    code: str
    python: str
    host: str
    packages: dict[str, str]
    files: dict[str, str]
    """the SHA-256 of each other file"""

    @property
    def label_names(self) -> list[str]:
        """The labels in the order of their ids."""
        return label_ids.in_order(self.labels)

    @property
    def frames(self) -> str:
        """What was done to the pixels that were scored; its cache says it where an earlier version scored."""
        return self.evaluation.frames or self.cache.settings.frames

    @property
    def conditions(self) -> str:
        """Views and frames of its evaluation, as text."""
        frames_from = "" if self.evaluation.frames else " (as its cache says: an earlier version scored)"
        return f"{self.evaluation.protocol}, frames {self.frames}{frames_from}"

    def evaluate_config(self, version: str) -> EvaluateConfig:
        """The settings of its evaluation.

        Raises: InputError that names this entry, `version`, if they do not fit the settings of today.
        """
        try:
            return EvaluateConfig.model_validate(self.config["evaluate"])
        except (KeyError, ValidationError) as error:
            where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
            name = ".".join(map(str, ("evaluate", *where)))
            raise InputError(
                f"entry {version} was scored with other settings than those of today, {name} does not fit:"
                f" use the code that registered it ({self.code}), or name its file checkpoint.safetensors"
            ) from None
