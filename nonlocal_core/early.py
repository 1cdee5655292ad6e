"""What a later stage would refuse is refused here: before the videos are opened, or before they are decoded."""

from __future__ import annotations

from pathlib import Path

from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.errors import InputError
from nonlocal_core.stages import train
from nonlocal_core.training import hosts


def before_index(config: Config, workspace: Workspace) -> None:
    """Check what a training starts from, and whether its devices and hosts can share it.

    Raises: InputError if train.init names nothing, or weights of another network; ConfigError if devices cannot
            share a batch, or hosts the devices.
    """
    train.check(config, workspace)
    if config.features.num_clips and train.first_weights(config, workspace) is None:
        raise InputError(f"train.init={config.train.init} names no weights yet, and features need some")
    config.train.shared_by(config.runtime.num_devices)
    if config.runtime.num_devices > 1 and config.train.optimizer != "lbfgs":  # which is solved on one host
        hosts.devices_here(config.runtime)


def before_cache(
    config: Config, workspace: Workspace, manifest: Manifest, checkpoint_labels: Path | None = None
) -> None:
    """Check the splits and the labels of a manifest.

    `checkpoint_labels` has the labels of the checkpoint that is scored; without it, a network is to be trained.

    Raises: InputError if a split to train on or to score has no videos, or the checkpoint has other labels.
    """
    folder = workspace.path(manifest)
    rows = manifest_table.read(folder / Manifest.ROWS)
    has_videos = rows.loc[rows["status"] == "ok", "split"].unique()
    wanted = [config.evaluate.split, *([] if checkpoint_labels else ["train"])]
    for split in wanted:
        if split != "all" and split not in has_videos:
            raise InputError(
                f"there is no split {split} with readable videos: these have {', '.join(sorted(has_videos))}"
            )
    labels = label_ids.read(folder / Manifest.LABELS)
    if checkpoint_labels:
        label_ids.check_same(label_ids.read(checkpoint_labels), labels, "the checkpoint")
    else:
        train.check(config, workspace, labels)
