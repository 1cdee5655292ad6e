"""Clips of one recording are on one side of a drawn split, and a divided recording is said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_rows import completed, row, split_of

from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.data.manifest import groups
from nonlocal_core.errors import InputError

PEOPLE = st.lists(
    st.tuples(st.sampled_from(["climb", "jump", "run"]), st.integers(0, 6), st.integers(0, 30)),
    min_size=1,
    max_size=40,
).map(
    lambda triples: [
        row(f"{label}/person{person}_{i}.mp4", label, f"content-{content}")
        for i, (label, person, content) in enumerate(triples)
    ]
)


@given(PEOPLE, st.floats(0.1, 0.9))
def test_a_group_is_on_one_side_also_across_labels_and_copies(
    rows: list[dict[str, Any]], val_fraction: float
) -> None:
    done = completed(rows, val_fraction=val_fraction, group_by=r"person\d+")
    person = done["path"].str.extract(r"(person\d+)")[0]
    assert (done.groupby(person)["split"].nunique() == 1).all()
    assert (done.groupby("sha256")["split"].nunique() == 1).all()


def test_every_label_with_two_groups_has_val_and_train() -> None:
    rows = [
        row(f"{label}/g{g}_{c}.mp4", label, f"{label}{g}{c}") for label in "ab" for g in (1, 2, 3) for c in (1, 2)
    ]
    done = completed(rows, val_fraction=0.3, group_by=r"\w/g\d")
    assert done.groupby(["label", "split"]).size().to_dict() == {
        ("a", "train"): 4, ("a", "val"): 2, ("b", "train"): 4, ("b", "val"): 2
    }  # fmt: skip


@pytest.mark.parametrize("ending", [".avi", "", "/img_{:05d}"])
def test_recordings_of_ucf101_are_groups_without_being_asked_for(ending: str) -> None:
    names = [f"Run/v_Run_g{g:02d}_c{c:02d}{ending}" for g in range(1, 6) for c in range(1, 5)]
    splits = split_of(completed([row(name, "Run", name) for name in names], val_fraction=0.2))
    assert len(splits) == 20
    assert len({name[:13] for name, split in splits.items() if split == "val"}) == 1
    assert sum(split == "val" for split in splits.values()) == 4


def test_a_list_that_divides_a_group_is_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        row("Run/v_Run_g01_c01.avi", "Run", "a", split="train"),
        row("Run/v_Run_g01_c02.avi", "Run", "b", split="val"),
        row("Run/v_Run_g02_c01.avi", "Run", "c", split="test"),
    ]
    completed(rows)
    assert (
        "1 groups are in train as well as in val or test, so that scores reward memory; 1 videos of val and test,"
        " e.g. videos/Run/v_Run_g01_c02.avi"
    ) in caplog.text


def test_a_group_of_a_list_counts_before_its_name() -> None:
    rows = [row(f"{i}.mp4", "run", str(i)) | {"group": "anna" if i < 5 else "ben"} for i in range(10)]
    splits = split_of(completed(rows, val_fraction=0.5))
    assert {len({splits[f"{i}.mp4"] for i in part}) for part in (range(5), range(5, 10))} == {1}
    assert set(splits.values()) == {"train", "val"}


def test_parts_of_one_video_on_both_sides_are_said(caplog: pytest.LogCaptureFixture) -> None:
    parts = [("a.mp4#0-0.5", "train", 0.0, 0.5), ("a.mp4#0.5-1", "val", 0.5, 1.0)]
    rows = [
        row("a.mp4", "run", "a", split=split) | {"video_id": name, "start_fraction": start, "end_fraction": end}
        for name, split, start, end in parts
    ]
    completed([*rows, row("b.mp4", "run", "b", split="train")])
    assert "1 groups are in train as well as in val or test" in caplog.text
    assert caplog.text.rstrip().endswith("e.g. videos/a.mp4")


def test_a_pattern_in_one_spelling_of_unicode_matches_paths_in_the_other() -> None:
    rows = [row(f"run/e\u0301{g}_{c}.mp4", "run", f"{g}{c}") for g in (1, 2) for c in (1, 2)]
    splits = split_of(completed(rows, val_fraction=0.3, group_by=r"\u00e9\d"))
    assert len({(name[:7], split) for name, split in splits.items()}) == 2


def test_groups_are_counted_and_a_pattern_that_matches_nothing_is_refused() -> None:
    sources = [Source(name, name, "run", "", 1, 1) for name in ("run/p1_a.mp4", "run/p1_b.mp4", "run/other.mp4")]
    assert groups.in_words(sources, r"p\d_") == [
        "groups that stay on one side of a drawn split: 1, with 2 videos of 3"
    ]
    assert groups.in_words(sources, "") == []
    with pytest.raises(
        InputError, match=r"index\.group_by=person\\d matches none of 3 paths, e\.g\. run/p1_a\.mp4"
    ):
        groups.in_words(sources, r"person\d")
