from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from small import files_of, small_config

from nonlocal_core import prune
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.records import store
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.records.shard_writer import Record, write_shard
from nonlocal_core.errors import DamagedError
from nonlocal_core.retention import records
from nonlocal_core.stages import cache as stage

CONFIG = small_config(runtime__cache_shard_videos=2)


@pytest.fixture(scope="module")
def built(toy, tmp_path_factory):
    """The toy videos in shards of 8, 2 and 2."""
    workspace = Workspace(tmp_path_factory.mktemp("prune"))
    shutil.copytree(toy.root / "index", workspace.root / "index")
    stage.cache(toy.manifest, CONFIG, workspace)
    return workspace


@pytest.fixture
def workspace(built, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(built.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def without(toy, workspace, contents):
    """The manifest without some contents."""
    rows = manifests.read(workspace.path(toy.manifest) / Manifest.ROWS)
    rows = rows[~rows["sha256"].isin(contents)]
    labels = json.loads((workspace.path(toy.manifest) / Manifest.LABELS).read_bytes())
    digest = digest_of(manifests.digest(rows), *labels)
    made = toy.manifest.model_copy(update={"path": "index/fewer", "digest": digest, "key": "fewer"})
    shutil.copytree(workspace.path(toy.manifest), workspace.path(made), dirs_exist_ok=True)
    manifests.write(rows, workspace.path(made) / Manifest.ROWS)
    return made


def pruned(workspace, *, really=True):
    return list(prune.prune(workspace.root, really=really))


def shards_of(workspace, toy):
    """Contents by shard, the largest shard first."""
    rows = store.scan(workspace.root / toy.cache.records)
    parts = [(str(shard), part["sha256"].tolist()) for shard, part in rows.groupby("shard")]
    return sorted(parts, key=lambda part: -len(part[1]))


def test_what_a_cache_needs_is_kept(toy, workspace):
    before = files_of(workspace.root / store.FOLDER)
    (line, kept) = pruned(workspace)
    assert line == f"{toy.cache.records}: nothing to free"
    assert kept == f"  kept for {toy.cache.path}: 12 contents"
    assert files_of(workspace.root / store.FOLDER) == before


def test_without_yes_nothing_is_changed_and_the_size_is_said(toy, workspace):
    shutil.rmtree(workspace.path(toy.cache))
    before = files_of(workspace.root)
    (line,) = pruned(workspace, really=False)
    num_bytes = store.scan(workspace.root / toy.cache.records)["num_bytes"].sum()
    assert f"would free {num_bytes / 1e9:.4f} GB: 3 shards" in line
    assert {name for name in files_of(workspace.root) if ".locks" not in name} == {
        name for name in before if ".locks" not in name
    }
    assert "freed" in pruned(workspace)[0]
    assert list((workspace.root / store.FOLDER).iterdir()) == []


def test_dead_shards_go_and_a_shard_with_many_dead_is_copied(toy, workspace):
    (large, many), (small, two), _ = shards_of(workspace, toy)
    fewer = stage.cache(without(toy, workspace, [*many[:6], *two]), CONFIG, workspace)
    shutil.rmtree(workspace.path(toy.cache))
    opened = RecordReader(workspace, fewer)  # from before the records move
    expected = {row: RecordReader(workspace, fewer).frames(row, np.array([0, 5])) for row in range(4)}
    before = files_of(workspace.root / fewer.records)
    said = pruned(workspace)
    assert "1 shards in which nothing is needed, the dead records of 1, 0 files" in said[0]
    after = files_of(workspace.root / fewer.records)
    assert not [name for name in after if large in name or small in name]
    assert len(after) == 4
    assert len(after.keys() & before.keys()) == 2
    assert sorted(store.scan(workspace.root / fewer.records)["sha256"]) == sorted(
        {*many[6:], *shards_of(workspace, toy)[1][1]}
    )
    for reader in (opened, RecordReader(workspace, fewer)):
        for row, frames in expected.items():
            np.testing.assert_array_equal(reader.frames(row, np.array([0, 5])), frames)
    again = files_of(workspace.root / fewer.records)
    assert stage.cache(without(toy, workspace, [*many[:6], *two]), CONFIG, workspace) == fewer
    assert files_of(workspace.root / fewer.records) == again, "nothing is decoded anew"


def test_a_few_dead_records_stay_and_are_said(toy, workspace):
    (_, many), *_ = shards_of(workspace, toy)
    fewer = stage.cache(without(toy, workspace, many[:1]), CONFIG, workspace)
    shutil.rmtree(workspace.path(toy.cache))
    before = files_of(workspace.root / fewer.records)
    num_bytes = store.contents(workspace.root / fewer.records).loc[many[0], "num_bytes"]
    assert f"  kept beside them: {num_bytes / 1e9:.4f} GB of dead records, in shards with few of them" in pruned(
        workspace
    )
    assert files_of(workspace.root / fewer.records) == before


def test_damage_is_not_copied(toy, workspace):
    (large, many), *_ = shards_of(workspace, toy)
    fewer = stage.cache(without(toy, workspace, many[:6]), CONFIG, workspace)
    shutil.rmtree(workspace.path(toy.cache))
    folder = workspace.root / fewer.records
    record, path = store.contents(folder).loc[many[7]], store.paths(folder, large).bin_path
    content = bytearray(path.read_bytes())
    content[record["offset"] + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{path}: video with sha256 {many[7]}, frame 0 .*rm '{path}'"):
        pruned(workspace)
    assert path.exists()


def test_what_was_given_up_is_tried_again(toy, workspace):
    folder = workspace.root / toy.cache.records
    (_, _), (small, two), _ = shards_of(workspace, toy)
    kept = list(records._records(store.Shard(folder, small), store.scan(folder).query("shard == @small")))
    given_up = Record(two[0], store.GIVEN_UP, "hangs the decoder: no frame for 60 s", 0, 0, 0, [])
    write_shard(folder, small, [given_up, *kept[1:]])
    quarantined = stage.cache(toy.manifest, CONFIG, workspace)
    assert (quarantined.num_ok, quarantined.key) == (11, toy.cache.key)
    assert "  1 videos that crashed or hung the decoder: the next run tries them again" in pruned(workspace)
    assert stage.cache(toy.manifest, CONFIG, workspace).model_copy(update={"path": toy.cache.path}) == toy.cache


def test_files_of_writers_that_died_go(toy, workspace):
    folder = workspace.root / toy.cache.records
    for name in ("shard-x.bin.tmp", "shard-y.bin", "shard-z.parquet.tmp"):
        (folder / name).write_bytes(b"x" * 100)
    assert "freed 0.0000 GB" in pruned(workspace)[0]
    assert len(list(folder.iterdir())) == 6


def test_an_unfinished_run_keeps_its_records(toy, workspace):
    few = {"runtime__cache_shard_videos": 2, "runtime__max_unreadable": 0.2}
    config = small_config(cache__jpeg_quality=50, **few)
    planned = stage.plan(toy.manifest, config, workspace)
    stage.build_shard(planned.shards[1], toy.manifest, config, workspace)
    folder = stage._records_dir(config, workspace)
    lost = store.scan(folder).query("shard == @planned.shards[1].name")["sha256"]
    reason = "hangs the decoder: no frame for 60 s"
    given_up = [Record(sha256, store.GIVEN_UP, reason, 0, 0, 0, []) for sha256 in lost]
    write_shard(folder, planned.shards[1].name, given_up)
    (folder / f"shard-{planned.shards[2].name}.bin.tmp").write_bytes(b"being written")
    before = files_of(folder)
    assert len(before) == 5
    assert f"  kept for cache/{planned.key}.partial: 12 contents, unfinished" in pruned(workspace)
    assert files_of(folder) == before
    made = stage.cache(toy.manifest, config, workspace)
    assert {name: time for name, time in files_of(folder).items() if name in before} == {
        name: time for name, time in before.items() if not name.endswith(".tmp")
    }
    assert made.num_ok == 10, "the run that gave up on two ends as it began"


def test_it_waits_for_a_run_that_plans(toy, workspace):
    name = f"records-{(workspace.root / toy.cache.records).name}"
    finished = threading.Event()
    thread = threading.Thread(target=lambda: (pruned(workspace), finished.set()))
    with workspace.locked(name):
        thread.start()
        assert not finished.wait(0.5)
    assert finished.wait(10)
    thread.join()


def test_a_cache_that_cannot_be_read_stops_it(toy, workspace):
    path = workspace.path(toy.cache) / "artifact.json"
    content = path.read_text()
    path.write_text(content[:-20])
    with pytest.raises(DamagedError, match=rf"{path} is damaged"):
        pruned(workspace)
    path.write_text(content)
    (workspace.path(toy.cache) / RecordCache.VIDEOS).unlink()
    with pytest.raises(DamagedError, match="is missing: rm -f"):
        pruned(workspace)


def test_the_command(toy, workspace):
    def run(*words):
        command = [sys.executable, "-m", "nonlocal_core.prune", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    code, said, errors = run(str(workspace.root))
    assert (code, errors) == (0, "")
    assert said.endswith(f"  kept for {toy.cache.path}: 12 contents\nnothing was changed: add --yes\n")
    shutil.rmtree(workspace.path(toy.cache))
    code, said, _ = run(str(workspace.root), "--yes")
    assert code == 0
    assert "3 shards in which nothing is needed" in said
    assert "nothing was changed" not in said
    code, _, errors = run(str(workspace.root / "none"))
    assert code == 3
    assert errors.startswith("error: there is no cache in ")
    assert not (workspace.root / "none").exists()
