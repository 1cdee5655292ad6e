"""train: a record cache in, a checkpoint out.

A killed training resumes from its last checkpoint and ends with the same weights.  Only the functions that run the
network import MindSpore.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nonlocal_core import registry
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import read_json_lines
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Features, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import InputError
from nonlocal_core.process import cuda
from nonlocal_core.registry.lineage import packages
from nonlocal_core.training import compatibility

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from nonlocal_core.models.checkpoint import Description

VERSION = 3


def find(cache: RecordCache, config: Config, workspace: Workspace) -> Checkpoint | None:
    """The finished checkpoint of these settings on this cache, if there is one."""
    return workspace.find(Checkpoint, key(cache, config, workspace))


def key(cache: RecordCache, config: Config, workspace: Workspace) -> str:
    """The key of a training: of its first weights the content counts, of its devices the micro batch of each.

    Raises: InputError if there is no such file or entry; ConfigError if devices cannot share a batch.
    """
    return _key(first_weights(config, workspace), cache, config)


def _key(init: Path | None, cache: RecordCache, config: Config) -> str:
    return key_from(digest_of(init.read_bytes()) if init else "", cache, config)


def key_from(init: str, cache: RecordCache, config: Config) -> str:
    """The key of a training that starts from the weights of this digest."""
    train = config.train.shared_by(config.runtime.num_devices).model_copy(update={"init": init})
    extra = [config.features] if config.features.num_clips else []
    read = {"train", "val"} if config.train.val_epochs else {"train"}
    return key_of("train", VERSION, [config.clip, config.model, train, *extra], cache.used(read, config.clip))


def first_weights(config: Config, workspace: Workspace) -> Path | None:
    """The file of the weights that train.init names; None for random weights.

    Raises: InputError if there is no such file or entry; DamagedError if the entry is not whole.
    """
    return registry.first_weights(workspace, config.train.init)


def check(config: Config, workspace: Workspace, labels: Sequence[str] = ()) -> None:
    """Check what train.init names, and its labels once those of the videos are known: before hours of decoding.

    Raises: InputError if there is no such file or entry, or it does not fit; DamagedError if it is not whole.
    """
    if file := first_weights(config, workspace):
        compatibility.check(config, file, labels)


def train(
    cache: RecordCache, config: Config, workspace: Workspace, features: Features | None = None
) -> Checkpoint:
    """The network trained on the train split of a cache, or on the features that are kept of it.

    Raises: InputError if no train video could be decoded, or the first weights do not fit; DivergenceError if the
            loss is not finite or stays high.
    """
    init = first_weights(config, workspace)  # once: somebody may move the champion meanwhile
    training_key = _key(init, cache, config)

    def make(folder: Path) -> Checkpoint:
        if features and init:
            _check_trunk(features, init)
        warn_of_leak(workspace, cache, init)
        from nonlocal_core.models import checkpoint

        provenance["device"], step_clips = _learn(cache, config, workspace, folder, init, features)
        described, _ = checkpoint.read_weights(folder / Checkpoint.WEIGHTS)
        lines = read_json_lines(folder / Checkpoint.LOG)
        losses = (line["loss"] for line in lines if line["step"] == described.step)
        return checkpoint.reference(training_key, described, next(losses, float("nan")), step_clips)

    provenance: dict[str, Any] = {
        "cache": cache.model_dump(mode="json"),
        "config": config.model_dump(mode="json", include={"clip", "model", "train"}),
        "init": {"file": str(init), "digest": digest_of(init.read_bytes())} if init else None,
        **({"features": features.model_dump(mode="json")} if features else {}),
        "packages": packages(),
    }
    return workspace.build(Checkpoint, training_key, make, provenance)


def _check_trunk(features: Features, init: Path) -> None:
    """Check that features are those of the first weights, which may have changed since.

    Raises: InputError if not.
    """
    from nonlocal_core.models import checkpoint, parts

    _, weights = checkpoint.read_user_file(init, "train.init")
    if parts.trunk_digest(weights, features.last) != features.trunk_digest:
        raise InputError(f"train.init={init} has another trunk than the one whose features were kept: run again")


def warn_of_leak(workspace: Workspace, cache: RecordCache, init: Path | None) -> None:
    """Warn if the first weights learned from this run's val videos."""
    parent = registry.parent_of(init, "", workspace) if init else None
    if leak := registry.leak(workspace, parent, cache, "val"):
        how = "they will be scored too well" if leak.num_videos else "scores may be too good"
        log.warning("%s: %s", leak, how)


def _learn(
    cache: RecordCache,
    config: Config,
    workspace: Workspace,
    folder: Path,
    init: Path | None,
    features: Features | None,
) -> tuple[str, int]:
    """Train, and write the resulting weights into a folder; gives the device that was used, and a step's clips."""
    from nonlocal_core.data import loader
    from nonlocal_core.data.records.kept_features import FeatureReader
    from nonlocal_core.data.records.reader import RecordReader
    from nonlocal_core.training.videos import Videos

    reader = RecordReader(workspace, cache)
    train_rows, val_rows = (loader.readable_rows(reader, split) for split in ("train", "val"))
    if not train_rows:
        raise InputError("no video of the train split could be decoded: there is nothing to learn from")
    feature_reader = FeatureReader(workspace, features, reader.rows) if features else None
    videos = Videos(reader, train_rows, val_rows, feature_reader)
    described = _description(cache, config, workspace)
    if config.train.optimizer == "lbfgs":
        from nonlocal_core.training import classifier

        assert init is not None, "features need first weights"
        classifier.learn(videos, described, config, folder, init)
        return "CPU", len(train_rows) * (features.num_views if features else 1)
    cuda.load(config.runtime)  # before anything imports mindspore
    from nonlocal_core.models import device
    from nonlocal_core.training import loop, parallel

    if config.runtime.num_devices == 1:
        loop.run(videos, described, config, folder, init)
    else:
        job = parallel.Job(
            root=workspace.root, cache=cache, described=described, config=config, folder=folder, init=init,
            features=features,
        )  # fmt: skip
        parallel.train(job)
    return device.use(config.runtime), config.train.batch_size


def _description(cache: RecordCache, config: Config, workspace: Workspace) -> Description:
    from nonlocal_core.models import checkpoint

    return checkpoint.Description(
        step=0,
        labels=tuple(label_ids.read(workspace.path(cache) / RecordCache.LABELS)),
        model=config.model,
        clip=config.clip,
        cache=config.cache,
        train=config.train,
        cache_digest=cache.digest,
        manifest_digest=cache.manifest_digest,
    )
