from __future__ import annotations

import numpy as np
from PIL import Image

from nonlocal_core.data.records import frame_file
from nonlocal_core.data.records.encoding import FrameSettings
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.video import decoding


def test_frames_are_those_of_the_cache(registered, tmp_path):
    """A frame in the file is what a cache holds of it, in whatever order they are asked for."""
    reader, settings = (
        RecordReader(registered.workspace, registered.cache),
        FrameSettings.of(registered.config.cache),
    )
    path = next(registered.videos_dir.glob("rises/toy*.mp4"))
    row = reader.rows["path"].tolist().index(f"rises/{path.name}")
    made = frame_file.spool(frame_file.Job(path, tmp_path / "frames", settings))
    assert min(made.height, made.width) == settings.short_side
    assert (made.status, made.reason, made.timing.fps) == ("ok", "", 15.0)
    frames = list(decoding.read_frames(path))
    assert len(made.ends) == len(frames)
    indices = np.array([len(frames) - 1, 0, 3, len(frames) - 1])
    found = made.frames(tmp_path / "frames", indices)
    np.testing.assert_array_equal(found, reader.frames(row, indices))
    for small, number in zip(found, indices.tolist(), strict=True):
        height, width = small.shape[:2]
        expected = np.asarray(
            Image.fromarray(frames[number]).resize((width, height), Image.Resampling.BOX), np.int64
        )
        assert np.abs(expected - small).mean() < 6


def test_a_video_that_cannot_be_read_has_its_reason(registered, tmp_path):
    path = registered.videos_dir / "rises/cut.mp4"
    made = frame_file.spool(frame_file.Job(path, tmp_path / "frames", FrameSettings.of(registered.config.cache)))
    assert (made.status, made.ends) == ("unreadable", [])
    assert made.reason
