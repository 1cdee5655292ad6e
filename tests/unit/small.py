"""The smallest settings with which the whole chain still runs."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve

SETTINGS: dict[str, object] = {
    "cache.short_side": 36,
    "clip.clip_len": 4,
    "model.width": 2,
    "model.nl_res3": (),
    "model.dropout": 0.5,
    "train.epochs": 3,
    "train.batch_size": 2,
    "train.base_lr": 0.02,
    "train.schedule": "cosine",
    "train.warmup_epochs": 0.5,
    "train.crop_size": 32,
    "evaluate.num_clips": 1,
    "evaluate.crop_size": 32,
    "runtime.device": "CPU",
    "runtime.num_workers": 2,
}
PLAIN: dict[str, object] = {"model__block": "basic", "model__inflate": "none", "model__nl_res4": ()}
"""a network that is compiled in two thirds of the time, for what does not depend on its blocks"""


def small_config(**overrides: object) -> Config:
    """Settings with some of them replaced, `__` for the dot: `train__epochs=1`."""
    return resolve("tiny", {**SETTINGS, **{key.replace("__", "."): value for key, value in overrides.items()}})


class Toy(NamedTuple):
    """12 toy videos, indexed and cached: 8 train and 4 val, two and one a label."""

    videos_dir: Path
    root: Path
    manifest: Manifest
    cache: RecordCache

    @property
    def other_cache(self) -> RecordCache:
        """A cache at the same place with other videos in it."""
        return self.cache.model_copy(update={"digest": "other", "usable": {}, "coverage_digests": {}})

    def workspace(self, folder: Path) -> Workspace:
        """A workspace of its own that has the manifest and the cache."""
        shutil.copytree(self.root, folder, dirs_exist_ok=True)
        return Workspace(folder)


def python(code: str, *words: str) -> subprocess.Popen[str]:
    """A Python process that can import what the tests can."""
    path = str(Path(__file__).parent)
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.append({path!r})\n{code}", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextlib.contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[Path]:
    """A new folder that is a disk of its own; the test is skipped where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={num_bytes}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def files_of(folder: Path) -> dict[str, int]:
    """Every file below a folder with its time of change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
