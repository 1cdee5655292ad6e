from __future__ import annotations

import logging
import shutil

import numpy as np
from small import small_config
from video_files import encode_video, number_of

from nonlocal_core.artifacts import Manifest, RecordCache, Workspace
from nonlocal_core.data import cached
from nonlocal_core.data import manifest as manifests
from nonlocal_core.data.records import RecordReader
from nonlocal_core.stages import cache as stage
from nonlocal_core.stages.index import index


def test_videos_in_which_one_cannot_jump_are_stored_all_the_same(toy, tmp_path, caplog):
    """MPEG-4 with B-frames in an AVI: decord gives wrong frames after a jump."""
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
    rows = cached.read(workspace.path(made) / RecordCache.VIDEOS).set_index("video_id")
    assert rows.index[rows["num_bytes"] > 0].tolist() == ["falls/unsafe.avi", "grows/unsafe.avi"]
    assert "2 of 14 videos are stored as JPEG all the same" in caplog.text
    reader = RecordReader(workspace, made)
    for row in np.flatnonzero(rows.index.str.endswith(".avi")):
        indices = np.array([50, 3, 17])
        assert [number_of(frame) for frame in reader.frames(row, indices)] == indices.tolist()
