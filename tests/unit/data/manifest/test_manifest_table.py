from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from manifest_rows import completed, dataset, row

from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import DamagedError, InputError


def test_the_columns_are_those_of_the_probe_and_of_the_description() -> None:
    names = [name for name, _ in manifest_table.PROBED]
    assert tuple(names) == decoding.Probe._fields
    described = Path(manifest_table.__file__).parents[3] / "docs" / "reference" / "manifest.md"
    rows = [
        line.split("|")[1].strip(" `") for line in described.read_text().splitlines() if line.startswith("| `")
    ]
    assert rows[: len(manifest_table.SCHEMA.names)] == manifest_table.SCHEMA.names
    assert all(name in (manifest_table.__doc__ or "") for name in manifest_table.SCHEMA.names)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = completed([*dataset(), row("run/übung 視.mp4", "run", status="unreadable")])
    path = tmp_path / "manifest.parquet"
    manifest_table.write(rows, path)
    pd.testing.assert_frame_equal(manifest_table.read(path), rows, check_dtype=False)
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.parquet"]


def test_a_manifest_that_is_not_there_damaged_or_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    with pytest.raises(InputError, match="run the index stage"):
        manifest_table.read(path)
    manifest_table.write(completed([*dataset(), row("x.mp4", "run", status="unreadable")]), path)
    good = path.read_bytes()
    place = good.index(b"cut short")
    path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(DamagedError, match="run index again"):
        manifest_table.read(path)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(DamagedError, match="run index again"):
        manifest_table.read(path)
    completed(dataset()).to_csv(path)
    with pytest.raises(DamagedError, match="run index again"):
        manifest_table.read(path)


def test_check_passes_what_can_be_learnt() -> None:
    manifest_table.check(completed([*dataset(), row("x.mp4", "jump", status="empty")]), 0.1, True)
    absent = [row(f"{i}", "run", status=status) for status in ("missing", "duplicate") for i in range(30)]
    manifest_table.check(completed([*dataset(), *absent]), 0.0, True)


def in_split(rows: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    return [{**found, "split": split} for found in rows]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a", "jump", status="empty")], "none of the 1 videos can be used"),
        ([row("a", "jump", status="missing")], "none of the 1 videos that are listed is on disk, e.g. videos/a"),
        (dataset(labels=("jump",)), "all 10 videos that can be used have the label 'jump'"),
        (
            [*dataset(), *(row(f"x{i}", "run", status="unreadable") for i in range(3))],
            r"3 of 23 .*max_unreadable=0\.14",
        ),
        (dataset(1), "no label has two different videos that can be used, so none is left for val: add more"),
        (in_split(dataset(), "train"), r"the val split has no video that can be used: add.*val_fraction"),
        (in_split(dataset(), "test"), r"the train split has no video that can be used"),
        (
            [*in_split(dataset(), "val"), row("c", "run", "sha-run/1.mp4", split="train")],
            r"the train split has no video that can be used \(1 are copies of videos of val or test\)",
        ),
    ],
)
def test_check_refuses_in_one_line(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        manifest_table.check(completed(rows), 0.1, is_split_drawn=rows[0]["split"] == "")
    assert "\n" not in str(caught.value)
    if rows[0]["split"] == "":
        assert "split folder" not in str(caught.value)


def test_digests_see_content_but_not_order_or_place() -> None:
    rows = completed(dataset())
    digest = manifest_table.digest(rows)
    assert manifest_table.digest(rows.sample(frac=1, random_state=0)) == digest
    assert manifest_table.digest(rows.assign(path="elsewhere", reason="other words", size_bytes=7)) == digest
    changes: dict[str, Any] = {"label": "x", "label_id": 7, "split": "test", "sha256": "x", "status": "empty"}
    changes |= {"num_frames": 9, "fps": 9.0, "codec": "vp9", "seek_safe": False, "start_fraction": 0.5}
    assert (
        len({manifest_table.digest(rows.assign(**{name: value})) for name, value in changes.items()} | {digest})
        == 11
    )


def test_a_split_digest_sees_its_own_split_only() -> None:
    rows = completed(dataset())
    in_val = rows["split"] == "val"
    other_train = rows.assign(sha256=np.where(in_val, rows["sha256"], "x"))
    other_val = rows.assign(sha256=np.where(in_val, "x", rows["sha256"]))
    digest = manifest_table.split_digest(rows, "val")
    assert manifest_table.split_digest(rows.sample(frac=1, random_state=0), "val") == digest
    assert manifest_table.split_digest(other_train, "val") == digest
    assert manifest_table.split_digest(other_val, "val") != digest
    assert manifest_table.split_digest(rows.assign(end_fraction=0.5), "val") != digest
    assert manifest_table.split_digest(rows, "train") != digest
