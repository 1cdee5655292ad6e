"""Varying frame rates and pixels that are no squares, from the index to the keys; and workspaces of before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import files_of, small_config
from video_files import SLOW_THEN_FAST, encode_timed, frames_by_ffmpeg

from nonlocal_core import prune
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.data.records import cache_table
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.stages import train
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index

EVEN = [number / 10 for number in range(20)]
VARYING, WIDE = "a/varying.mp4", "b/wide.mp4"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six videos of 96x64: one at a varying rate, one whose pixels are 4/3 times as wide as high."""
    folder = tmp_path_factory.mktemp("videos")
    for label in "ab":
        (folder / label).mkdir()
        for number in range(2):
            encode_timed(folder / f"{label}/{number}.mp4", EVEN, (96, 64), first=20 * number + ord(label))
    encode_timed(folder / VARYING, SLOW_THEN_FAST, (96, 64))
    encode_timed(folder / WIDE, EVEN, (96, 64), first=70, aspect="4:3")
    return folder


def manifest_of(workspace: Workspace, made: Manifest) -> Path:
    return workspace.path(made) / Manifest.ROWS


def row_of(workspace: Workspace, made: RecordCache, video_id: str) -> int:
    rows = cache_table.read(workspace.path(made) / RecordCache.VIDEOS)
    return int(np.flatnonzero(rows["video_id"] == video_id)[0])


def as_before(folder: Path, name: str, columns: tuple[str, ...], fields: tuple[str, ...] = ()) -> None:
    """Rewrite a table of an artifact without columns, and its reference without fields, that came later."""
    table = pq.read_table(folder / name)
    table = table.drop_columns([column for column in columns if column in table.column_names])
    pq.write_table(table, folder / name, write_page_checksum=True)
    artifact = json.loads((folder / ARTIFACT_FILE).read_text())
    del artifact["digests"], artifact["checksum"]
    for field in fields:
        del artifact["reference"][field]
    artifact["files"][name] = (folder / name).stat().st_size
    write_json(folder / ARTIFACT_FILE, artifact)


def finished_files(folder: Path) -> dict[str, int]:
    return {name: time for name, time in files_of(folder).items() if not name.startswith(".locks")}


def test_tables_have_what_some_video_needs_and_else_the_columns_of_before(toy, videos, tmp_path):
    later = {"times_s", "pixel_aspect"}
    old = Workspace(toy.root)
    assert later.isdisjoint(pq.read_schema(manifest_of(old, toy.manifest)).names)
    assert later.isdisjoint(pq.read_schema(old.path(toy.cache) / RecordCache.VIDEOS).names)
    workspace, config = Workspace(tmp_path), small_config()
    manifest = index(videos, config, workspace)
    made = cache(manifest, config, workspace)
    for rows in (
        manifest_table.read(manifest_of(workspace, manifest)).set_index("video_id"),
        cache_table.read(workspace.path(made) / RecordCache.VIDEOS).set_index("video_id"),
    ):
        assert rows.index[rows["times_s"].notna()].tolist() == [VARYING]
        assert list(rows["times_s"][VARYING]) == pytest.approx(SLOW_THEN_FAST, abs=1e-4)
        assert rows["pixel_aspect"].dropna().to_dict() == {WIDE: pytest.approx(4 / 3)}
        assert rows.at["a/0.mp4", "fps"] == pytest.approx(10.0)


def test_frames_of_other_pixels_are_cached_as_players_show_them(videos, tmp_path):
    """ffmpeg scales to square pixels, and an evenly painted frame looks the same however it is scaled."""
    workspace, config = Workspace(tmp_path), small_config(cache__short_side=64, evaluate__crop_size=64)
    manifest = index(videos, config, workspace)
    made = cache(manifest, config, workspace)
    reader, row = RecordReader(workspace, made), row_of(workspace, made, WIDE)
    sizes = reader.rows[["height", "width"]].to_numpy().tolist()
    assert (sizes[row], sizes[row_of(workspace, made, "b/0.mp4")]) == ([64, 128], [64, 96])
    expected = frames_by_ffmpeg(videos / WIDE, 64, 96)
    for number, frame in enumerate(reader.frames(row, np.arange(20))):
        assert frame.shape == (64, 128, 3)
        wide = np.repeat(np.repeat(expected[number], 4, axis=1), 1, axis=0).reshape(64, 128, 3, 3).mean(axis=2)
        assert np.abs(frame.astype(float) - wide).mean() < 6
    unkept = small_config(cache__short_side=64, evaluate__crop_size=64, cache__codec="none")
    in_file = cache(manifest, unkept, workspace)
    (frame,) = RecordReader(workspace, in_file).frames(row, np.array([7]))
    assert frame.shape == (64, 128, 3)
    assert np.abs(frame.astype(int) - reader.frames(row, np.array([7]))[0]).mean() < 4


def test_frames_as_they_are_stored_are_one_setting_away_and_nothing_else_is_decoded_for_it(videos, tmp_path):
    workspace, config = Workspace(tmp_path), small_config()
    manifest = index(videos, config, workspace)
    shown = cache(manifest, config, workspace)
    before = files_of(tmp_path / "records")
    stored = cache(manifest, small_config(cache__pixels="stored"), workspace)
    assert stored.records == shown.records
    assert stored.digest != shown.digest
    new = files_of(tmp_path / "records").keys() - before.keys()
    (table,) = [pq.read_table(tmp_path / "records" / name) for name in new if name.endswith(".parquet")]
    assert table.num_rows == 1, "the wide video alone"
    assert table["width"].to_pylist() == [54]
    reader = RecordReader(workspace, shown)
    assert reader.frames(row_of(workspace, shown, WIDE), np.array([0]))[0].shape == (36, 72, 3)
    reader = RecordReader(workspace, stored)
    assert reader.frames(row_of(workspace, stored, WIDE), np.array([0]))[0].shape == (36, 54, 3)
    assert "nothing to free" in "\n".join(prune.prune(workspace.root, really=True))
    shutil.rmtree(workspace.path(stored))
    assert "1 shards in which nothing is needed" in "\n".join(prune.prune(workspace.root, really=True))
    assert RecordReader(workspace, shown).frames(row_of(workspace, shown, WIDE), np.array([0]))


def test_a_workspace_of_before_decodes_only_the_pixels_that_it_had_wrong(videos, tmp_path, caplog):
    """Its manifest knew nothing of pixels, so its records are those of pixels as they are stored."""
    workspace, config = Workspace(tmp_path), small_config()
    manifest = index(videos, config, workspace)
    old = cache(manifest, small_config(cache__pixels="stored"), workspace)
    before = files_of(tmp_path / "records")
    made = cache(manifest, config, workspace)
    new = [name for name in files_of(tmp_path / "records").keys() - before.keys() if name.endswith(".parquet")]
    assert [pq.read_table(tmp_path / "records" / name).num_rows for name in new] == [1]
    assert (made.num_ok, old.num_ok) == (6, 6)


def test_a_manifest_of_before_without_time_stamps_is_made_again_where_a_rate_varies(toy, videos, tmp_path, caplog):
    workspace, config = Workspace(tmp_path / "w"), small_config()
    manifest = index(videos, config, workspace)
    as_before(workspace.path(manifest), Manifest.ROWS, manifest_table.OPTIONAL)
    assert manifest_table.read(manifest_of(workspace, manifest))["times_s"].isna().all()
    assert index(videos, config, workspace) == manifest
    assert "has no time stamps of videos whose frame rate varies: it is made again" in caplog.text
    assert not manifest_table.lacks_times(manifest_of(workspace, manifest))
    own = toy.workspace(tmp_path / "toy")
    as_before(own.path(toy.manifest), Manifest.ROWS, manifest_table.OPTIONAL)
    before = files_of(tmp_path / "toy/index")
    assert index(toy.videos_dir, config, own) == toy.manifest
    assert files_of(tmp_path / "toy/index") == before


def test_a_cache_of_before_is_good_as_it_is_until_clips_are_resampled(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    as_before(workspace.path(toy.cache), RecordCache.VIDEOS, cache_table.OPTIONAL, ("timing_digest",))
    before = finished_files(tmp_path)
    old = cache(toy.manifest, small_config(), workspace)
    assert old == toy.cache.model_copy(update={"timing_digest": ""})
    assert finished_files(tmp_path) == before
    assert RecordReader(workspace, old).rows["fps"].isna().all()
    made = cache(toy.manifest, small_config(clip__fps=30), workspace)
    assert made == toy.cache
    assert (RecordReader(workspace, made).rows["fps"] == 15.0).all()
    stores = [
        {k: v for k, v in files.items() if k.startswith("records")} for files in (before, files_of(tmp_path))
    ]
    assert stores[0] == stores[1], "nothing was decoded for it"


def test_time_enters_the_keys_of_what_goes_by_it(toy, tmp_path):
    usable = {name: part.model_copy(update={"timing_digest": "other"}) for name, part in toy.cache.usable.items()}
    other = toy.cache.model_copy(update={"timing_digest": "other", "usable": usable})
    for config, matters in ((small_config(), False), (small_config(clip__fps=30), True)):
        keys = {train.key_from("", made, config) for made in (toy.cache, other)}
        assert len(keys) == 1 + matters
    rows = cache_table.read(Workspace(toy.root).path(toy.cache) / RecordCache.VIDEOS)
    times_s = pd.Series([np.array(EVEN), *[None] * (len(rows) - 1)])
    changed = rows.assign(times_s=times_s)
    assert cache_table.timing_digest(changed) != cache_table.timing_digest(rows)
    assert cache_table.digest(changed) == cache_table.digest(rows), "the whole of it is the whole of it"
    part, part_changed = rows.assign(start_fraction=0.5), changed.assign(start_fraction=0.5)
    assert cache_table.digest(part_changed) != cache_table.digest(part)
    manifest = manifest_table.read(manifest_of(Workspace(toy.root), toy.manifest))
    digests = {
        manifest_table.digest(manifest),
        manifest_table.digest(manifest.assign(times_s=times_s)),
        manifest_table.digest(manifest.assign(pixel_aspect=[1.5] + [float("nan")] * (len(rows) - 1))),
    }
    assert len(digests) == 3
    assert pa.types.is_list(manifest_table.SCHEMA.field("times_s").type)


def test_the_inventory_counts_both(videos: Path, workspace: Workspace) -> None:
    made = index(videos, small_config(), workspace)
    *_, rates, pixels = workspace.provenance(made)["inventory"]
    assert rates.endswith(" a second, 1 of 6 videos vary")
    assert pixels == "1 videos have pixels that are not square: they are stretched (cache.pixels)"
