"""Four nights of the week of tests/chaos/test_week.py: what each comes to and costs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.data.manifest import manifest_table as manifests
from tasks import nightly
from tests.nights import CONFIG, Opened, checkpoints, friday, monday, thursday, tuesday, week


def test_four_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights, workspace, split = week(tmp_path, Opened(monkeypatch), (monday, tuesday, thursday, friday))
    assert [(made.probed, made.hashed, made.decoded, made.steps) for made in nights] == [
        (20, 0, 20, 8),  # two epochs of 16 videos in batches of 4
        (0, 0, 0, 0),
        (0, 2, 0, 0),  # renamed: hashed and recognised, and still called as before
        (2, 0, 0, 6),  # 15 of train
    ]
    val = [{name for name, where in found.items() if where == "val"} for found in split]
    assert val[0] == val[1] == val[2] == val[3]
    assert len({made.cache.split_digests["val"] for made in nights}) == 1
    entries = [made.entry for made in nights if made.entry]
    assert [entry.version for entry in entries] == ["v0001", "v0002"]
    assert entries[0].is_champion
    assert "against" in entries[1].reason
    bad = manifests.read(workspace.path(nights[3].manifest) / Manifest.ROWS).query("status != 'ok'")
    assert bad["split"].tolist() == ["train", "train"]
    starts = [workspace.provenance(made)["init"] for made in checkpoints(workspace)]
    assert sum(start is None for start in starts) == 1, "all but the first start from the champion"

    assert nightly.made_before.fn(nights[3].cache, CONFIG, workspace) == "v0002"
    for stage in ("cache", "train", "evaluate"):  # an upgrade changes what it makes
        with monkeypatch.context() as upgrade:
            module = importlib.import_module(f"nonlocal_core.stages.{stage}")
            upgrade.setattr(module, "VERSION", module.VERSION + 1)
            assert nightly.made_before.fn(nights[3].cache, CONFIG, workspace) is None, stage
