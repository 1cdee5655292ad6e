from __future__ import annotations

import shutil
import signal

import pytest
from keys import settings_in, settings_of
from small import files_of, python, small_config

from nonlocal_core.artifacts import RecordCache, Workspace
from nonlocal_core.data import manifest as manifests
from nonlocal_core.data import records
from nonlocal_core.errors import InputError
from nonlocal_core.stages import cache as stage
from nonlocal_core.stages.index import index


@pytest.fixture
def workspace(toy, tmp_path):
    """Has the manifest, not the cache."""
    workspace = toy.workspace(tmp_path / "workspace")
    shutil.rmtree(workspace.root / "cache")
    return workspace


def test_the_key_holds_the_settings_of_cache_and_what_came_in(toy, workspace):
    assert settings_in(lambda config: stage.plan(toy.manifest, config, workspace).key) == settings_of("cache")
    keys = {
        stage.plan(toy.manifest.model_copy(update=update), small_config(), workspace).key
        for update in ({}, {"key": "other", "path": "index/other", "videos_dir": "elsewhere"}, {"digest": "other"})
    }
    assert len(keys) == 2


def test_the_cache_holds_every_frame_at_its_size(toy):
    folder = toy.root / toy.cache.path
    rows, manifest = records.read_table(folder), manifests.read(toy.root / toy.manifest.path / "manifest.parquet")
    assert (toy.cache.num_videos, toy.cache.num_ok) == (12, 12)
    assert toy.cache.num_frames == rows["num_frames"].sum() == manifest["num_frames"].sum()
    assert (rows[["height", "width"]].min(axis=1) == 36).all()
    assert toy.cache.num_bytes == sum(file.stat().st_size for file in folder.glob("*.bin"))
    assert toy.cache.manifest_digest == toy.manifest.digest
    assert toy.cache.split_digests.keys() == {"train", "val"}
    columns = ["video_id", "label", "label_id", "split"]
    assert rows.sort_values("video_id")[columns].values.tolist() == manifest[columns].values.tolist()


def test_frames_are_resized_as_asked(toy, workspace):
    made = {
        name: stage.cache(toy.manifest, small_config(cache__interpolation=name), workspace).digest
        for name in ("nearest", "bilinear", "bicubic", "area")
    }
    assert len(set(made.values())) == 4
    assert made["area"] == toy.cache.digest, "toy videos are larger than what is kept: auto takes area"


def test_a_second_call_touches_nothing(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    before = files_of(tmp_path / "cache")
    assert stage.cache(toy.manifest, small_config(), workspace) == toy.cache
    assert files_of(tmp_path / "cache") == before


@pytest.mark.parametrize("size", [1, 5])
def test_the_digests_do_not_depend_on_the_shards(toy, workspace, size):
    made = stage.cache(toy.manifest, small_config(runtime__cache_shard_videos=size), workspace)
    assert made == toy.cache
    assert len(list(workspace.path(made).glob("shard-*.bin"))) == -(-12 // size)


def test_a_killed_run_goes_on_with_its_finished_shards(toy, workspace):
    process = python(f"""
import logging, os, signal
from pathlib import Path
from small import files_of, small_config
from nonlocal_core import progress
from nonlocal_core.artifacts import Manifest, Workspace
from nonlocal_core.stages.cache import cache

class Cut(logging.Handler):
    def emit(self, record):
        if (record.progress["what"], record.progress["done"]) == ("shard 1", 3):
            os.kill(os.getpid(), signal.SIGKILL)

progress.TICK_EVERY_S = 0.0
logging.getLogger(progress.TICKS).addHandler(Cut())
manifest = Manifest.model_validate_json({toy.manifest.model_dump_json()!r})
cache(manifest, small_config(runtime__cache_shard_videos=5), Workspace(Path({str(workspace.root)!r})))
""")
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    partial = workspace.root / f"{toy.cache.path}.partial"
    finished = ["shard-00000.bin", "shard-00000.parquet"]
    before = files_of(partial)
    assert sorted(name for name in before if not name.endswith(".tmp")) == [*finished, "videos_per_shard"]
    made = stage.cache(toy.manifest, small_config(runtime__cache_shard_videos=100), workspace)
    assert made == toy.cache
    after = files_of(workspace.path(made))
    assert {name: after[name] for name in finished} == {name: before[name] for name in finished}
    assert not [name for name in after if name.endswith(".tmp")]


def test_a_shard_that_is_late_finds_the_cache_finished(toy, workspace):
    planned = stage.plan(toy.manifest, small_config(), workspace)
    made = stage.cache(toy.manifest, small_config(), workspace)
    for shard in planned.shards:
        stage.build_shard(shard, toy.manifest, small_config(), workspace)
    partial = workspace.root / f"{made.path}.partial"
    assert not list(partial.glob("*")), "it was decoded again"
    assert stage.seal(planned, toy.manifest, small_config(), workspace) == made


def test_bad_videos_are_records_with_a_reason_and_count(broken_videos, tmp_path):
    workspace, config = Workspace(tmp_path), small_config(runtime__max_unreadable=0.25)
    made = stage.cache(index(broken_videos, config, workspace), config, workspace)
    rows = records.read_table(workspace.path(made)).set_index("video_id")
    assert (made.num_videos, made.num_ok) == (16, 12)
    bad = rows[rows["status"] != "ok"]
    assert sorted(bad.index) == ["falls/text.mp4", "grows/empty.mp4", "rises/cut.mp4", "shrinks/damaged.mp4"]
    assert bad.loc["shrinks/damaged.mp4", ["status", "reason"]].tolist() == [
        "unreadable",
        "damaged: a frame cannot be decoded",
    ]
    assert (bad["num_frames"] == 0).all()
    assert (bad["reason"] != "").all()


def test_too_many_bad_videos_stop_the_stage_and_allowing_them_costs_nothing(broken_videos, tmp_path):
    workspace = Workspace(tmp_path)
    strict, generous = (small_config(runtime__max_unreadable=share) for share in (0.2, 0.25))
    manifest = index(broken_videos, strict, workspace)
    with pytest.raises(InputError, match=r"4 of 16 videos cannot be decoded .*runtime.max_unreadable=0.26"):
        stage.cache(manifest, strict, workspace)
    partial = workspace.partial(RecordCache, stage.plan(manifest, strict, workspace).key)
    before = {name: time for name, time in files_of(partial).items() if name.startswith("shard-")}
    made = stage.cache(manifest, generous, workspace)
    assert before
    assert files_of(workspace.path(made)).items() >= before.items()


def test_videos_that_are_gone_are_not_kept_as_broken_ones(toy, workspace, tmp_path):
    """A disk that is not mounted for a while must not cost its videos for ever."""
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    manifest = toy.manifest.model_copy(update={"videos_dir": str(tmp_path / "videos")})
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"falls/toy-0000.mp4 is gone: run again from index"):
        stage.cache(manifest, small_config(), workspace)
    (tmp_path / "elsewhere").rename(tmp_path / "videos")
    assert stage.cache(manifest, small_config(), workspace) == toy.cache


def test_what_makes_a_split_does_not_change_with_the_cache(toy, workspace):
    other = stage.cache(toy.manifest, small_config(cache__jpeg_quality=50), workspace)
    assert other.split_digests == toy.cache.split_digests
    assert other.digest != toy.cache.digest
