"""Videos with their labels drawn on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.data import transforms
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.prediction.results import Prediction
from nonlocal_core.report import video_files

PICTURES_FPS = 25.0
"""at which a folder of pictures is written as a video"""
SMALL_PX, LINES = 240, 3
"""height of a video below which one label is drawn on it, and how many are on others"""
LEAST_SCORE = 0.005
"""of a label that is drawn"""


def check(videos: list[tuple[str, Path]], folder: Path) -> None:
    """Check that no video that is drawn takes the place of a source, which may lie behind a link.

    Raises: ConfigError that names such a video.
    """
    sources = {path.resolve() for _, path in videos}
    for name, path in videos:
        if (out := _file(name, path, folder)).resolve() in sources:
            raise ConfigError(
                f"draw={folder} has {out.name}, one of the videos that are drawn: name another folder"
            )


def _file(name: str, path: Path, folder: Path) -> Path:
    """Where a video is drawn to."""
    return folder / (name if path.suffix == ".mp4" else f"{name}.mp4")


def draw(prediction: Prediction, path: Path, folder: Path) -> Prediction:
    """The prediction, once its video is written with its labels on it, and its timeline beside it.

    The field `drawn` has the name of the written file in the folder.
    """
    from nonlocal_core.prediction import timeline  # loads matplotlib, which few predictions need

    if prediction.status != "ok":
        return prediction
    out = _file(prediction.video, path, folder)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probed = decoding.probe(path)
        fps = probed.fps or PICTURES_FPS
        times_s = _times(probed.times_s, fps)
        shown = (
            transforms.square_pixels(frame, probed.pixel_aspect or 1.0) for frame in decoding.read_frames(path)
        )
        frames = _with_labels(prediction, shown, _times(probed.times_s, fps))
        video_files.write_mp4(out, frames, fps, times_s if probed.times_s else None)
        if prediction.windows:
            timeline.draw(prediction, out.with_suffix(".png"))
    except OSError as error:
        raise InputError(f"draw={folder} cannot be written: {error.strerror}") from None
    return prediction.model_copy(update={"drawn": str(out.relative_to(folder))})


def below(prediction: Prediction, folder: Path) -> Prediction:
    """The prediction with the path of what was drawn, in a folder as a person has named it."""
    return prediction.model_copy(update={"drawn": str(folder / prediction.drawn) if prediction.drawn else ""})


def _times(times_s: tuple[float, ...] | None, fps: float) -> Iterator[float]:
    """When each frame of a video is shown (seconds), for as long as anybody asks."""
    yield from times_s or ()
    after = times_s[-1] + 1 / fps if times_s else 0.0
    yield from (after + number / fps for number in itertools.count())


def _with_labels(
    prediction: Prediction, frames: Iterator[NDArray[np.uint8]], times_s: Iterator[float]
) -> Iterator[NDArray[np.uint8]]:
    """Every frame with the labels of the whole video, or of the window whose middle is nearest."""
    middles = np.array([(window.start_s + window.end_s) / 2 for window in prediction.windows])
    for frame, time_s in zip(frames, times_s, strict=False):
        nearest = int(np.abs(middles - time_s).argmin()) if len(middles) else -1
        guesses = prediction.windows[nearest].guesses if nearest >= 0 else prediction.guesses
        likely = [guess for guess in guesses if guess.score >= LEAST_SCORE] or guesses
        shown = likely[: 1 if frame.shape[0] < SMALL_PX else LINES]
        yield video_files.with_caption(frame, [f"{guess.label}  {guess.score:.0%}" for guess in shown])
