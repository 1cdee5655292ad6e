from __future__ import annotations

import json
import os
import shutil

import pytest
from keys import OTHER, settings_in, settings_of
from small import files_of, small_config

from nonlocal_core.artifacts import Manifest, Workspace
from nonlocal_core.config import settings
from nonlocal_core.data import manifest as manifests
from nonlocal_core.errors import InputError
from nonlocal_core.stages import index as stage


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def rows_of(workspace, manifest):
    return manifests.read(workspace.path(manifest) / Manifest.ROWS).set_index("video_id")


def test_every_setting_is_tried():
    assert OTHER.keys() == {key for key, _, _ in settings()}


def test_the_key_holds_the_settings_of_index_and_nothing_else(toy, workspace):
    assert settings_in(lambda config: stage.plan(toy.videos_dir, config, workspace).key) == settings_of("index")


def test_the_manifest_has_every_video_with_its_label(toy):
    workspace = Workspace(toy.root)
    rows = rows_of(workspace, toy.manifest)
    assert (toy.manifest.num_videos, toy.manifest.num_ok, toy.manifest.num_labels) == (12, 12, 4)
    assert set(rows["split"]) == {"train", "val"}
    labels = json.loads((workspace.path(toy.manifest) / Manifest.LABELS).read_text())
    assert labels == {"falls": 0, "grows": 1, "rises": 2, "shrinks": 3}
    assert (rows["label_id"] == rows["label"].map(labels)).all()
    assert all(video_id.startswith(f"{label}/") for video_id, label in rows["label"].items())


def test_a_second_call_touches_nothing(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    before = files_of(tmp_path / "index")
    assert stage.index(toy.videos_dir, small_config(), workspace) == toy.manifest
    assert files_of(tmp_path / "index") == before
    assert stage.plan(toy.videos_dir, small_config(), workspace).shards == ()


def test_a_half_built_run_goes_on_with_its_finished_shards(toy, workspace):
    config = small_config(runtime__index_shard_videos=5)
    planned = stage.plan(toy.videos_dir, config, workspace)
    assert len(planned.shards) == 3
    stage.build_shard(planned.shards[1], workspace)
    partial = workspace.partial(Manifest, planned.key)
    before = files_of(partial)
    assert before.keys() == {"listing.json", "rows-00001.json"}
    other_size = small_config(runtime__index_shard_videos=100)
    again = stage.plan(toy.videos_dir, other_size, workspace)
    for shard in again.shards:
        stage.build_shard(shard, workspace)
    after = files_of(partial)
    assert after.keys() == {"listing.json", "rows-00000.json", "rows-00001.json", "rows-00002.json"}
    assert {name: after[name] for name in before} == before
    made = stage.seal(again, other_size, workspace)
    assert made == toy.manifest
    assert not partial.exists()
    assert files_of(workspace.path(made)).keys() == {"manifest.parquet", "labels.json", "artifact.json"}


@pytest.mark.parametrize("size", [1, 7, 12])
def test_the_digest_does_not_depend_on_the_shards(toy, workspace, size):
    made = stage.index(toy.videos_dir, small_config(runtime__index_shard_videos=size), workspace)
    assert made == toy.manifest


def test_a_shard_that_is_late_finds_the_manifest_finished(toy, workspace):
    """Two runs plan the same; one of them has sealed before the other one builds."""
    planned = stage.plan(toy.videos_dir, small_config(), workspace)
    made = stage.index(toy.videos_dir, small_config(), workspace)
    before = files_of(workspace.path(made))
    for shard in planned.shards:
        stage.build_shard(shard, workspace)
    assert stage.seal(planned, small_config(), workspace) == made
    assert files_of(workspace.path(made)) == before


def test_bad_files_are_rows_with_a_reason_and_count(broken_videos, workspace):
    made = stage.index(broken_videos, small_config(runtime__max_unreadable=0.2), workspace)
    rows = rows_of(workspace, made)
    assert (made.num_videos, made.num_ok, len(rows)) == (16, 13, 16)
    bad = rows[rows["status"] != "ok"]
    assert bad["status"].to_dict() == {
        "falls/text.mp4": "unreadable",
        "grows/empty.mp4": "empty",
        "rises/cut.mp4": "unreadable",
    }
    assert bad["reason"].str.len().min() > 5
    assert set(bad["split"]) <= {"train", "val"}


def test_too_many_bad_files_stop_the_stage_and_allowing_them_costs_nothing(broken_videos, workspace):
    strict = small_config(runtime__max_unreadable=0.1)
    with pytest.raises(InputError, match=r"3 of 16 videos cannot be read \(.*text.mp4: .*max_unreadable=0.19"):
        stage.index(broken_videos, strict, workspace)
    planned = stage.plan(broken_videos, strict, workspace)
    rows = workspace.partial(Manifest, planned.key) / "rows-00000.json"
    probed = json.loads(rows.read_text())
    probed[0]["fps"] = 12.25  # what no file has: found in the manifest, it says that nothing was probed again
    rows.write_text(json.dumps(probed))
    made = stage.index(broken_videos, small_config(runtime__max_unreadable=0.19), workspace)
    assert 12.25 in set(rows_of(workspace, made)["fps"])


def test_labels_from_a_file_decide_the_ids(toy, workspace, tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"shrinks": 0, "unseen": 1, "rises": 2, "grows": 3, "falls": 4}))
    made = stage.index(toy.videos_dir, small_config(), workspace, labels)
    assert made.num_labels == 5
    assert (made.key != toy.manifest.key, made.digest != toy.manifest.digest) == (True, True)
    rows = rows_of(workspace, made)
    assert rows.loc["falls/toy-0000.mp4", "label_id"] == 4
    labels.write_text(json.dumps({"falls": 4, "unseen": 1, "rises": 2, "grows": 3, "shrinks": 0}, indent=8))
    assert stage.plan(toy.videos_dir, small_config(), workspace, labels).shards == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "labels .* cannot be read"),
        ("[]", "must hold one object"),
        ('{"falls": 0}', "3 labels are not in the"),
    ],
)
def test_labels_that_do_not_fit(toy, workspace, tmp_path, content, words):
    labels = tmp_path / "labels.json"
    if content is not None:
        labels.write_text(content)
    with pytest.raises(InputError, match=words):
        stage.index(toy.videos_dir, small_config(), workspace, labels)


def test_videos_that_moved_are_the_same_videos(toy, workspace, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "a")  # keeps the times of change
    first = stage.index(tmp_path / "a", small_config(), workspace)
    (tmp_path / "a").rename(tmp_path / "b")
    moved = stage.index(tmp_path / "b", small_config(), workspace)
    assert moved == first.model_copy(update={"videos_dir": str(tmp_path / "b")})
    os.utime(tmp_path / "b/falls/toy-0000.mp4")
    touched = stage.index(tmp_path / "b", small_config(), workspace)
    assert touched.key != first.key
    assert touched.digest == first.digest


def test_a_changed_video_changes_the_digest(toy, workspace, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "a")
    with (tmp_path / "a/falls/toy-0000.mp4").open("ab") as stream:
        stream.write(b"\0" * 8)
    assert stage.index(tmp_path / "a", small_config(), workspace).digest != toy.manifest.digest


def test_a_folder_may_be_named_from_home(toy, workspace, monkeypatch):
    monkeypatch.setenv("HOME", str(toy.videos_dir.parent))
    home = type(toy.videos_dir)("~") / toy.videos_dir.name
    assert stage.index(home, small_config(), workspace) == toy.manifest
