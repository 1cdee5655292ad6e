"""Attention drawn over the frames of cached videos."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.data import loader
from nonlocal_core.data.records import frame_file
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import InputError
from nonlocal_core.models import device
from nonlocal_core.registry import trained_network
from nonlocal_core.report import arrows, attention, video_files


class Drawn(Frozen):
    """A picture of a cached video's attention."""

    video_id: str
    title: str
    file: str
    """name of a JPEG in the folder that was asked for"""


def draw_cached(
    workspace: Workspace, entry: str, cache: RecordCache, rows: list[int], folder: Path
) -> list[Drawn]:
    """One picture for each of these rows of a cache, in a folder; none if the network has no non-local block."""
    device.use(RuntimeConfig(device="CPU"))
    found = trained_network.find(entry, workspace)
    net = found.network()
    if not attention.blocks(net):
        return []
    reader = RecordReader(workspace, cache)
    protocol = found.evaluate.model_copy(update={"num_clips": 1, "num_crops": 1})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    views = loader.video_views(reader, rows, found.described.clip, protocol, 1)
    for number, (row, view) in enumerate(zip(rows, views, strict=True)):
        looked = attention.look(net, view[0])
        scene = attention.scene(looked, view[0], net.model)
        file = f"attention-{number}.jpg"
        write_atomically(folder / file, video_files.jpeg(arrows.strip(scene)))
        drawn.append(Drawn(video_id=str(reader.rows["video_id"].iloc[row]), title=scene.title, file=file))
    return drawn


def middle_clip(path: Path, found: trained_network.Trained) -> NDArray[np.uint8]:
    """The clip in the middle of a video, as an evaluation sees its centre.

    Shape:  (3, T, H, W).
    Raises: InputError if there is no such video or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"there is no video {path}")
    protocol = found.evaluate.model_copy(update={"num_clips": 1, "num_crops": 1, "offsets": "spread"})
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        file = Path(folder) / "frames"
        spooled = frame_file.spool(frame_file.Job(path, file, found.described.cache))
        if spooled.status != "ok":
            raise InputError(f"{path} cannot be read: {spooled.reason}")
        frames_at, part = partial(spooled.frames, file), (0, len(spooled.ends))
        (clip_CTHW,) = loader.views_of(frames_at, part, path.name, found.described.clip, protocol)
    return np.asarray(clip_CTHW)
