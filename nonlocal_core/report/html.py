"""The report of a registered run: one HTML file that needs no server and no network.

It is made from the files of the workspace and can be made again at any time.  It contains no script, and its
content security policy forbids the browser to load anything.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from pydantic import BaseModel

from nonlocal_core import __version__
from nonlocal_core.artifacts.files import remove_unfinished, write_atomically
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data import transforms
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import DamagedError
from nonlocal_core.escaping import one_line
from nonlocal_core.evaluation import headline, metrics
from nonlocal_core.registry.facts import Settings
from nonlocal_core.registry.lineage import text_of
from nonlocal_core.report import charts, run_facts, video_files
from nonlocal_core.report.run_facts import Run
from nonlocal_core.training import curves

FOLDER = "reports"
TEMPLATE = Path(__file__).with_name("report.html.j2")
FEW_LABELS = 24
"""most labels for which the confusion matrix is a table; with more it is a picture"""
SHOWN_LABELS = 12
"""number of the worst labels, and of the best, that are shown at once if there are many"""
SHOWN_VIDEOS = 6
"""number of the best videos, and of the worst"""
SHOWN_LEFT_OUT = 300
SHEET_FRAMES = 6
"""frames of a video side by side in one picture"""
FRAME_PX = 120
"""greatest shorter side of such a frame"""
WIDEST = 16 / 9
"""greatest ratio of its width to its height; a wider frame is cut"""

Row = dict[str, Any]
"""values of one row or box of the page"""


class Attention(NamedTuple):
    """A picture of what a network looks at in one video."""

    video_id: str
    title: str
    jpeg: bytes


def path(workspace: Workspace, version: str) -> Path:
    """The path of an entry's report."""
    return workspace.root / FOLDER / f"{version}.html"


def write(workspace: Workspace, run: Run, attention: Sequence[Attention] = (), folder: Path | None = None) -> Path:
    """The path of a run's report, which is written now and replaces an older one."""
    file = folder / f"{run.version}.html" if folder else path(workspace, run.version)
    file.parent.mkdir(parents=folder is not None, exist_ok=True)
    remove_unfinished(file.parent)
    write_atomically(file, render(workspace, run, attention).encode())
    return file


def render(workspace: Workspace, run: Run, attention: Sequence[Attention] = ()) -> str:
    """The page of a run."""
    environment = Environment(
        autoescape=True,
        finalize=lambda value: one_line(value) if type(value) is str else value,  # Markup is ours
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = "{:.1%}".format
    environment.filters["fact"] = text_of
    environment.globals["picture"] = _data_uri
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    by_label = sorted(run.metrics.get("by_label", []), key=lambda row: float(row["top1"]))
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
        calibration=_calibration(run),
        best=best,
        worst=worst,
        attention=attention,
        left_out=left_out.head(SHOWN_LEFT_OUT).to_dict("records"),
        num_left_out=len(left_out),
        settings=list(_settings(run.entry.config)),
        made_by=f"nonlocal-i3d {__version__}",
    )


def _data_uri(content: bytes) -> Markup:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode()}")


def _figures(run: Run) -> list[Row]:
    """The summary: top-k from the registry, the other figures from metrics.json."""
    tops = run.metrics.get("top", {})
    top5 = _figure("top5", "top-5", run.evaluation.top5, _interval(tops.get("5")))
    return [
        _figure("top1", "top-1", run.evaluation.top1, _interval(tops.get("1")) + _beside_guessing(run)),
        *([top5] if headline.is_shown(5, len(run.labels)) else []),
        _figure("mean_class_accuracy", "mean class accuracy", run.metrics.get("mean_class_accuracy")),
        _figure("loss", "loss", run.metrics.get("loss"), form=".3f"),
        _figure("ece", "calibration error", run.metrics.get("ece"), "ECE, 0 is best"),
    ]


def _figure(key: str, name: str, value: float | None, note: str = "", form: str = ".2%") -> Row:
    text = "not measured" if value is None else f"{value:{form}}"
    return {"key": key, "name": name, "value": value, "text": text, "note": note.strip()}


def _beside_guessing(run: Run) -> str:
    """What guessing gives, and whether top-1 is better."""
    words = headline.top1(run.evaluation.top1, run.evaluation.num_scored, run.evaluation.guessing)
    return words[words.index(", guessing") :] if run.evaluation.guessing is not None else ""


def _interval(share: Row | None) -> str:
    if not share or not share.get("wilson"):
        return ""
    low, high = share["wilson"]
    return f"{100 * low:.1f} to {100 * high:.1f}%, 95% Wilson"


def _confusion(run: Run) -> Row | None:
    """The confusion matrix: rows of cells if there are few labels, else a picture."""
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


def _calibration(run: Run) -> Markup | None:
    bins = run.metrics.get("calibration")
    if not bins:
        return None
    return Markup(charts.calibration([(row["confidence"], row["accuracy"], row["num"]) for row in bins]))


def _curves(run: Run) -> list[tuple[str, Markup]]:
    """The charts of the training with their titles."""
    charted = curves.of_training(run.steps, run.epochs).items()
    return [
        (title, Markup(charts.lines(title, lines, percent=title == "top-1"))) for title, lines in charted if lines
    ]


def _best_and_worst(workspace: Workspace, run: Run) -> tuple[list[Row], list[Row]]:
    """The rightly classified videos with the highest scores for their labels, and all with the lowest."""
    if run.scored is None:
        return [], []
    scores_NK, label_N = run.scores, run.label_ids
    own_N = scores_NK[np.arange(len(label_N)), label_N]
    is_right_N = metrics.rank(scores_NK, label_N) == 0
    ascending = np.argsort(own_N, kind="stable")
    worst = ascending[:SHOWN_VIDEOS].tolist()
    best = [place for place in ascending[::-1].tolist() if is_right_N[place] and place not in worst][:SHOWN_VIDEOS]
    try:
        reader = None if run.videos is None else RecordReader(workspace, run.entry.cache)
    except DamagedError:  # the frames are gone
        reader = None
    return [_video(run, reader, place) for place in best], [_video(run, reader, place) for place in worst]


def _video(run: Run, reader: RecordReader | None, place: int) -> Row:
    assert run.scored is not None
    row, scores_K = run.scored.iloc[place], run.scores[place]
    guesses = [
        (run.labels[label_id], float(scores_K[label_id]))
        for label_id in np.argsort(-scores_K, kind="stable")[:3].tolist()
    ]
    video: Row = {
        "video_id": str(row["video_id"]),
        "path": str(row["video_id"]),
        "label": run.labels[int(row["label_id"])],
        "score": float(scores_K[int(row["label_id"])]),
        "guesses": guesses,
        "sheet": None,
    }
    if reader is not None:
        (number,) = run_facts.row_numbers(run, [video["video_id"]])
        video["path"] = str(reader.rows["path"].iloc[number])
        with contextlib.suppress(DamagedError, IndexError):
            video["sheet"] = _sheet(reader, number)
    return video


def _sheet(reader: RecordReader, row_number: int) -> bytes:
    """A JPEG of evenly spread frames of a cached video, side by side."""
    num_frames = int(reader.rows["num_frames"].iloc[row_number])
    indices = np.linspace(0, num_frames - 1, SHEET_FRAMES).round().astype(np.int64)
    frames = [_small(frame) for frame in reader.frames(row_number, indices)]
    return video_files.jpeg(np.concatenate(frames, axis=1), quality=72)


def _small(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame_HWC.shape[:2]
    spare = max(0, width - round(height * WIDEST))
    cut_HWC = frame_HWC[:, spare // 2 : width - (spare - spare // 2)]
    return transforms.resize_short_side(cut_HWC, min(FRAME_PX, *cut_HWC.shape[:2]))


def _settings(config: Settings) -> Iterator[tuple[str, list[tuple[str, str, bool]]]]:
    """Each section of the settings with its rows: name, value, whether it differs from the default."""
    for section, values in config.items():
        field = Config.model_fields.get(section)
        default: dict[str, Any] = {}
        if field is not None and isinstance(field.default, BaseModel):
            default = field.default.model_dump(mode="json")
        texts = {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}
        yield section, [(name, texts[name], default.get(name) != value) for name, value in values.items()]
