from __future__ import annotations

import logging
import shutil

import cv2
import numpy as np
import pytest
from small import small_config
from video_files import encode_video, frames_by_ffmpeg, make_family, number_of, painted

from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data import loader, transforms
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.records import cache_table
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.stages import cache as stage
from nonlocal_core.stages.index import index


def test_videos_in_which_one_cannot_jump_are_stored_all_the_same(toy, tmp_path, caplog):
    """MPEG-4 with B-frames in an AVI, which has no time stamps."""
    caplog.set_level(logging.INFO)
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    for label, num_frames in (("falls", 60), ("grows", 55)):
        path = tmp_path / "videos" / label / "unsafe.avi"
        encode_video(path, num_frames, codec="mpeg4", b_frames=2, size=(128, 96))
    workspace, config = Workspace(tmp_path / "w"), small_config(cache__codec="none", runtime__cache_shard_videos=2)
    manifest = index(tmp_path / "videos", config, workspace)
    listed = manifests.read(workspace.path(manifest) / Manifest.ROWS).set_index("video_id")
    assert listed.index[~listed["seek_safe"]].tolist() == ["falls/unsafe.avi", "grows/unsafe.avi"]
    made = stage.cache(manifest, config, workspace)
    rows = cache_table.read(workspace.path(made) / RecordCache.VIDEOS).set_index("video_id")
    assert rows.index[rows["num_bytes"] > 0].tolist() == ["falls/unsafe.avi", "grows/unsafe.avi"]
    assert "2 of 14 videos are stored as JPEG, because jumps fail in them" in caplog.text
    reader = RecordReader(workspace, made)
    for row in np.flatnonzero(rows.index.str.endswith(".avi")):
        indices = np.array([50, 3, 17])
        assert [number_of(frame) for frame in reader.frames(row, indices)] == indices.tolist()


NAMES = [
    *("two_frames.mkv", "odd.mp4", "turned_90.mp4", "mirrored.mp4", "grey.mp4", "10_bit.mp4", "uneven.mp4"),
    *("72_px.mp4", "444.mp4", "open_gop12.mp4", "mpeg4_b.avi"),
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Videos of all kinds, their manifest, and caches with frames, without, and with jumps of decord."""
    folder = tmp_path_factory.mktemp("odd")
    for number, name in enumerate(NAMES):
        path = make_family(folder, name)
        (folder / "videos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / "videos" / "ab"[number % 2])
    pictures = folder / "videos/a/pictures"
    pictures.mkdir()
    for number in range(9):
        cv2.imwrite(str(pictures / f"{number}.png"), cv2.cvtColor(painted(number), cv2.COLOR_RGB2BGR))
    workspace = Workspace(folder / "w")
    manifest = index(folder / "videos", small_config(), workspace)
    kinds = ({"cache.codec": "jpeg"}, {"cache.codec": "none"}, {"cache.codec": "none", "cache.jump": "decord"})
    made = [stage.cache(manifest, small_config(**kind), workspace) for kind in kinds]
    rows = manifests.read(workspace.path(manifest) / Manifest.ROWS).set_index("video_id")
    return folder / "videos", rows, workspace, made


@pytest.mark.parametrize("name", [*NAMES, "pictures"])
def test_every_kind_of_video_gives_its_frames_both_ways(odd, name):
    folder, manifest, workspace, made = odd
    readers = [RecordReader(workspace, one) for one in made]
    (video_id,) = (video_id for video_id in manifest.index if video_id.endswith(f"/{name}"))
    listed = manifest.loc[video_id]
    if name == "pictures":
        frames = np.stack([painted(number) for number in range(9)])
    else:
        frames = frames_by_ffmpeg(folder / video_id, listed["height"], listed["width"])
    are_stored = (True, name == "mpeg4_b.avi", not listed["seek_safe"])
    for reader, may_be_stored in zip(readers, are_stored, strict=True):
        row = reader.rows.index[reader.rows["video_id"] == video_id][0]
        said = reader.rows.loc[row]
        assert (said["status"], said["num_frames"]) == ("ok", len(frames))
        assert (said["num_bytes"] > 0) == may_be_stored
        indices = np.array([len(frames) - 1, 0, len(frames) // 2])
        for index_, frame in zip(indices, reader.frames(row, indices), strict=True):
            expected = transforms.resize_short_side(frames[index_], 36)
            assert frame.shape == expected.shape == (said["height"], said["width"], 3)
            assert np.abs(frame.astype(int) - expected).mean() < 6
            if len(frames) > 20:
                other = transforms.resize_short_side(frames[index_ - 7], 36)
                assert np.abs(frame.astype(int) - other).mean() > 10, "it is this frame, not another one"


def test_clips_of_short_and_odd_videos_are_whole(odd):
    _, _, workspace, made = odd
    config = small_config(clip__clip_len=8, clip__frame_interval=4, train__batch_size=1)
    clips = []
    for one in made:
        reader = RecordReader(workspace, one)
        rows = [row for split in ("train", "val") for row in loader.readable_rows(reader, split)]
        assert len(rows) == len(NAMES) + 1
        clips.append([batch.clip_NCTHW for batch in loader.train_batches(reader, rows, config, 0, 0)])
        views = list(loader.video_views(reader, rows, config.clip, config.evaluate, 2))
        assert {view.shape for view in views} == {(1, 3, 8, 32, 32)}
    for stored, by_pyav, by_decord in zip(*clips, strict=True):
        assert np.abs(stored.astype(int) - by_pyav).mean() < 6
        assert np.abs(stored.astype(int) - by_decord).mean() < 6
