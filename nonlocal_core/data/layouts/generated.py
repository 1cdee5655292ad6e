"""A folder of generated videos: filled once, left as it is when it is finished, made anew when it was cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import remove_unfinished, sync_all, write_atomically
from nonlocal_core.errors import WorkspaceError

Image = NDArray[np.uint8]
FPS = 15.0


def fill(folder: Path, mark: str, settings: dict[str, Any], videos: Iterable[tuple[str, Image]]) -> Path:
    """`folder`, with every video (path in it, frames) written; left as it is if it has the mark of `settings`.

    Videos that an earlier, other set left in the class folders are deleted.
    """
    finished_mark, content = folder / mark, json.dumps(settings)
    if finished_mark.is_file() and finished_mark.read_text(encoding="utf-8") == content:
        return folder
    finished_mark.unlink(missing_ok=True)
    remove_unfinished(folder)
    written = set[Path]()
    for name, frames_THWC in videos:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_video(path, frames_THWC)
        written.add(path)
    for path in folder.rglob("*-[0-9][0-9][0-9][0-9].*"):
        if path not in written:
            path.unlink()
    sync_all(folder)
    write_atomically(finished_mark, content.encode())
    return folder


def texture(
    height: int, width: int, colour: NDArray[np.float64], contrast: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Blotches of a few sizes around a colour."""
    picture = np.tile(colour.astype(np.float32), (height, width, 1))
    for cells in (3, 6, 12):
        coarse = rng.normal(0, contrast / 2, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return picture


def _write_video(path: Path, frames_THWC: Image) -> None:
    """Write MPEG-4, or Motion JPEG where the name ends with .avi: there no frame depends on another one.

    Raises: WorkspaceError if the file does not have the frames afterwards.
    """
    height, width = frames_THWC.shape[1:3]
    code = "MJPG" if path.suffix == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), FPS, (width, height))
    for frame in frames_THWC:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    if cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) != len(frames_THWC):  # the writer says nothing
        raise WorkspaceError(f"{path} cannot be written: is the disk full?")
