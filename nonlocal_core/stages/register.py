"""register: a scored checkpoint in, a registry entry out; the champion changes only if the entry is better."""

from __future__ import annotations

import json

from nonlocal_core import registry
from nonlocal_core.artifacts import Checkpoint, Entry, Evaluation, RecordCache, Workspace, code_version, key_of
from nonlocal_core.config import Config

VERSION = 1


def register(
    checkpoint: Checkpoint, evaluation: Evaluation, cache: RecordCache, config: Config, workspace: Workspace
) -> Entry:
    """The registry entry of a scored checkpoint; calling it again changes nothing."""
    key = key_of("register", VERSION, [], [checkpoint.digest, evaluation.digest, evaluation.protocol])
    if found := registry.find(workspace, key):
        return found
    facts = {
        "checkpoint": checkpoint.model_dump(mode="json"),
        "labels": json.loads((workspace.path(cache) / RecordCache.LABELS).read_text()),
        "manifest_digest": cache.manifest_digest,
        "cache": cache.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        "code": code_version(),
        "training": workspace.provenance(checkpoint),
    }
    return registry.add(workspace, key, checkpoint, evaluation, facts, config.registry.min_gain)
