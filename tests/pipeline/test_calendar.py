"""Three nights of the week of tests/chaos/test_week.py: what each comes to and costs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from nonlocal_core import registry
from nonlocal_core.registry import state_file
from tasks import nightly
from tests.nights import CONFIG, Opened, first, monday, thursday, tuesday, week


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

    before = nightly.made_before.fn(nights[-1].cache, CONFIG, workspace)
    assert (before.version, before.is_scored) == ("v0001", True)
    for stage in ("cache", "train", "evaluate"):  # an upgrade changes what it makes
        with monkeypatch.context() as upgrade:
            module = importlib.import_module(f"nonlocal_core.stages.{stage}")
            upgrade.setattr(module, "VERSION", module.VERSION + 1)
            assert nightly.made_before.fn(nights[-1].cache, CONFIG, workspace) is None, stage


def half_copied(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """A file that is still being copied; new files go to train."""
    good = next((new / "rises").iterdir()).read_bytes()
    (videos_dir / "rises" / "upload.mp4").write_bytes(good[: len(good) // 2])


def cut_in_val(videos_dir: Path, new: Path, split: dict[str, str]) -> None:
    """A video of val is cut short."""
    video = videos_dir / first(split, "val")
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])


def test_a_broken_file_costs_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nights, workspace, _ = week(tmp_path, Opened(monkeypatch), (monday, half_copied, tuesday, cut_in_val, tuesday))
    assert [made.cache.num_videos - made.cache.num_ok for made in nights] == [0, 1, 1, 2, 2]
    assert [made.steps for made in nights] == [8, 0, 0, 0, 0]
    entries = [made.entry.version if made.entry else "" for made in nights]
    assert entries == ["v0001", "", "", "v0002", ""], "only other videos of val are another score"
    evaluations = [entry.evaluation for entry in registry.entries(workspace).values()]
    assert [scored.coverage for scored in evaluations] == [
        "4 of 4 videos scored, 0 quarantined",
        "3 of 4 videos scored, 1 quarantined: 1 unreadable",
    ]
    assert len(list((workspace.root / "train").iterdir())) == 1


def test_an_entry_whose_weights_were_dropped_is_not_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights, workspace, _ = week(tmp_path, Opened(monkeypatch), (monday, cut_in_val))
    first_cache, last_cache = nights[0].cache, nights[1].cache
    for dropped, of_first, of_last in (
        ((), ("v0002", False), ("v0002", True)),
        (("v0002",), ("v0001", True), ("v0002", True)),
        (("v0001", "v0002"), ("v0001", True), ("v0002", True)),
    ):
        state = registry.read(workspace)
        dropped_at = dict.fromkeys(dropped, state_file.now())
        state_file.write(workspace, state.model_copy(update={"dropped": dropped_at}))
        for cached, expected in ((first_cache, of_first), (last_cache, of_last)):
            before = nightly.made_before.fn(cached, CONFIG, workspace)
            assert (before.version, before.is_scored) == expected, dropped
