"""Attention drawn over the frames of cached videos."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.data import loader
from nonlocal_core.data.records import frame_file
from nonlocal_core.data.records.encoding import FrameSettings
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import InputError
from nonlocal_core.models import device
from nonlocal_core.registry import trained_network
from nonlocal_core.report import arrows, attention, html, video_files


def draw_cached(workspace: Workspace, entry: str, cache: RecordCache, rows: list[int]) -> list[html.Attention]:
    """A picture for each of these rows of a cache; none if the network has no non-local block."""
    device.use(RuntimeConfig(device="CPU"))
    trained = trained_network.find(entry, workspace)
    net = trained.network()
    if not attention.blocks(net):
        return []
    reader = RecordReader(workspace, cache)
    protocol = trained.evaluate.model_copy(update={"num_clips": 1, "num_crops": 1})
    pictures = []
    views = loader.video_views(reader, rows, trained.described.clip, protocol, 1)
    for row, view in zip(rows, views, strict=True):
        scene = attention.scene(attention.look(net, view[0]), view[0], net.model)
        video_id = str(reader.rows["video_id"].iloc[row])
        pictures.append(html.Attention(video_id, scene.title, video_files.jpeg(arrows.strip(scene))))
    return pictures


def middle_clip(path: Path, trained: trained_network.Trained) -> NDArray[np.uint8]:
    """The clip in the middle of a video, cropped at the centre.

    Shape:  (3, T, H, W).
    Raises: InputError if there is no such video or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"there is no video {path}")
    protocol = trained.evaluate.model_copy(update={"num_clips": 1, "num_crops": 1, "offsets": "spread"})
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        file = Path(folder) / "frames"
        spooled = frame_file.spool(frame_file.Job(path, file, FrameSettings.of(trained.described.cache)))
        if spooled.status != "ok":
            raise InputError(f"{path} cannot be read: {spooled.reason}")
        frames_at = partial(spooled.frames, file)
        (clip_CTHW,) = loader.views_of(frames_at, spooled.timing, path.name, trained.described.clip, protocol)
    return np.asarray(clip_CTHW)
