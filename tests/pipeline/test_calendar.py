"""Three nights of the week of tests/chaos/test_week.py: what each comes to and costs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tasks import nightly
from tests.nights import CONFIG, Opened, monday, thursday, tuesday, week


def test_three_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights, workspace, split = week(tmp_path, Opened(monkeypatch), (monday, tuesday, thursday))
    assert [(made.probed, made.hashed, made.decoded, made.steps) for made in nights] == [
        (20, 0, 20, 8),  # two epochs of 16 videos in batches of 4
        (0, 0, 0, 0),
        (0, 2, 0, 0),  # renamed: hashed and recognised, and still called as before
    ]
    val = [{name for name, where in found.items() if where == "val"} for found in split]
    assert val[0] == val[1] == val[2]
    assert len({made.cache.split_digests["val"] for made in nights}) == 1
    (entry,) = [made.entry for made in nights if made.entry]
    assert (entry.version, entry.is_champion) == ("v0001", True)

    assert nightly.made_before.fn(nights[-1].cache, CONFIG, workspace) == "v0001"
    for stage in ("cache", "train", "evaluate"):  # an upgrade changes what it makes
        with monkeypatch.context() as upgrade:
            module = importlib.import_module(f"nonlocal_core.stages.{stage}")
            upgrade.setattr(module, "VERSION", module.VERSION + 1)
            assert nightly.made_before.fn(nights[-1].cache, CONFIG, workspace) is None, stage
