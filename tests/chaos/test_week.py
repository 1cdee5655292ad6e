"""A week of nights: what each comes to, what it costs, and that it can be replayed."""

from __future__ import annotations

import importlib
import logging
import re
from pathlib import Path

import pytest

from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.data.manifest import manifest_table as manifests
from tasks import nightly
from tests.nights import CONFIG, Opened, checkpoints, decisions, week


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_a_week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nonlocal_core")
    opened = Opened(monkeypatch)
    nights, workspace, split = week(tmp_path / "first", opened)
    costs = [(made.probed, made.hashed, made.decoded, made.steps) for made in nights]
    assert costs == [
        (20, 0, 20, 8),  # two epochs of 16 videos in batches of 4
        (0, 0, 0, 0),
        (4, 0, 4, 8),  # 19 of train
        (0, 2, 0, 0),  # renamed: hashed and recognised, and still called as before
        (2, 0, 0, 8),  # 18 of train
        (5, 0, 5, 10),  # 23 of train
        (0, 0, 0, 0),  # the same videos of train: Saturday's network is scored on the val that is left
    ]
    val = [{name for name, where in found.items() if where == "val"} for found in split]
    assert val[0] == val[1] == val[2] == val[3] == val[4] == val[5]
    assert len(val[0]) == 4
    assert "1 labels have no video in the frozen val, which says nothing of them: blinks" in caplog.text
    (gone,) = val[5] - val[6]
    assert re.search(f"1 videos of the frozen val are gone .*: {gone}", caplog.text)
    digests = [made.cache.split_digests["val"] for made in nights]
    assert len(set(digests[:6])) == 1, "entries of Monday to Saturday are scored on the same videos"
    assert digests[6] != digests[5]
    entries = {made.entry.version: made.entry for made in nights if made.entry}
    assert list(entries) == ["v0001", "v0002", "v0003", "v0004", "v0005"]
    assert entries["v0001"].is_champion
    assert "against" in entries["v0002"].reason
    bad = manifests.read(workspace.path(nights[4].manifest) / Manifest.ROWS).query("status != 'ok'")
    assert set(bad["split"]) == {"train"}
    assert len(bad) == 2
    starts = [workspace.provenance(made)["init"] for made in checkpoints(workspace)]
    assert sum(start is None for start in starts) == 1, "all but the first start from the champion"

    sunday_cache = nights[-1].cache
    before = nightly.made_before.fn(sunday_cache, CONFIG, workspace)
    assert (before.version, before.is_scored) == ("v0005", True)
    for stage in ("cache", "train", "evaluate"):  # an upgrade changes what it makes
        with monkeypatch.context() as upgrade:
            module = importlib.import_module(f"nonlocal_core.stages.{stage}")
            upgrade.setattr(module, "VERSION", module.VERSION + 1)
            assert nightly.made_before.fn(sunday_cache, CONFIG, workspace) is None, stage

    again, fresh, _ = week(tmp_path / "second", opened)
    assert decisions(fresh) == decisions(workspace)
    assert [made.cache.digest for made in again] == [made.cache.digest for made in nights]
