"""predict as a Prefect task, in a process of its own."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from nonlocal_core.errors import InputError
from nonlocal_core.prediction.predict import predict as predict_videos
from nonlocal_core.prediction.results import Predictions, Request, check, check_out, write
from nonlocal_core.process import child
from tasks import policy, report


@task(name="predict", task_run_name="predict", **policy.options("predict"))
def predict(request: Request, out: Path | None = None) -> Predictions:
    """The best labels of every video, also written to `out` if it is given.

    Raises: InputError if no video could be read; `out` gives the reasons.
    """
    report.show_in_prefect()
    file = out and out.expanduser()
    check(request)
    check_out(file)
    predictions = child.call(predict_videos, request)
    if file is not None:
        write(predictions, file)
        predictions = predictions.model_copy(update={"out": str(file)})
    report.predictions(predictions)
    videos = predictions.videos
    if all(video.status != "ok" for video in videos):
        first = videos[0]
        raise InputError(f"none of {len(videos)} videos could be predicted: {first.video} {first.reason}")
    return predictions
