"""Videos in, labels out: with the champion, another entry, or a checkpoint file.

A video is decoded in a process of its own, resized and compressed as the cache that the network was trained on, so
that the network sees what it saw.  A broken one is a row with its reason.
"""

from __future__ import annotations

import itertools
import logging
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data import loader, sampling, transforms
from nonlocal_core.data.layouts import endings, listing
from nonlocal_core.data.layouts.inventory import FollowLinks
from nonlocal_core.data.layouts.inventory import Seen as Inventory
from nonlocal_core.data.records import frame_file
from nonlocal_core.data.timing import Stretch
from nonlocal_core.data.video import decoding, pictures
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import views
from nonlocal_core.models import inference
from nonlocal_core.prediction import results
from nonlocal_core.prediction.results import TOP, Guess, Prediction, Predictions, Request, Window, check
from nonlocal_core.process import bounds, cuda, workers
from nonlocal_core.process.progress import Progress, Within
from nonlocal_core.registry import trained_network
from nonlocal_core.report import video_files

PICTURES_FPS = 25.0
"""at which a folder of pictures is written as a video"""
SMALL_PX, LINES = 240, 3
"""height of a video below which one label is drawn on it, and how many are on others"""
LEAST_SCORE = 0.005
"""of a label that is drawn"""

Scores = NDArray[np.float64]

log = logging.getLogger(__name__)


def predict(request: Request) -> Predictions:
    """The best labels of each video.

    Raises: InputError if there is no such video, folder or entry, or no video in it; ConfigError if the request or
            a setting does not fit; DamagedError if the checkpoint is not whole.
    """
    check(request)
    runtime = {key: value for key, value in request.overrides.items() if key.startswith("runtime.")}
    cuda.load(resolve("tiny", runtime).runtime)
    workspace = Workspace(request.workspace_dir, only_read=True)
    trained = trained_network.find(request.checkpoint, workspace, "checkpoint")
    config = trained_network.settings(trained.name, trained.settings, "", request.overrides)
    videos = find_videos(request.source, config.runtime.follow_links)
    labels, asked = list(trained.described.labels), request.features is not None
    num_views = None if request.window_s else len(videos) * config.evaluate.num_clips * config.evaluate.num_crops
    network = inference.load(
        trained.path, labels, config, workspace=workspace, num_views=num_views, with_features=asked
    )
    seen: list[Seen] = []

    def parts() -> Iterator[Iterator[NDArray[np.uint8]]]:
        for video, views_CTHW in _look(videos, config, request):
            seen.append(video)
            yield views_CTHW

    progress = Progress("predict", request.source.name, len(videos), "videos")
    outputs = inference.outputs_by_video(network, parts(), config.evaluate.batch_clips, progress)
    logits = [rows[..., : len(labels)] for rows in outputs]
    predictions = [_prediction(video, logits_VK, labels) for video, logits_VK in zip(seen, logits, strict=True)]
    protocol = _protocol(config, request)
    if request.features is not None:
        features = [rows[..., len(labels) :] for rows in outputs]
        rows = itertools.chain.from_iterable(map(_feature_rows, seen, features))
        results.write_features(request.features, list(rows), trained.name, protocol)
    if request.draw_dir is not None:
        paths = (path for _, path in videos)
        predictions = [
            _drawn(prediction, path, request.draw_dir) for prediction, path in zip(predictions, paths, strict=True)
        ]
    return Predictions(entry=trained.name, protocol=protocol, engine=network.engine, videos=tuple(predictions))


class Seen(NamedTuple):
    """A decoded video with its windows, or why it could not be decoded."""

    name: str
    status: str
    reason: str
    times_s: list[tuple[float, float]]
    """of its windows; none where the whole video is one part"""
    num_views: list[int]
    """of each part"""


def _look(
    videos: list[tuple[str, Path]], config: Config, request: Request
) -> Iterator[tuple[Seen, Iterator[NDArray[np.uint8]]]]:
    """Each video with the views of all its parts, to be taken before the next video."""
    with tempfile.TemporaryDirectory(prefix="frames-") as folder:
        file = Path(folder) / "frames"
        jobs = [frame_file.Job(path, file, config.cache) for _, path in videos]
        within, limits = Within("predict", "frames decoded"), bounds.of(config.runtime)
        outcomes = workers.each(
            frame_file.spool, jobs, config.runtime.video_timeout_s, "frame", limits,
            lambda job, done: within(job.path.name, done),
        )  # fmt: skip
        for (name, _), outcome in zip(videos, outcomes, strict=True):
            if isinstance(outcome, workers.Lost):
                outcome = frame_file.broken("unreadable", outcome.reason)
            if outcome.status == "ok" and request.window_s is not None and not outcome.timing.fps:
                outcome = frame_file.broken("no_time", "it has no frame rate, and a window is so many seconds")
            times_s, parts = _parts(outcome, config, request)
            frames_at = partial(outcome.frames, file)
            views_CTHW = (
                view for part, test in parts for view in loader.views_of(frames_at, part, name, config.clip, test)
            )
            num_views = [test.num_clips * test.num_crops for _, test in parts]
            yield Seen(name, outcome.status, outcome.reason, times_s, num_views), views_CTHW


def _parts(
    spooled: frame_file.Spooled, config: Config, request: Request
) -> tuple[list[tuple[float, float]], list[tuple[Stretch, EvaluateConfig]]]:
    """The times of the windows of a video, and each window or the whole video with the views that it gets.

    A window gets as many clips as cover it, unless a person says how many.
    """
    test, video = config.evaluate, spooled.timing
    if spooled.status != "ok":
        return [], []
    if request.window_s is None:
        return [], [(video, test)]
    times_s = windows(video.num_frames, video.fps, request)
    stretches = [video.part(start * video.fps, end * video.fps) for start, end in times_s]
    if not _are_covered(request):
        return times_s, [(stretch, test) for stretch in stretches]
    counts = [sampling.clips_to_cover(stretch, config.clip) for stretch in stretches]
    tests = [test.model_copy(update={"num_clips": count, "offsets": "spread"}) for count in counts]
    return times_s, list(zip(stretches, tests, strict=True))


def windows(num_frames: int, fps: float, request: Request) -> list[tuple[float, float]]:
    """Start and end of the sliding windows of a video; none where none were asked for.

    The last one ends with the video, and a video shorter than a window is one.

    Units:  seconds.
    """
    if request.window_s is None:
        return []
    length, hop = request.window_s, request.hop_s or request.window_s / 2
    duration = num_frames / fps
    if duration <= length:
        return [(0.0, duration)]
    count = int((duration - length) / hop + 1e-9) + 1
    starts = [number * hop for number in range(count)]
    if duration - length - starts[-1] > 1e-6 * duration:
        starts.append(duration - length)
    return [(start, start + length) for start in starts]


def _feature_rows(seen: Seen, features_VC: NDArray[np.float32]) -> list[dict[str, object]]:
    """The mean features of a video and, below it, of its windows; none of a video that is not ok."""
    if seen.status != "ok":
        return []
    parts = [part_VC.mean(0) for part_VC in np.split(features_VC, np.cumsum(seen.num_views)[:-1])]
    rows: list[dict[str, object]] = [{"video": seen.name, "features": np.mean(parts, axis=0)}]
    for (start_s, end_s), mean_C in zip(seen.times_s, parts, strict=False):
        rows.append({"video": seen.name, "start_s": start_s, "end_s": end_s, "features": mean_C})
    return rows


def _prediction(seen: Seen, logits_VK: NDArray[np.float32], labels: list[str]) -> Prediction:
    if seen.status != "ok":
        return Prediction(video=seen.name, status=seen.status, reason=seen.reason)
    scores = [views.average(part_VK) for part_VK in np.split(logits_VK, np.cumsum(seen.num_views)[:-1])]
    return Prediction(
        video=seen.name,
        status="ok",
        guesses=_best(np.mean(scores, axis=0), labels),
        windows=tuple(
            Window(start_s=round(start, 3), end_s=round(end, 3), guesses=_best(scores_K, labels))
            for (start, end), scores_K in zip(seen.times_s, scores, strict=False)
        ),
    )


def _best(scores_K: Scores, labels: list[str]) -> tuple[Guess, ...]:
    order = np.argsort(-scores_K, kind="stable")[:TOP].tolist()
    return tuple(Guess(label=labels[label_id], score=float(scores_K[label_id])) for label_id in order)


def _are_covered(request: Request) -> bool:
    """Whether windows get as many clips as cover them: nobody has said how many."""
    nested = request.overrides.get("evaluate", {})
    said = {*request.overrides, *(f"evaluate.{name}" for name in nested)}
    return request.window_s is not None and said.isdisjoint({"evaluate.num_clips", "evaluate.protocol"})


def _protocol(config: Config, request: Request) -> str:
    test = config.evaluate
    clips = "clips over all of each window" if _are_covered(request) else f"{test.num_clips} clips"
    text = f"{clips} x {test.num_crops} crops of {config.clip.name}"
    return f"{text}, {test.crop_size} px" + (f", windows of {request.window_s:g} s" if request.window_s else "")


def _drawn(prediction: Prediction, path: Path, folder: Path) -> Prediction:
    """The prediction, once its video is written with its labels on it, and its timeline beside it."""
    from nonlocal_core.prediction import timeline  # loads matplotlib, which few predictions need

    if prediction.status != "ok":
        return prediction
    out = folder / (prediction.video if path.suffix == ".mp4" else f"{prediction.video}.mp4")
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
    return prediction.model_copy(update={"drawn": str(out)})


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


def find_videos(source: Path, follow_links: FollowLinks = "inside") -> list[tuple[str, Path]]:
    """The videos of a source, by their names relative to it.

    Raises: InputError if there is none.
    """
    if source.is_file():
        return [(source.name, source)]
    inventory = Inventory(follow_links)
    names = sorted(file.path for file in listing.walk(source, seen=inventory))
    for line in inventory.lines():
        log.info("%s: %s", source, line)
    if not names and any(child.name.lower().endswith(pictures.SUFFIXES) for child in source.iterdir()):
        return [(source.name, source)]
    if not names:
        raise InputError(
            f"no videos in {source} ({'; '.join(inventory.lines())}): looked for"
            f" {', '.join(endings.SUFFIXES[:6])}, …, and folders of pictures"
        )
    return [(name, source / name) for name in names]
