"""The report of a registered run: one HTML file that needs no server and no network.

It is made from what lies in the workspace and can be made again at any time.  Nothing in it is a script, and its
policy forbids the browser to load anything.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from nonlocal_core import __version__
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import DamagedError
from nonlocal_core.evaluation import metrics
from nonlocal_core.registry.facts import Settings
from nonlocal_core.registry.lineage import text_of
from nonlocal_core.report import charts, run_facts, sheets
from nonlocal_core.report.run_facts import Run

FOLDER = "reports"
TEMPLATE = Path(__file__).with_name("report.html.j2")
FEW_LABELS = 24
"""labels up to which the confusion matrix is a table, and every label has its bar at once"""
SHOWN_LABELS = 12
"""of more labels: the worst and the best ones that are shown at once"""
SHOWN_VIDEOS = 6
"""best and worst ones"""
SHOWN_LEFT_OUT = 300


Row = dict[str, Any]
"""what the template shows of one thing"""


class Attention(NamedTuple):
    """A picture of what a network looks at in one video."""

    video_id: str
    title: str
    jpeg: bytes


class Figure(NamedTuple):
    """A figure of the summary."""

    key: str
    name: str
    value: float | None
    """None: not measured"""
    text: str
    note: str = ""


def path(workspace: Workspace, version: str) -> Path:
    """Where the report of an entry lies."""
    return workspace.root / FOLDER / f"{version}.html"


def write(workspace: Workspace, run: Run, attention: Sequence[Attention] = ()) -> Path:
    """Write the report of a run; an older one is replaced."""
    file = path(workspace, run.version)
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, render(workspace, run, attention).encode())
    return file


def render(workspace: Workspace, run: Run, attention: Sequence[Attention] = ()) -> str:
    """The page of a run."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}%"
    environment.filters["fact"] = text_of
    environment.globals["picture"] = _data_uri
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    by_label = _by_label(run)
    best, worst = _best_and_worst(workspace, run)
    left_out = run.left_out
    return template.render(
        run=run,
        figures=_figures(run),
        curves=_curves(run),
        by_label=by_label,
        few=len(by_label) <= 2 * SHOWN_LABELS,
        shown_labels=SHOWN_LABELS,
        confusion=_confusion(run),
        confused=_confused(run),
        chances=_chances(run),
        best=best,
        worst=worst,
        attention=attention,
        left_out=left_out.head(SHOWN_LEFT_OUT).to_dict("records"),
        num_left_out=len(left_out),
        settings=list(_settings(run.entry.config)),
        made_by=f"nonlocal-i3d {__version__}",
    )


def _data_uri(content: bytes) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _figures(run: Run) -> list[Figure]:
    """The summary: top-k, which the registry has, and what metrics.json adds to it."""
    tops = run.metrics.get("top", {})
    few = " (of 5 labels or fewer)" if len(run.labels) <= 5 else ""
    return [
        _share("top1", "top-1", run.evaluation.top1, _interval(tops.get("1"))),
        _share("top5", "top-5", run.evaluation.top5, _interval(tops.get("5")) + few),
        _share("mean_class_accuracy", "mean class accuracy", run.metrics.get("mean_class_accuracy")),
        _number("loss", "loss", run.metrics.get("loss")),
        _share("ece", "calibration error", run.metrics.get("ece"), "ECE, 0 is best"),
    ]


def _share(key: str, name: str, value: float | None, note: str = "") -> Figure:
    return Figure(key, name, value, "not measured" if value is None else f"{100 * value:.2f}%", note.strip())


def _number(key: str, name: str, value: float | None, note: str = "") -> Figure:
    return Figure(key, name, value, "not measured" if value is None else f"{value:.3f}", note)


def _interval(share: Row | None) -> str:
    if not share or not share.get("wilson"):
        return ""
    low, high = share["wilson"]
    return f"{100 * low:.1f} to {100 * high:.1f}%, 95% Wilson"


def _by_label(run: Run) -> list[Row]:
    """A row a label that has videos, the worst first."""
    return sorted(run.metrics.get("by_label", []), key=lambda row: float(row["top1"]))


def _confusion(run: Run) -> Row | None:
    """The matrix as rows of cells where there are few labels, else as a picture."""
    if "confusion" not in run.metrics:
        return None
    counts_KK = np.zeros((len(run.labels), len(run.labels)), np.int64)
    for label_id, taken_for, num in run.metrics["confusion"]:
        counts_KK[label_id, taken_for] = num
    if len(run.labels) > FEW_LABELS:
        return {"rows": None, "picture": charts.heat_map(counts_KK)}
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    rows = [
        (label, list(zip(counts_KK[number].tolist(), shares_KK[number].tolist(), strict=True)))
        for number, label in enumerate(run.labels)
    ]
    return {"rows": rows, "picture": None}


def _confused(run: Run) -> list[Row]:
    num_of = {row["label"]: row["num"] for row in run.metrics.get("by_label", [])}
    return [{**pair, "of": num_of[pair["label"]]} for pair in run.metrics.get("confused", [])]


def _chances(run: Run) -> Markup | None:
    bins = run.metrics.get("calibration")
    if not bins:
        return None
    return Markup(charts.chances([(one["confidence"], one["accuracy"], one["num"]) for one in bins]))


def _curves(run: Run) -> list[tuple[str, Markup]]:
    """Loss, top-1 and learning rate over the steps of the training."""

    def of(rows: list[Row], name: str) -> list[float]:
        return [float(row[name]) for row in rows]

    judged = [epoch for epoch in run.epochs if "val_top1" in epoch]
    step, epoch, val = of(run.steps, "step"), of(run.epochs, "step"), of(judged, "step")
    drawn = {
        "loss": charts.lines(
            "loss",
            [
                charts.Curve("each", step, of(run.steps, "loss")),
                charts.Curve("train", epoch, of(run.epochs, "loss"), dots=True),
                charts.Curve("val", val, of(judged, "val_loss"), dots=True),
            ],
        ),
        "top-1": charts.lines(
            "top-1",
            [
                charts.Curve("train", epoch, of(run.epochs, "top1"), dots=True),
                charts.Curve("val", val, of(judged, "val_top1"), dots=True),
            ],
            percent=True,
        ),
        "learning rate": charts.lines("learning rate", [charts.Curve("rate", step, of(run.steps, "lr"))]),
    }
    return [(name, Markup(svg)) for name, svg in drawn.items() if svg]


def _best_and_worst(workspace: Workspace, run: Run) -> tuple[list[Row], list[Row]]:
    """The videos whose own label got the highest scores and is first, and those whose got the lowest."""
    if run.scored is None:
        return [], []
    scores_NK, label_N = run.scores, run.label_ids
    own_N = scores_NK[np.arange(len(label_N)), label_N]
    is_right_N = metrics.rank(scores_NK, label_N) == 0
    ascending = np.argsort(own_N, kind="stable")
    worst = ascending[:SHOWN_VIDEOS].tolist()
    best = [place for place in ascending[::-1].tolist() if is_right_N[place] and place not in worst][:SHOWN_VIDEOS]
    reader = _reader(workspace, run)
    return [_video(run, reader, place) for place in best], [_video(run, reader, place) for place in worst]


def _reader(workspace: Workspace, run: Run) -> RecordReader | None:
    """The frames of the cache, if they are still there."""
    if run.videos is None:
        return None
    try:
        return RecordReader(workspace, run.entry.cache)
    except DamagedError:
        return None


def _video(run: Run, reader: RecordReader | None, place: int) -> Row:
    assert run.scored is not None
    row, scores_K = run.scored.iloc[place], run.scores[place]
    guesses = [
        (run.labels[label_id], float(scores_K[label_id]))
        for label_id in np.argsort(-scores_K, kind="stable")[:3].tolist()
    ]
    found: Row = {
        "video_id": str(row["video_id"]),
        "path": str(row["video_id"]),
        "label": run.labels[int(row["label_id"])],
        "score": float(scores_K[int(row["label_id"])]),
        "guesses": guesses,
        "sheet": None,
    }
    if reader is not None:
        (number,) = run_facts.row_numbers(run, [found["video_id"]])
        found["path"] = str(reader.rows["path"].iloc[number])
        try:
            found["sheet"] = sheets.sheet(reader, number)
        except (DamagedError, IndexError):
            found["sheet"] = None
    return found


def _settings(config: Settings) -> Iterator[tuple[str, list[tuple[str, str, bool]]]]:
    """Each section of the settings with its rows: name, value, whether it differs from the default."""
    for section, values in config.items():
        field = Config.model_fields.get(section)
        usual: dict[str, Any] = {}
        if field is not None and isinstance(field.default, BaseModel):
            usual = field.default.model_dump(mode="json")
        yield section, [(name, _value(value), usual.get(name) != value) for name, value in values.items()]


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
