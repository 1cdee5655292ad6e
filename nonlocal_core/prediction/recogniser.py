"""A trained network for programs: loaded once, then asked for the labels of videos or of arrays of frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data import loader, timing
from nonlocal_core.data.records import encoding, frame_file
from nonlocal_core.data.timing import Stretch
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import views
from nonlocal_core.models import inference
from nonlocal_core.prediction.results import Request, check
from nonlocal_core.process import bounds, cuda, workers
from nonlocal_core.registry import trained_network

FramesAt = Callable[[NDArray[np.int64]], list[NDArray[np.uint8]]]


class Recogniser:
    """A network with its labels, which sees a video as `flows/predict.py` does and gives the same scores."""

    def __init__(
        self, name: str, path: Path, labels: tuple[str, ...], config: Config, workspace: Workspace
    ) -> None:
        self.name, self.labels, self.config = name, labels, config
        self._network = inference.load(path, list(labels), config, workspace=workspace, with_features=True)

    @property
    def engine(self) -> str:
        """What computes, in words; empty before the first video if it is made then."""
        return self._network.engine

    def scores(self, video: Path | str | NDArray[np.uint8], fps: float = 0.0) -> dict[str, float]:
        """The score of each label (0…1), the best first.

        `video` is a file, a folder of pictures, or the RGB frames of a video, with square pixels, `fps` a second.

        Shape:  (T, H, W, 3) uint8, of frames.
        Raises: InputError if it cannot be read, or has another shape.
        """
        scores_K = views.average(self._outputs(video, fps)[:, : len(self.labels)])
        order = np.argsort(-scores_K, kind="stable").tolist()
        return {self.labels[number]: float(scores_K[number]) for number in order}

    def features(self, video: Path | str | NDArray[np.uint8], fps: float = 0.0) -> NDArray[np.float32]:
        """The pooled features of a video, which the classifier sees: the mean over its views.

        Shape:  (C,)
        Raises: as `scores`.
        """
        mean_C: NDArray[np.float32] = self._outputs(video, fps)[:, len(self.labels) :].mean(0)
        return mean_C

    def _outputs(self, video: Path | str | NDArray[np.uint8], fps: float) -> NDArray[np.float32]:
        if isinstance(video, np.ndarray):
            return self._of_views(*self._of_array(video, fps), "")
        config, path = self.config, Path(video).expanduser()
        if not path.exists():
            raise InputError(f"there is no video {path}")
        with tempfile.TemporaryDirectory(prefix="frames-") as folder:
            job = frame_file.Job(path, Path(folder) / "frames", encoding.FrameSettings.of(config.cache))
            limits = bounds.of(config.runtime)
            (seen,) = workers.each(frame_file.spool, [job], config.runtime.video_timeout_s, "frame", limits)
            if isinstance(seen, workers.Lost) or seen.status != "ok":
                raise InputError(f"{path} cannot be read: {seen.reason}")
            return self._of_views(partial(seen.frames, job.file), seen.timing, path.name)

    def _of_array(self, frames_THWC: NDArray[np.uint8], fps: float) -> tuple[FramesAt, Stretch]:
        if frames_THWC.ndim != 4 or frames_THWC.shape[3] != 3 or frames_THWC.dtype != np.uint8:
            shape = f"{frames_THWC.dtype} of the shape {frames_THWC.shape}"
            raise InputError(f"frames are uint8 of the shape (T, H, W, 3), not {shape}")
        cache = self.config.cache

        def frame_at(index: int) -> NDArray[np.uint8]:
            small = encoding.resize(frames_THWC[index], cache)
            jpeg = np.frombuffer(encoding.encode(small, cache.jpeg_quality), np.uint8)
            return encoding.decode(jpeg, *small.shape[:2])

        return lambda indices: list(map(frame_at, indices.tolist())), timing.whole(len(frames_THWC), fps)

    def _of_views(self, frames_at: FramesAt, stretch: Stretch, video_id: str) -> NDArray[np.float32]:
        clips = loader.views_of(frames_at, stretch, video_id, self.config.clip, self.config.evaluate)
        return np.stack(list(inference.outputs(self._network, clips, self.config.evaluate.batch_clips)))


def load(
    checkpoint: str = "champion",
    workspace_dir: Path | str = "workspace",
    overrides: Mapping[str, object] | None = None,
) -> Recogniser:
    """The network of the champion, of another entry, of a checkpoint file, or of published weights by name.

    `overrides` are settings of evaluate and runtime, such as {"evaluate.num_clips": 1}.

    Raises: InputError if there is no such entry or file, or the weights are not fetched yet; ConfigError if a
            setting does not fit.
    """
    changed = dict(overrides or {})
    request = Request(
        source=Path(), workspace_dir=Path(workspace_dir).expanduser(), checkpoint=checkpoint, overrides=changed
    )
    check(request)
    runtime = {key: value for key, value in changed.items() if key.startswith("runtime.")}
    cuda.load(resolve("tiny", runtime).runtime)  # before anything imports mindspore
    workspace = Workspace(request.workspace_dir, only_read=True)
    trained = trained_network.find(checkpoint, workspace, "checkpoint")
    config = trained_network.settings(trained.name, trained.settings, "", changed)
    return Recogniser(trained.name, trained.path, trained.described.labels, config, workspace)
