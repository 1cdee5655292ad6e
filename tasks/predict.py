"""predict as a Prefect task, in a process of its own."""

from __future__ import annotations

from pathlib import Path

from prefect import task

from nonlocal_core.errors import InputError
from nonlocal_core.prediction.predict import predict as predict_videos
from nonlocal_core.prediction.results import Predictions, Request, check, check_out, write
from nonlocal_core.process import child
from tasks import policy, report


@task(name="predict", **policy.options("predict"))
def predict(request: Request, out: Path | None = None) -> Predictions:
    """The best labels of every video, written to a file where one is named.

    Raises: InputError if no video could be read; the file says why.
    """
    report.show_in_prefect()
    check(request)
    check_out(out)
    made = child.call(predict_videos, request)
    if out is not None:
        write(made, out)
        made = made.model_copy(update={"out": str(out)})
    report.predictions(made)
    if all(one.status != "ok" for one in made.videos):
        first = made.videos[0]
        raise InputError(f"none of {len(made.videos)} videos could be predicted: {first.video} {first.reason}")
    return made
