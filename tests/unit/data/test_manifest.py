from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video_files import encode_audio, encode_video

from nonlocal_core.data import manifest
from nonlocal_core.data.layouts import Source, find_videos
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.sections import IndexConfig


def row(video_id: str, label: str, sha256: str = "", status: str = "ok", split: str = "") -> dict[str, Any]:
    return {
        "video_id": video_id,
        "path": f"videos/{video_id}",
        "label": label,
        "split": split,
        **dict.fromkeys(("num_frames", "height", "width", "size_bytes"), 64),
        **dict.fromkeys(("fps", "duration_s"), 25.0),
        "sha256": sha256 or (f"sha-{video_id}" if status == "ok" else ""),
        "status": status,
        "reason": "" if status == "ok" else "damaged: cut short",
    }


def dataset(num_videos: int = 10, labels: tuple[str, ...] = ("jump", "run")) -> list[dict[str, Any]]:
    return [row(f"{label}/{i}.mp4", label) for label in labels for i in range(num_videos)]


def completed(rows: list[dict[str, Any]], labels: list[str] | None = None, **settings: Any) -> pd.DataFrame:
    return manifest.complete(pd.DataFrame(rows), IndexConfig(**settings), labels)


def split_of(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["video_id"], rows["split"], strict=True))


def test_a_row_of_a_good_video(good_mp4: Path) -> None:
    source = find_videos(good_mp4.parent.parent, "auto")[0]
    found = manifest.probe_source(good_mp4.parent.parent, source)
    assert {"label_id", *found} == set(manifest.SCHEMA.names)
    assert found["video_id"] == source.video_id
    assert (found["status"], found["reason"], found["num_frames"], found["fps"]) == ("ok", "", 60, 25.0)
    assert (found["height"], found["width"], found["duration_s"]) == (64, 128, 2.4)
    assert found["size_bytes"] == good_mp4.stat().st_size
    assert len(found["sha256"]) == 64


def test_rows_of_bad_files_have_a_status_and_a_reason(good_mp4: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ä b"
    folder.mkdir()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    (folder / "cut.mp4").write_bytes(good_mp4.read_bytes()[:-300])
    encode_audio(folder / "sound.mp4")
    sources = [*find_videos(tmp_path, "auto"), Source("lost", "ä b/lost.mp4", "ä b", "", -1, 0)]
    rows = {source.path.split("/")[1]: manifest.probe_source(tmp_path, source) for source in sources}
    found = {name: (found["status"], found["reason"]) for name, found in rows.items()}
    no_container = ("unreadable", "not a video or damaged: no container that can be read")
    assert found == {
        "cut.mp4": ("unreadable", "damaged: cut short"),
        "empty.mp4": ("empty", "empty file"),
        "lost.mp4": ("missing", "listed but not on disk"),
        "sound.mp4": ("unreadable", "no video stream"),
        "text.mp4": no_container,
    }
    assert rows["lost.mp4"]["size_bytes"] == -1
    assert {name for name, found in rows.items() if not found["sha256"]} == {"empty.mp4", "lost.mp4"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = completed([*dataset(), row("run/übung 視.mp4", "run", status="unreadable")])
    path = tmp_path / "manifest.parquet"
    manifest.write(rows, path)
    pd.testing.assert_frame_equal(manifest.read(path), rows)
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.parquet"]


def test_a_manifest_that_is_not_there_damaged_or_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    with pytest.raises(InputError, match="run the index stage"):
        manifest.read(path)
    manifest.write(completed([*dataset(), row("x.mp4", "run", status="unreadable")]), path)
    good = path.read_bytes()
    place = good.index(b"cut short")
    path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(DamagedError, match="run index again"):
        manifest.read(path)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DamagedError, match="run index again"):
        manifest.read(path)
    completed(dataset()).to_csv(path)
    with pytest.raises(DamagedError, match="run index again"):
        manifest.read(path)


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


def test_check_passes_what_can_be_learnt() -> None:
    manifest.check(completed([*dataset(), row("x.mp4", "jump", status="empty")]), 0.1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a", "jump", status="empty")], "none of the 1 videos can be read"),
        (dataset(labels=("jump",)), "all 10 readable videos have the label 'jump'"),
        (
            [*dataset(), *(row(f"x{i}", "run", status="missing") for i in range(3))],
            r"3 of 23 .*max_unreadable=0\.14",
        ),
        (
            [{**found, "split": "train"} for found in dataset()],
            r"the val split has no readable video.*val_fraction",
        ),
        ([{**found, "split": "test"} for found in dataset()], r"the train split has no readable video"),
        (
            [*dataset(), row("a", "run", "same", split="train"), row("b", "run", "same", split="val")],
            r"1 videos lie in two splits.*videos/a \(train\) and videos/b \(val\): remove one",
        ),
    ],
)
def test_check_refuses_in_one_line(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        manifest.check(completed(rows), 0.1)
    assert "\n" not in str(caught.value)


def test_digests_see_content_but_not_order_or_place() -> None:
    rows = completed(dataset())
    digest = manifest.digest(rows)
    assert manifest.digest(rows.sample(frac=1, random_state=0)) == digest
    assert manifest.digest(rows.assign(path="elsewhere", reason="other words")) == digest
    changes: dict[str, Any] = {"label": "x", "label_id": 7, "split": "test", "sha256": "x", "status": "empty"}
    assert len({manifest.digest(rows.assign(**{name: value})) for name, value in changes.items()} | {digest}) == 6


def test_a_split_digest_sees_its_own_split_only() -> None:
    rows = completed(dataset())
    in_val = rows["split"] == "val"
    other_train = rows.assign(sha256=np.where(in_val, rows["sha256"], "x"))
    other_val = rows.assign(sha256=np.where(in_val, "x", rows["sha256"]))
    digest = manifest.split_digest(rows, "val")
    assert manifest.split_digest(rows.sample(frac=1, random_state=0), "val") == digest
    assert manifest.split_digest(other_train, "val") == digest
    assert manifest.split_digest(other_val, "val") != digest
    assert manifest.split_digest(rows, "train") != digest


def test_copies_of_a_file_have_the_same_hash_and_other_files_another(good_mp4: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(good_mp4, tmp_path / "run/a.mp4")
    shutil.copy(good_mp4, tmp_path / "run/b.mp4")
    encode_video(tmp_path / "run/c.mp4", num_frames=5)
    a, b, c = (manifest.probe_source(tmp_path, source)["sha256"] for source in find_videos(tmp_path, "auto"))
    assert a == b != c
