"""A disk that fills up while a training runs: a real one, of one megabyte."""

from __future__ import annotations

import pytest
from small import small_config, small_disk

from nonlocal_core.errors import FULL_DISK, WorkspaceError
from nonlocal_core.models import checkpoint
from nonlocal_core.process import child
from nonlocal_core.stages import train as stage


@pytest.fixture
def disk(tmp_path):
    with small_disk(tmp_path / "train", 2**20) as folder:
        yield folder


@pytest.mark.campaign("faults")
def test_the_run_ends_with_one_line_and_the_checkpoints_stay(toy, tmp_path, disk):
    workspace = toy.workspace(tmp_path)
    settings = {"train__epochs": 100, "train__val_epochs": 0, "runtime__keep_every_epochs": 1}
    config = small_config(**settings, runtime__checkpoint_steps=2)
    with pytest.raises(WorkspaceError) as caught:
        child.call(stage.train, toy.cache, config, workspace)
    assert str(caught.value) == FULL_DISK
    (partial,) = disk.glob("*.partial")
    assert not list(partial.glob("step-*.tmp*"))
    files = sorted(partial.glob("step-*"))
    assert len(files) > 3
    for file in files:
        checkpoint.read(file)
    with pytest.raises(OSError, match="No space left"):  # it was really full
        (partial / "more").write_bytes(bytes(2**20))
