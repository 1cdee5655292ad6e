"""index and cache of videos in object storage: the same as of videos on disk, and nothing is fetched twice."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pandas as pd
import pytest
from s3_server import S3, Door
from small import small_config

from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.records import store
from nonlocal_core.errors import InputError, RemoteError, is_worth_retrying
from nonlocal_core.stages import cache, index

CONFIG = small_config(runtime__max_unreadable=0.5)


@pytest.fixture(scope="module")
def videos_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 good videos, one of pictures, a copy, and three bad ones."""
    folder = make_toy_videos(tmp_path_factory.mktemp("videos") / "videos", 8)
    whole = (folder / "falls/toy-0000.mp4").read_bytes()
    (folder / "grows/copy of it.mp4").write_bytes((folder / "grows/toy-0001.mp4").read_bytes())
    (folder / "falls/cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "rises/empty.mp4").touch()
    (folder / "grows/text.mp4").write_text("no video")
    (folder / "grows/shots").mkdir()
    for number in range(4):
        cv2.imwrite(str(folder / f"grows/shots/{number}.png"), np.full((80, 96, 3), 50 * number, np.uint8))
    return folder


@pytest.fixture(scope="module")
def on_disk(videos_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Manifest, RecordCache]:
    return made(videos_dir, tmp_path_factory.mktemp("on_disk"))


def made(videos_dir: Path | str, root: Path, config: Config = CONFIG) -> tuple[Workspace, Manifest, RecordCache]:
    workspace = Workspace(root)
    manifest = index.index(videos_dir, config, workspace)
    return workspace, manifest, cache.cache(manifest, config, workspace)


def rows(workspace: Workspace, manifest: Manifest) -> pd.DataFrame:
    return manifests.read(workspace.path(manifest) / Manifest.ROWS)


def frames(workspace: Workspace, cached: RecordCache) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (workspace.root / cached.records).glob("*.bin")}


def in_last_shard(workspace: Workspace, manifest: Manifest, cached: RecordCache) -> str:
    """A video that cache decodes after all others but a few."""
    records = store.scan(workspace.root / cached.records)
    last = records[records["shard"] == records["shard"].value_counts().index[-1]]
    listed = rows(workspace, manifest)
    return str(listed.loc[listed["sha256"] == last["sha256"].iloc[-1], "path"].iloc[0])


def test_rows_digests_and_frames_are_those_of_the_folder_on_disk(s3: S3, videos_dir, on_disk, tmp_path, temporary):
    s3.upload(videos_dir, "same")
    workspace, manifest, cached = made(s3.uri("same/"), tmp_path / "workspace")
    there, there_manifest, there_cached = on_disk
    pd.testing.assert_frame_equal(rows(workspace, manifest), rows(there, there_manifest))
    assert {"ok", "unreadable", "empty"} == set(rows(workspace, manifest)["status"])
    assert manifest.digest == there_manifest.digest
    assert cached.model_dump(exclude={"videos_dir"}) == there_cached.model_dump(exclude={"videos_dir"})
    assert frames(workspace, cached) == frames(there, there_cached)
    assert manifest.videos_dir == cached.videos_dir == s3.uri("same")
    assert list(temporary.iterdir()) == []

    with s3.asked() as requests:  # again: a listing alone
        assert made(s3.uri("same"), tmp_path / "workspace")[1:] == (manifest, cached)
    assert requests == []


def test_a_changed_object_is_opened_alone(s3: S3, videos_dir, on_disk, tmp_path):
    workspace = Workspace(shutil.copytree(on_disk[0].root, tmp_path / "workspace"))
    s3.upload(videos_dir, "changed")
    with s3.asked() as requests:
        index.index(s3.uri("changed"), CONFIG, workspace)
    assert len([request for request in requests if request.startswith("GET")]) == 11 + 4  # all but the empty one
    mine = Path(shutil.copytree(videos_dir, tmp_path / "videos"))
    shutil.copy(mine / "rises/toy-0002.mp4", mine / "rises/new.mp4")
    (mine / "falls/cut.mp4").write_bytes((mine / "falls/toy-0004.mp4").read_bytes()[:-1000])
    for name in ("rises/new.mp4", "falls/cut.mp4"):
        s3.write(f"changed/{name}", (mine / name).read_bytes())
    with s3.asked() as requests:
        manifest = index.index(s3.uri("changed"), CONFIG, workspace)
    assert {request.partition(" ")[2] for request in requests} == {
        "changed/rises/new.mp4",
        "changed/falls/cut.mp4",
    }
    assert manifest.digest == index.index(mine, CONFIG, workspace).digest


def test_an_object_that_goes_away_is_a_row_missing(s3: S3, videos_dir, tmp_path):
    s3.upload(videos_dir, "gone")
    workspace = Workspace(tmp_path)
    planned = index.plan(s3.uri("gone"), CONFIG, workspace)
    s3.storage.delete_file("bucket/gone/rises/toy-0002.mp4")
    for shard in planned.shards:
        index.build_shard(shard, CONFIG, workspace)
    manifest = index.seal(planned, CONFIG, workspace)
    found = rows(workspace, manifest).set_index("video_id")["status"]
    assert found["rises/toy-0002.mp4"] == "missing"

    s3.write("gone/falls/toy-0000.mp4", b"another")
    with pytest.raises(
        InputError, match=r"s3://bucket/gone/falls/toy-0000.mp4\S* has changed since it was indexed"
    ):
        cache.cache(manifest, CONFIG, workspace)


@pytest.mark.parametrize("stage", ["index", "cache"])
def test_a_server_that_stops_is_worth_another_try_which_goes_on(
    s3: S3, videos_dir, on_disk, tmp_path, temporary, stage
):
    s3.upload(videos_dir, stage)
    shards = small_config(
        runtime__max_unreadable=0.5, runtime__index_shard_videos=7, runtime__cache_shard_videos=4
    )
    door = Door(s3)
    uri = s3.uri(stage, door.port)
    if stage == "cache":
        index.index(uri, shards, Workspace(tmp_path / "workspace"))
    path = "shrinks/toy-0003.mp4" if stage == "index" else in_last_shard(*on_disk)
    door.shut_at = f"GET /bucket/{stage}/{quote(path)} ".encode()
    with s3.asked() as before, pytest.raises(RemoteError, match="cannot be reached now") as raised:
        made(uri, tmp_path / "workspace", shards)
    assert is_worth_retrying(raised.value)
    assert list(temporary.iterdir()) == []
    door.shut_at = b"nothing"
    door.open()
    with s3.asked() as after:
        _, manifest, cached = made(uri, tmp_path / "workspace", shards)
    door.shut()
    assert (manifest.digest, cached.digest) == (on_disk[1].digest, on_disk[2].digest)
    needed = 1 if stage == "cache" else 2  # index fetches a file, and cache does
    times = Counter(request for request in [*before, *after] if request.startswith("GET"))
    assert max(times.values()) <= needed + 1
    assert len(times) == {"index": 15, "cache": 12}[stage]  # cache fetches what can be read, and a copy once
    again = [request for request, count in times.items() if count > needed]
    assert len(again) < 7, "more than the shard in which the server stopped is fetched again"
    assert len({request for request in before if request.startswith("GET")}) > len(again)


def test_frames_cannot_be_read_from_object_storage(on_disk):
    workspace, manifest, _ = on_disk
    there = manifest.model_copy(update={"videos_dir": "s3://bucket/none"})
    with pytest.raises(InputError, match=r"cache\.codec=none reads .* lie in s3://bucket/none.*cache\.codec=jpeg"):
        cache.cache(there, small_config(cache__codec="none"), workspace)
