"""train: a record cache in, a checkpoint out.

A killed training goes on after its last checkpoint and ends with the same weights.  MindSpore is imported only
where the network really runs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from nonlocal_core.artifacts import Checkpoint, RecordCache, Workspace, digest_of, key_of
from nonlocal_core.config import Config
from nonlocal_core.errors import InputError

if TYPE_CHECKING:
    from nonlocal_core.training.checkpoint import Description

VERSION = 1


def find(cache: RecordCache, config: Config, workspace: Workspace) -> Checkpoint | None:
    """The finished checkpoint of these settings on this cache, if there is one."""
    return workspace.find(Checkpoint, key(cache, config))


def key(cache: RecordCache, config: Config) -> str:
    """The key of a training; what it starts from counts by its content, wherever that lies.

    Raises: InputError if there is no such file.
    """
    train = config.train.model_copy(update={"init": _content(config.train.init)})
    return key_of("train", VERSION, [config.clip, config.model, train], [cache.digest])


def train(cache: RecordCache, config: Config, workspace: Workspace) -> Checkpoint:
    """The network trained on the train split of a cache.

    Raises: InputError if no train video could be decoded; DivergenceError if the loss is not finite.
    """

    def make(folder: Path) -> Checkpoint:
        from nonlocal_core.data import loader
        from nonlocal_core.data.records import RecordReader
        from nonlocal_core.training import checkpoint, loop

        reader = RecordReader(workspace, cache)
        rows = loader.readable_rows(reader, "train")
        if not rows:
            raise InputError("no video of the train split could be decoded: there is nothing to learn from")
        loss = loop.run(reader, rows, _description(cache, config, workspace), config, folder)
        last = checkpoint.latest(folder)
        assert last is not None, "the loop ends with a checkpoint"
        checkpoint.keep_last(folder, 1)
        described, _ = checkpoint.read(last)
        return Checkpoint(
            key=key(cache, config),
            digest=digest_of(described.weights_digest, described.model.model_dump_json()),
            path=f"train/{key(cache, config)}",
            file=last.name,
            num_steps=described.step,
            num_clips=described.step * config.train.batch_size,
            final_loss=loss,
        )

    provenance = {
        "cache": cache.model_dump(mode="json"),
        "config": {name: getattr(config, name).model_dump(mode="json") for name in ("clip", "model", "train")},
    }
    return workspace.build(Checkpoint, key(cache, config), make, provenance)


def _content(init: str) -> str:
    """The digest of the file that a training starts from; empty if it starts from random weights."""
    if not init:
        return ""
    try:
        return hashlib.sha256(Path(init).expanduser().read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"train.init={init} cannot be read: {error.strerror}") from None


def _description(cache: RecordCache, config: Config, workspace: Workspace) -> Description:
    from nonlocal_core.training import checkpoint

    labels = json.loads((workspace.path(cache) / RecordCache.LABELS).read_text())
    return checkpoint.Description(
        step=0,
        labels=tuple(sorted(labels, key=labels.__getitem__)),
        model=config.model,
        clip=config.clip,
        cache=config.cache,
        train=config.train,
        cache_digest=cache.digest,
        manifest_digest=cache.manifest_digest,
    )
