from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifest_rows import completed, dataset, row, split_of

from nonlocal_core.errors import InputError


def test_label_ids_follow_the_alphabet_or_the_list() -> None:
    rows = dataset(2, ("run", "jump", "climb"))
    done = completed(rows)
    assert done["video_id"].is_monotonic_increasing
    assert dict(zip(done["label"], done["label_id"], strict=True)) == {"climb": 0, "jump": 1, "run": 2}
    done = completed(rows, ["run", "swim", "climb", "jump"])
    assert dict(zip(done["label"], done["label_id"], strict=True)) == {"run": 0, "climb": 2, "jump": 3}
    with pytest.raises(InputError, match=r"'run'.*did you mean runs"):
        completed(rows, ["runs", "climb", "jump"])


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["climb", "jump", "run"]),
        st.integers(0, 25),
        st.sampled_from(["ok", "ok", "ok", "unreadable", "missing"]),
    ),
    min_size=1,
    max_size=40,
).map(
    lambda triples: [
        row(f"{i:02d}.mp4", label, f"content-{content}" if status != "missing" else "", status)
        for i, (label, content, status) in enumerate(triples)
    ]
)


@given(ROWS, st.floats(0.05, 0.95), st.integers(0, 5), st.randoms())
def test_splits_are_stratified_and_copies_stay_together(
    rows: list[dict[str, Any]], val_fraction: float, split_seed: int, random: Any
) -> None:
    done = completed(rows, val_fraction=val_fraction, split_seed=split_seed)
    assert set(done["split"]) <= {"train", "val"}
    readable = done[done["status"] == "ok"]
    assert (readable.groupby("sha256")["split"].nunique() == 1).all()
    of_one_label = readable.groupby("sha256").filter(lambda copies: copies["label"].nunique() == 1)
    if len(of_one_label) == len(readable):
        for _, videos in readable.groupby("label"):
            contents = videos.drop_duplicates("sha256")
            num_val = (contents["split"] == "val").sum()
            expected = max(1, round(val_fraction * len(contents)))
            assert num_val == min(expected, len(contents) - 1)
    shuffled = random.sample(rows, len(rows))
    pd.testing.assert_frame_equal(completed(shuffled, val_fraction=val_fraction, split_seed=split_seed), done)


def test_a_broken_video_and_another_label_move_no_other_video() -> None:
    before = split_of(completed(dataset(20)))
    after = split_of(
        completed([*dataset(20, ("jump", "run", "swim")), row("jump/broken.mp4", "jump", status="empty")])
    )
    assert {name: after[name] for name in before} == before
    assert Counter(after[f"jump/{i}.mp4"] for i in range(20)) == {"train": 16, "val": 4}
    assert split_of(completed(dataset(20), split_seed=1)) != before


def test_broken_videos_are_divided_too() -> None:
    rows = [row(f"{i}.mp4", "jump", status="missing") for i in range(400)]
    shares = Counter(completed([*rows, *dataset()], val_fraction=0.25)["split"][:400])
    assert 70 < shares["val"] < 130


def test_splits_that_the_layout_names_are_left_alone() -> None:
    rows = [row(f"{i}.mp4", "jump", split=split) for i, split in enumerate(["test", "train", "val", "train"])]
    assert list(completed(rows)["split"]) == ["test", "train", "val", "train"]


def with_status(rows: Any, status: str) -> dict[str, str]:
    meant = rows[rows["status"] == status]
    return dict(zip(meant["video_id"], meant["reason"], strict=True))


def test_a_short_video_is_not_used() -> None:
    rows = [
        *dataset(),
        {**row("run/short.mp4", "run"), "num_frames": 7},
        row("run/bad.mp4", "run", status="empty"),
    ]
    done = completed(rows, min_frames=8)
    assert with_status(done, "too_short") == {"run/short.mp4": "7 of at least 8 frames (index.min_frames)"}
    assert with_status(done, "empty").keys() == {"run/bad.mp4"}
    assert with_status(completed(rows, min_frames=7), "too_short") == {}


COPIES = [
    row("a", "run", "in all", split="train"),
    row("b", "run", "in all", split="val"),
    row("c", "run", "in all", split="test"),
    row("d", "run", "twice", split="train"),
    row("e", "run", "twice", split="train"),
    row("f", "run", "two labels", split="val"),
    row("g", "jump", "two labels", split="val"),
    row("h", "jump", "both", split="train"),
    row("i", "run", "both", split="test"),
    row("j", "run", "held out", split="val"),
    row("k", "run", "held out", split="test"),
    row("l", "run", "broken", "unreadable", split="train"),
    row("m", "run", "broken", "unreadable", split="val"),
    row("n", "run", "alone", split="train"),
]


def test_copies_of_val_and_test_are_not_trained_on(caplog: pytest.LogCaptureFixture) -> None:
    assert with_status(completed(COPIES), "duplicate") == {
        "a": "same content as videos/b (val, run)",
        "h": "same content as videos/i (test, run)",
    }
    assert [record.getMessage() for record in caplog.records] == [
        "3 contents are in two splits: 2 files are left out of train; e.g. videos/h (train, jump) and"
        " videos/i (test, run)",
        "2 contents are under two labels: correct one of them; e.g. videos/h (train, jump) and"
        " videos/i (test, run)",
        "1 contents are twice in one split and label: all are kept; e.g. videos/d (train, run) and"
        " videos/e (train, run)",
    ]


def test_copies_may_be_kept(caplog: pytest.LogCaptureFixture) -> None:
    rows = completed(COPIES, duplicates="keep")
    assert with_status(rows, "duplicate") == {}
    assert "3 contents are in two splits: all are kept (index.duplicates=keep)" in caplog.text


def test_labels_with_one_video_are_said(caplog: pytest.LogCaptureFixture) -> None:
    rows = [*dataset(labels=("jump", "run")), row("x", "swim"), row("y", "fly", "z"), row("z", "fly", "z")]
    done = completed([*rows, row("b", "fly", status="empty")])
    assert {split for video_id, split in split_of(done).items() if video_id in "xyz"} == {"train"}
    assert (
        "2 labels have one video or group each, which goes to train, so that val says nothing of them: fly, swim"
        in (caplog.text)
    )
