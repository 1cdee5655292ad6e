"""A split that is kept: who stays where, who is called what, and what is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from manifest_rows import dataset, row, split_of

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.manifest import frozen_split, splits
from nonlocal_core.errors import DamagedError

INDEX = IndexConfig(frozen_val="nightly")


class Nights:
    """What a workspace keeps from one night to the next."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "frozen" / "nightly.parquet"

    def night(self, rows: list[dict[str, Any]]) -> pd.DataFrame:
        kept = frozen_split.read(self.path)
        done = splits.complete(pd.DataFrame(rows), INDEX, None, kept)
        frozen_split.add(self.path, kept, done)
        return done


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def val_of(rows: pd.DataFrame) -> set[str]:
    return {name for name, split in split_of(rows).items() if split == "val"}


def test_the_first_night_draws_as_always(nights: Nights) -> None:
    drawn = splits.complete(pd.DataFrame(dataset()), IndexConfig(), None)
    pd.testing.assert_frame_equal(nights.night(dataset()), drawn)


def test_new_videos_go_to_train_however_many(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    val = val_of(nights.night(dataset(10)))
    assert len(val) == 4
    assert val_of(nights.night(dataset(40))) == val
    assert not caplog.records
    assert val_of(nights.night([*dataset(40), *dataset(5, ("climb",))])) == val
    assert "1 labels have no video in the frozen val, which says nothing of them: climb" in caplog.text


def test_the_same_night_again_keeps_the_same(nights: Nights) -> None:
    nights.night(dataset())
    first = frozen_split.digest(frozen_split.read(nights.path)), nights.path.stat().st_mtime_ns
    nights.night(dataset())
    assert (frozen_split.digest(frozen_split.read(nights.path)), nights.path.stat().st_mtime_ns) == first
    nights.night(dataset(11))
    assert frozen_split.digest(frozen_split.read(nights.path)) != first[0]


def test_a_video_that_is_gone_is_named_and_comes_back_where_it_was(
    nights: Nights, caplog: pytest.LogCaptureFixture
) -> None:
    val = val_of(nights.night(dataset()))
    gone = min(val)
    without = [one for one in dataset() if one["video_id"] != gone]
    assert val_of(nights.night(without)) == val - {gone}
    assert "1 videos of the frozen val are gone or have another content, so its scores" in caplog.text
    assert gone in caplog.text
    assert val_of(nights.night(dataset())) == val


def test_a_renamed_video_is_what_it_was(nights: Nights, caplog: pytest.LogCaptureFixture) -> None:
    before = nights.night(dataset())
    rows = dataset()
    for one in rows:
        one["sha256"] = f"sha-{one['video_id']}"
        if one["video_id"] in ("jump/3.mp4", min(val_of(before))):
            one["video_id"] = one["video_id"].replace("/", "/renamed-")
    again = nights.night(rows)
    columns = [name for name in before.columns if name != "path"]
    pd.testing.assert_frame_equal(again[columns], before[columns])
    assert not caplog.records


def test_a_name_that_is_used_again_is_not_inherited(nights: Nights) -> None:
    val = val_of(nights.night(dataset()))
    name = min(val)
    rows = [one for one in dataset() if one["video_id"] != name]
    renamed = row("jump/renamed.mp4", "jump", f"sha-{name}")
    done = split_of(nights.night([*rows, renamed, row(name, "jump", "another content")]))
    assert done["jump/renamed.mp4"] == "val"
    assert done[name] == "train", "its name is that of a video of val, which is still there"


def test_of_two_contents_that_had_one_name_the_last_one_keeps_it(nights: Nights) -> None:
    nights.night([*dataset(), row("run/a.mp4", "run", "h1")])
    nights.night([*dataset(), row("run/a.mp4", "run", "h2")])
    both = [row("run/old.mp4", "run", "h1"), row("run/z.mp4", "run", "h2")]
    for rows in (both, both[::-1], both):
        done = nights.night([*dataset(), *rows])
        contents = dict(zip(done["video_id"], done["sha256"], strict=True))
        assert len(contents) == len(done) == 22
        assert (contents["run/a.mp4"], contents["run/old.mp4"]) == ("h2", "h1")


def test_a_part_of_a_renamed_video_is_the_part_that_it_was(nights: Nights) -> None:
    def parts(name: str, *shares: str) -> list[dict[str, Any]]:
        return [row(f"run/{name}.mp4#{share}", "run", "h1") for share in shares]

    nights.night([*dataset(), *parts("v", "0-0.5", "0.5-1")])
    done = split_of(nights.night([*dataset(), *parts("w", "0.5-1", "0-0.25", "1e-05-0.5")]))
    assert {name for name in done if "#" in name} == {
        "run/v.mp4#0.5-1", "run/w.mp4#0-0.25", "run/w.mp4#1e-05-0.5"
    }  # fmt: skip


def test_a_copy_is_called_by_its_own_name(nights: Nights) -> None:
    nights.night(dataset())
    done = nights.night([*dataset(), row("jump/copy.mp4", "jump", "sha-jump/3.mp4")])
    assert len(done) == 21
    assert split_of(done)["jump/copy.mp4"] == split_of(done)["jump/3.mp4"]


def test_a_copy_of_a_video_of_val_leaves_val_as_it_was(nights: Nights) -> None:
    """Else it would start a new line of the registry.  It is not trained on, and takes the place of what goes."""
    val = val_of(nights.night(dataset()))
    name = min(val)
    copy = row("jump/copy.mp4", "jump", f"sha-{name}")
    for _ in range(2):
        rows = nights.night([*dataset(), copy])
        assert val_of(rows) == val
        assert list(rows.loc[rows["video_id"] == "jump/copy.mp4", "status"]) == ["duplicate"]
    without = [one for one in dataset() if one["video_id"] != name]
    assert val_of(nights.night([*without, copy])) == val - {name} | {"jump/copy.mp4"}
    assert val_of(nights.night([*dataset(), copy])) == val


def test_copies_that_were_drawn_into_val_stay_there(nights: Nights) -> None:
    drawn = val_of(nights.night(dataset()))
    nights.path.unlink()
    twice = [*dataset(), row("jump/copy.mp4", "jump", f"sha-{min(drawn)}")]
    val = val_of(nights.night(twice))
    assert {min(drawn), "jump/copy.mp4"} <= val
    assert val_of(nights.night(twice)) == val


def test_a_video_that_breaks_or_is_repaired_stays_in_its_split(nights: Nights) -> None:
    broken = [row("jump/broken.mp4", "jump", "half", "unreadable"), row("run/lost.mp4", "run", "", "unreadable")]
    first = split_of(nights.night([*dataset(), *broken]))
    name = min(name for name, split in first.items() if split == "val")
    rows = [row(name, "jump", "cut", "unreadable") if one["video_id"] == name else one for one in dataset()]
    repaired = [row("jump/broken.mp4", "jump", "whole"), row("run/lost.mp4", "run", "found")]
    assert split_of(nights.night([*rows, *broken])) == first
    assert split_of(nights.night([*rows, *repaired])) == first


def test_splits_that_the_layout_names_are_its_own(nights: Nights) -> None:
    named = [{**one, "split": "val" if "/1." in one["video_id"] else "train"} for one in dataset()]
    nights.night(dataset())
    assert val_of(nights.night(named)) == {"jump/1.mp4", "run/1.mp4"}


def test_a_damaged_file_is_not_drawn_anew(nights: Nights) -> None:
    nights.night(dataset())
    nights.path.write_bytes(b"nothing")
    with pytest.raises(DamagedError, match="restore it; without it, val is drawn anew"):
        nights.night(dataset())
