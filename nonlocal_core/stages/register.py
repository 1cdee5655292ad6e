"""register: a scored checkpoint in, a registry entry out; the champion changes only if the entry is better."""

from __future__ import annotations

import json
import platform
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonlocal_core import registry
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace, code_version
from nonlocal_core.config.tree import Config
from nonlocal_core.registry.lineage import imported_from, packages

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1


def register(
    checkpoint: Checkpoint, evaluation: Evaluation, cache: RecordCache, config: Config, workspace: Workspace
) -> Entry:
    """The registry entry of a scored checkpoint; calling it again changes nothing.

    Raises: DamagedError if the registry, the scores or the weights cannot be read.
    """
    key = key_of("register", VERSION, [], [checkpoint.digest, evaluation.digest, evaluation.protocol])
    if found := registry.find(workspace, key):
        return found
    facts: registry.Facts = {
        "labels": json.loads((workspace.path(cache) / RecordCache.LABELS).read_text()),
        "manifest_digest": cache.manifest_digest,
        "cache": cache.model_dump(mode="json"),
        "config": config.model_dump(mode="json"),
        **_training(checkpoint, workspace),
        "code": code_version(),
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "packages": packages(),
    }
    return registry.add(
        workspace, key, checkpoint, evaluation, _ranks(evaluation, workspace), facts, config.registry
    )


def _ranks(evaluation: Evaluation, workspace: Workspace) -> pa.Table:
    from nonlocal_core.evaluation import comparison

    return comparison.ranks_of(workspace.path(evaluation) / Evaluation.SCORES)


def _training(checkpoint: Checkpoint, workspace: Workspace) -> dict[str, Any]:
    """How the weights were made, and what they started from."""
    if checkpoint.path.startswith(f"{registry.FOLDER}/"):  # an entry that is scored in another way
        kept = registry.entries(workspace)[Path(checkpoint.path).name]
        return {name: kept[name] for name in ("training", "parent")}
    training = workspace.provenance(checkpoint)
    taken = {"file": training["file"], "digest": ""} if "file" in training else None  # a file that somebody named
    return {"training": training, "parent": _parent(training.get("init") or taken, workspace)}


def _parent(init: dict[str, str] | None, workspace: Workspace) -> dict[str, str] | None:
    """The weights that a training started from: the file, its digest, and the entry or published file it was."""
    if init is None:
        return None
    file = Path(init["file"])
    entry = re.fullmatch(r"v\d{4,}", file.parent.name) and file.parent.parent == workspace.root / registry.FOLDER
    version = {"version": file.parent.name} if entry else {}
    if not file.is_file() or init["digest"] not in ("", digest_of(file.read_bytes())):
        return {**init, **version}
    published = imported_from(file)
    return {**init, **version, **({"imported_from": published} if published else {})}
