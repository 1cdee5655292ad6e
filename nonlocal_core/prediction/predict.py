"""Videos in, labels out: with the champion, another entry, or a checkpoint file.

The network sees what it saw in training (windows.py).  A broken video is a row with its reason.  Devices and hosts
share the videos in chunks.  No batch has views of two chunks, so it is all one which of them looks at a chunk.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.keys import digest_of
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts import endings, listing
from nonlocal_core.data.layouts.inventory import FollowLinks, Inventory
from nonlocal_core.data.video import pictures
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import views
from nonlocal_core.models import inference
from nonlocal_core.prediction import drawing, results, windows
from nonlocal_core.prediction.results import TOP, Guess, Prediction, Predictions, Request, Window, check
from nonlocal_core.prediction.windows import Decoded
from nonlocal_core.process import cuda, shares
from nonlocal_core.process.progress import Progress
from nonlocal_core.process.shares import Chunk
from nonlocal_core.registry import trained_network

VERSION = 1
FOLDER = "predict"
"""folder in the workspace with what hosts have predicted together so far"""

Scores = NDArray[np.float64]

log = logging.getLogger(__name__)


class Job(shares.Job):
    """What is predicted: videos, with their names."""

    request: Request
    videos: list[tuple[str, Path]]
    entry: str
    labels: list[str]
    protocol: str


def predict(request: Request) -> Predictions:
    """The best labels of each video.

    Raises: InputError if there is no such video, folder or entry, or no video in it; ConfigError if the request or
            a setting does not fit; DamagedError if the checkpoint is not whole; ChildError if a device's process
            dies.
    """
    check(request)
    job, weights_digest = _job(request)
    with _folder(job, weights_digest) as folder:
        chunks = _chunks(job, folder)
        shares.make(job, chunks, folder, predict_chunks)
        return _joined(job, chunks, request)


def _job(request: Request) -> tuple[Job, str]:
    """What is predicted, and the digest of the weights."""
    runtime = {key: value for key, value in request.overrides.items() if key.startswith("runtime.")}
    cuda.load(resolve("tiny", runtime).runtime)
    workspace = Workspace(request.workspace_dir, only_read=True)
    trained = trained_network.find(request.checkpoint, workspace, "checkpoint")
    config = trained_network.settings(trained.name, trained.settings, "", request.overrides)
    videos = find_videos(request.source, config.runtime.follow_links)
    draw_dir = request.draw_dir and request.draw_dir.absolute()
    if draw_dir is not None:
        drawing.check(videos, draw_dir)
    job = Job(
        config=config,
        root=workspace.root,
        weights=trained.path.absolute(),
        request=request.model_copy(update={"draw_dir": draw_dir}),
        videos=[(name, path.absolute()) for name, path in videos],
        entry=trained.name,
        labels=list(trained.described.labels),
        protocol=windows.protocol(config, request),
    )
    return job, trained.described.content_digest


@contextlib.contextmanager
def _folder(job: Job, weights_digest: str) -> Iterator[Path]:
    """The folder of finished chunks: a temporary one, or one that other hosts see, where there are some.

    That one is kept when its process dies, and the same prediction goes on with it.
    """
    if not job.config.runtime.hosts:
        with tempfile.TemporaryDirectory(prefix="predict-") as name:
            yield Path(name)
        return
    key = digest_of(VERSION, job.model_dump_json(), weights_digest, *(_state(path) for _, path in job.videos))
    folder = job.root / FOLDER / f"{key}.partial"
    with Workspace(job.root).locked(f"{FOLDER}-{key}"):
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder)


def _state(path: Path) -> str:
    """The size and the time of change of a video, or of the pictures in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = (file.stat() for file in files if file.exists())
    return " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def _chunks(job: Job, folder: Path) -> list[Chunk]:
    """The videos in chunks; with windows nobody knows how many views a video has, and each is a chunk."""
    test = job.config.evaluate
    size = shares.videos_of_chunk(test.num_clips * test.num_crops, test.batch_clips)
    rows = range(len(job.videos))
    return shares.chunks_of(rows, 1 if job.request.window_s else size, folder, ".json")


def take_part(folder: Path, host: int) -> None:
    """Predict the share of another host of the videos whose first chunks lie in a folder.

    Raises: InputError if nothing is predicted there, or it has no such share.
    """
    shares.take_part(folder, host, Job, predict_chunks)


def predict_chunks(job: Job, chunks: list[Chunk], rank: int = 0, num_ranks: int = 1, num_done: int = 0) -> None:
    """Write the predictions of some chunks into their files; each device's process calls it once."""
    config, request, labels, test = job.config, job.request, job.labels, job.config.evaluate
    cuda.load(config.runtime)  # before anything imports mindspore
    workspace, with_features = Workspace(job.root, only_read=True), request.features is not None
    num_views = None if request.window_s else len(job.videos) * test.num_clips * test.num_crops
    network = inference.load(
        job.weights, labels, config, workspace=workspace, num_views=num_views, with_features=with_features
    )
    videos = [job.videos[row] for chunk in chunks for row in chunk.rows]
    name = request.source.name if num_ranks == 1 else f"device {rank + 1} of {num_ranks}"
    progress = Progress("predict", name, num_done + len(videos), "videos", done=num_done)
    with contextlib.closing(windows.look(videos, config, request)) as videos_seen:
        for chunk in chunks:
            seen: list[Decoded] = []
            clips = _clips(itertools.islice(videos_seen, len(chunk.rows)), seen)
            outputs = inference.outputs_by_video(network, clips, test.batch_clips, progress)
            _write(job, chunk, seen, outputs, network.engine)


def _clips(videos_seen: Iterator[tuple[Decoded, windows.Clips]], seen: list[Decoded]) -> Iterator[windows.Clips]:
    """The views of each video, which is then among the `seen`."""
    for video, views_CTHW in videos_seen:
        seen.append(video)
        yield views_CTHW


def _write(job: Job, chunk: Chunk, seen: list[Decoded], outputs: list[NDArray[np.float32]], engine: str) -> None:
    """Write the predictions of a chunk from the logits, and the features behind them, of each view."""
    labels, draw_dir = job.labels, job.request.draw_dir
    if job.request.features is not None:
        features = (rows[..., len(labels) :] for rows in outputs)
        rows = itertools.chain.from_iterable(map(_feature_rows, seen, features))
        results.write_features(_features_file(chunk), list(rows), job.entry, job.protocol)
    logits = (rows[..., : len(labels)] for rows in outputs)
    videos = [_prediction(video, logits_VK, labels) for video, logits_VK in zip(seen, logits, strict=True)]
    if draw_dir is not None:
        paths = (job.videos[row][1] for row in chunk.rows)
        videos = [drawing.draw(video, path, draw_dir) for video, path in zip(videos, paths, strict=True)]
    predictions = Predictions(entry=job.entry, protocol=job.protocol, engine=engine, videos=tuple(videos))
    write_json(chunk.file, predictions.model_dump(mode="json"))


def _features_file(chunk: Chunk) -> Path:
    return chunk.file.with_suffix(".parquet")


def _joined(job: Job, chunks: list[Chunk], request: Request) -> Predictions:
    """What was predicted in all chunks; the features are written."""
    if request.features is not None:
        files = [_features_file(chunk) for chunk in chunks]
        results.join_features(request.features, files, job.entry, job.protocol)
    parts = [Predictions.model_validate_json(chunk.file.read_bytes()) for chunk in chunks]
    videos = list(itertools.chain.from_iterable(part.videos for part in parts))
    if request.draw_dir is not None:
        videos = [drawing.below(video, request.draw_dir) for video in videos]
    engines = {part.engine for part in parts} - {""}
    return parts[0].model_copy(update={"engine": "; ".join(sorted(engines)), "videos": tuple(videos)})


def _feature_rows(seen: Decoded, features_VC: NDArray[np.float32]) -> list[dict[str, object]]:
    """The mean features of a video and, below it, of its windows; none of a video that is not ok."""
    if seen.status != "ok":
        return []
    parts = [part_VC.mean(0) for part_VC in np.split(features_VC, np.cumsum(seen.num_views)[:-1])]
    rows: list[dict[str, object]] = [{"video": seen.name, "features": np.mean(parts, axis=0)}]
    for (start_s, end_s), mean_C in zip(seen.times_s, parts, strict=False):
        rows.append({"video": seen.name, "start_s": start_s, "end_s": end_s, "features": mean_C})
    return rows


def _prediction(seen: Decoded, logits_VK: NDArray[np.float32], labels: list[str]) -> Prediction:
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
