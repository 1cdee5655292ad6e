"""A disk that fills up while a training runs: a real one, of one megabyte."""

from __future__ import annotations

import subprocess

import pytest
from small import small_config

from nonlocal_core.errors import FULL_DISK, WorkspaceError
from nonlocal_core.models import checkpoint
from nonlocal_core.process import child
from nonlocal_core.stages import train as stage


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_run_ends_with_one_line_and_the_checkpoints_stay(toy, tmp_path, small_disk):
    workspace = toy.workspace(tmp_path)
    settings = {"train__epochs": 100, "train__val_epochs": 0, "runtime__keep_every_epochs": 1}
    config = small_config(**settings, runtime__checkpoint_steps=2)
    with pytest.raises(WorkspaceError) as caught:
        child.call(stage.train, toy.cache, config, workspace)
    assert str(caught.value) == FULL_DISK
    (partial,) = small_disk.glob("*.partial")
    assert not list(partial.glob("step-*.tmp*"))
    files = sorted(partial.glob("step-*"))
    assert len(files) > 3
    for file in files:
        checkpoint.read(file)
    with pytest.raises(OSError, match="No space left"):  # it was really full
        (partial / "more").write_bytes(bytes(2**20))
