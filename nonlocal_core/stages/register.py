"""register: a scored checkpoint in, a registry entry out; the champion changes only if the entry is better."""

from __future__ import annotations

import platform
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from nonlocal_core import registry
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, RecordCache
from nonlocal_core.artifacts.workspace import Workspace, code_version
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import DamagedError
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
    labels = label_ids.read(workspace.path(cache) / RecordCache.LABELS)
    if (entry := registry.find(workspace, key)) and _has_other_labels(entry, labels, workspace):
        key = key_of("register", VERSION, [], [key, *labels])
        entry = registry.find(workspace, key)
    if entry:
        return entry
    _check_weights(checkpoint, workspace)
    training, parent = _training(checkpoint, workspace)
    leak = registry.leak(workspace, parent, cache, evaluation.split)
    facts = registry.Facts(
        key=key,
        evaluation=evaluation,
        checkpoint=checkpoint,
        labels=label_ids.ids_of(labels),
        manifest_digest=cache.manifest_digest,
        cache=cache,
        config=config.model_dump(mode="json"),
        training=training,
        parent=parent,
        **({"leak": leak} if leak else {}),
        code=code_version(),
        python=platform.python_version(),
        host=socket.gethostname(),
        packages=packages(),
        files={},
    )
    return registry.add(workspace, facts, _ranks(evaluation, workspace), config.registry)


def _has_other_labels(entry: Entry, labels: list[str], workspace: Workspace) -> bool:
    """Whether an entry calls its classes otherwise: weights and scores do not change with names."""
    return registry.entries(workspace)[entry.version].labels != label_ids.ids_of(labels)


def _check_weights(checkpoint: Checkpoint, workspace: Workspace) -> None:
    """Check that the weights are still those that were trained and scored.

    Raises: DamagedError if they are not.
    """
    from nonlocal_core.models import checkpoint as checkpoints  # MindSpore takes seconds to import

    file = workspace.path(checkpoint) / checkpoint.file
    remedy = f"delete {file.parent} and run again, which trains anew"
    try:
        described, _ = checkpoints.read(file)
    except DamagedError as error:
        raise DamagedError(f"{error}: {remedy}") from None
    if checkpoints.reference("", described, 0.0).digest != checkpoint.digest:
        raise DamagedError(f"{file} holds other weights than those that were scored: {remedy}")


def _ranks(evaluation: Evaluation, workspace: Workspace) -> pa.Table:
    from nonlocal_core.evaluation import comparison

    return comparison.ranks_of(workspace.path(evaluation) / Evaluation.SCORES)


def _training(checkpoint: Checkpoint, workspace: Workspace) -> tuple[registry.Training, registry.Parent | None]:
    """How the weights were made, and what they started from."""
    if checkpoint.path.startswith(f"{registry.FOLDER}/"):  # an entry that is scored in another way
        entry = registry.entries(workspace)[Path(checkpoint.path).name]
        return entry.training, entry.parent
    training = registry.Training.model_validate(workspace.provenance(checkpoint))
    named = registry.Parent(file=training.file, digest="") if training.file else None  # a file that somebody named
    return training, _parent(training.init or named, workspace)


def _parent(init: registry.Parent | None, workspace: Workspace) -> registry.Parent | None:
    """The weights that a training started from: the file, its digest, and the entry or published file it was."""
    if init is None:
        return None
    file = Path(init.file)
    parent = registry.parent_of(file, init.digest, workspace)
    whole = file.is_file() and init.digest in ("", digest_of(file.read_bytes()))
    if whole and (published := imported_from(file)):
        return parent.model_copy(update={"imported_from": published})
    return parent
