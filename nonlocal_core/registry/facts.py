"""The content of entry.json: what is known of an entry."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Frozen, Provenance, RecordCache
from nonlocal_core.config.sections import EvaluateConfig

Settings = dict[str, dict[str, Any]]
"""sections of the settings as they were asked for; a setting of today may be missing"""


class Parent(Frozen):
    """The weights that a training started from."""

    file: str
    digest: str
    """empty: not known"""
    version: str | None = None
    """the entry that they are of"""
    imported_from: str | None = None
    """profile and digest of the published file that they are from"""


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
    code: str
    python: str
    host: str
    packages: dict[str, str]
    files: dict[str, str]
    """the SHA-256 of each other file"""

    @property
    def label_names(self) -> list[str]:
        """The labels in the order of their ids."""
        return sorted(self.labels, key=self.labels.__getitem__)

    @property
    def evaluate(self) -> EvaluateConfig:
        """The settings of its evaluation.

        Raises: ValueError if they are of an older version.
        """
        return EvaluateConfig.model_validate(self.config["evaluate"])
