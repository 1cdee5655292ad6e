from __future__ import annotations

import pandas as pd
import pytest

from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data.records import cache_table, store
from nonlocal_core.data.records.shard_writer import Record, write_shard
from nonlocal_core.errors import DamagedError

MANIFEST = pd.DataFrame(
    {
        "video_id": ["c", "a", "b", "d"],
        "path": ["c.mp4", "a.mp4", "b.mp4", "d.mp4"],
        "label": ["run", "run", "jump", "jump"],
        "label_id": [1, 1, 0, 0],
        "split": ["train", "val", "train", "val"],
        "status": ["ok", "ok", "empty", "ok"],
        "reason": ["", "", "empty file", ""],
        "num_frames": [99, 98, 0, 97],
        "height": [1080, 1080, 0, 1080],
        "width": [1920, 1920, 0, 1920],
        "start_fraction": [0.0, 0.25, 0.0, 0.0],
        "end_fraction": [1.0, 0.5, 1.0, 1.0],
        "sha256": ["s1", "s2", "", "s1"],
        "size_bytes": [10, 20, 0, 10],
        "fps": [25.0, 25.0, 0.0, 25.0],
        "times_s": [None] * 4,
        "pixel_aspect": [float("nan")] * 4,
    }
)


@pytest.fixture
def rows(tmp_path):
    write_shard(
        tmp_path,
        "x",
        [
            Record("s2", "unreadable", "damaged", 0, 0, 0, []),
            Record("s1", "ok", "", 2, 48, 64, [b"one", b"more"]),
        ],
    )
    return cache_table.join(MANIFEST, store.contents(tmp_path), CacheConfig())


def test_a_table_has_what_decoding_said_and_else_what_the_manifest_says(rows):
    assert rows.columns.tolist() == cache_table.SCHEMA.names
    found = (
        rows[["video_id", "status", "reason", "num_frames", "height", "width", "num_bytes"]].to_numpy().tolist()
    )
    assert found == [
        ["c", "ok", "", 2, 48, 64, 7],
        ["a", "unreadable", "damaged", 0, 0, 0, 0],
        ["b", "empty", "empty file", 0, 0, 0, 0],
        ["d", "ok", "", 2, 48, 64, 7],
    ]
    assert rows["digest"].tolist() == [rows["digest"][0], "", "", rows["digest"][0]]
    assert MANIFEST["num_frames"].tolist() == [99, 98, 0, 97], "the manifest is as it was"


def test_a_video_without_a_record_is_said(tmp_path):
    with pytest.raises(DamagedError, match="3 videos have lost their records: run the same command again"):
        cache_table.join(MANIFEST, store.contents(tmp_path), CacheConfig())


def test_a_table_comes_back_as_it_was_written(rows, tmp_path):
    cache_table.write(rows, tmp_path / "videos.parquet")
    pd.testing.assert_frame_equal(cache_table.read(tmp_path / "videos.parquet"), rows, check_dtype=False)
    assert cache_table.read(tmp_path / "videos.parquet", ["sha256"]).columns.tolist() == ["sha256"]


@pytest.mark.parametrize(
    ("column", "matters"),
    [
        *((name, True) for name in ("video_id", "label_id", "split", "status", "num_frames", "digest")),
        *((name, True) for name in ("start_fraction", "end_fraction")),
        *((name, False) for name in ("path", "reason", "size_bytes", "sha256", "num_bytes")),
    ],
)
def test_the_digest_is_of_what_training_could_notice(rows, column, matters):
    changed = rows.copy()
    value = changed.at[0, column]
    changed.at[0, column] = f"{value}x" if isinstance(value, str) else value + 1
    assert (cache_table.digest(changed) != cache_table.digest(rows)) == matters
    assert cache_table.digest(rows.iloc[::-1]) == cache_table.digest(rows)
