"""evaluate.protocol=mmaction2_exact against mmaction2's test pipeline, told here again in NumPy and OpenCV.

DecordInit, SampleFrames(32, 2, 10, test_mode), DecordDecode, Resize((-1, S)), ThreeCrop(S) of its config
i3d_imagenet-pretrained-r50-nl-dot-product_8xb8-32x2x1-100e_kinetics400-rgb; S is 256 there, and 64 here.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from video_files import encode_video

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index

SHORT_SIDE = 64
VIDEOS = {
    "wide": ((160, 90), 100),  # 114 pixels wide when it is small: 50 spare
    "odd": ((128, 74), 131),  # 47 spare
    "high": ((74, 128), 64),
    "short": ((150, 80), 41),  # a clip takes 63 frames
    "larger": ((96, 54), 70),  # it grows
    "square": ((96, 96), 66),
}
SMALL = {
    "cache.short_side": SHORT_SIDE,
    "train.crop_size": 64,
    "runtime.num_workers": 2,
    "index.val_fraction": 0.5,
}


def theirs(path) -> np.ndarray:
    """The 30 views; the order of the three crops is start, middle, end."""
    decord = pytest.importorskip("decord")
    video = decord.VideoReader(str(path), num_threads=1)
    room = max(len(video) - 63, 0)
    starts = np.round(np.arange(10) * (room / 9))
    wanted = np.mod(starts[:, None] + 2 * np.arange(32), len(video)).astype(int)
    found = dict(zip(np.unique(wanted), video.get_batch(np.unique(wanted)).asnumpy(), strict=True))
    height, width = found[0].shape[:2]
    factor = SHORT_SIDE / min(height, width)
    size = int(width * factor + 0.5), int(height * factor + 0.5)
    small = {k: cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for k, frame in found.items()}
    step_x, step_y = ((side - SHORT_SIDE) // 2 for side in size)
    corners = [(i * step_y, i * step_x) for i in range(3)]
    return np.stack(
        [
            np.stack([small[k][top : top + SHORT_SIDE, left : left + SHORT_SIDE] for k in clip]).transpose(
                3, 0, 1, 2
            )
            for clip in wanted
            for top, left in corners
        ]
    )


@pytest.fixture(scope="module")
def videos_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number, (name, (size, num_frames)) in enumerate(VIDEOS.items()):
        label = folder / ("one", "two")[number % 2]
        label.mkdir(exist_ok=True)
        encode_video(label / f"{name}.mp4", num_frames, size=size)
    return folder


def ours(videos_dir, root, protocol):
    config = resolve("nl_i3d_r50_32x2", {**SMALL, "evaluate.protocol": protocol})
    workspace = Workspace(root)
    reader = RecordReader(workspace, cache(index(videos_dir, config, workspace), config, workspace))
    rows = list(range(len(VIDEOS)))
    made = loader.video_views(reader, rows, config.clip, config.evaluate, 2)
    return dict(zip(reader.rows["path"], made, strict=True))


def test_every_pixel_of_every_view_is_mmaction2s(videos_dir, tmp_path):
    found = ours(videos_dir, tmp_path, "mmaction2_exact")
    assert len(found) == len(VIDEOS)
    for path, views in found.items():
        expected = theirs(videos_dir / path)
        assert views.shape == expected.shape == (30, 3, 32, SHORT_SIDE, SHORT_SIDE)
        assert np.array_equal(views, expected), path


def test_with_cached_frames_the_places_are_the_same_and_the_pixels_are_near(videos_dir, tmp_path):
    found = ours(videos_dir, tmp_path, "mmaction2")
    for path, views in found.items():
        error = np.abs(views.astype(int) - theirs(videos_dir / path)).mean()
        assert 0 < error < 4, path
