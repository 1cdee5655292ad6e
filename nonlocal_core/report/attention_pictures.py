"""Attention drawn over the frames of cached videos."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.references import Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.data import loader, sampling, transforms
from nonlocal_core.data.records import encoding
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import DecodeError, InputError
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
        video_files.write_picture(folder / file, arrows.strip(scene))
        drawn.append(Drawn(video_id=str(reader.rows["video_id"].iloc[row]), title=scene.title, file=file))
    return drawn


def middle_clip(path: Path, found: trained_network.Trained) -> NDArray[np.uint8]:
    """The clip in the middle of a video, as an evaluation sees its centre.

    Shape:  (3, T, H, W).
    Raises: InputError if there is no such video or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"there is no video {path}")
    settings, clip = found.described.cache, found.described.clip
    try:
        num_frames = sum(1 for _ in decoding.read_frames(path))
        (indices,) = sampling.test_indices(num_frames, clip, 1, "spread")
        wanted, kept = set(indices.tolist()), {}
        for number, frame in enumerate(islice(decoding.read_frames(path), int(indices.max()) + 1)):
            if number in wanted:
                small = transforms.resize_short_side(frame, settings.short_side, settings.interpolation)
                jpeg = np.frombuffer(encoding.encode(small, settings.jpeg_quality), np.uint8)
                kept[number] = encoding.decode(jpeg, *small.shape[:2])
    except DecodeError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    frames = [kept[number] for number in indices.tolist()]
    views: NDArray[np.uint8] = transforms.test_views(frames, found.evaluate.crop_size, 1)
    clip_CTHW: NDArray[np.uint8] = views[0]
    return clip_CTHW
