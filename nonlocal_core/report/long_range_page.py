"""The figures of the long-range set: JSON for programs (fractions 0…1), a page and a picture for people."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nonlocal_core import __version__
from nonlocal_core.artifacts.files import sha256_of, write_atomically, write_json
from nonlocal_core.artifacts.keys import digest_of, key_of
from nonlocal_core.artifacts.references import Checkpoint, Evaluation
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.long_range import FILE, Plan
from nonlocal_core.data.layouts import long_range as videos
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import long_range
from nonlocal_core.evaluation.long_range import Cell, LongRange
from nonlocal_core.report import markdown

VERSION = 1
Trained = tuple[Cell, tuple[Checkpoint, Evaluation] | None]
"""a training with what it made; None if it diverged"""
Figures = dict[str, Any]
TITLES = {
    "far": "Bars that are far apart",
    "near": "Control: bars near each other",
    "left": "Control: the left bar alone",
    "right": "Control: the right bar alone",
    "single": "Control: one frame",
    "shuffled": "Control: shuffled frames",
    "motion": "The plain motions",
}
"""sets in the order of the page"""


def make(trained: Sequence[Trained], plan: Plan, quick: bool, workspace: Workspace) -> LongRange:
    """The figures of all trainings of a plan."""
    scored = [(cell, artifacts[1] if artifacts else None) for cell, artifacts in trained]
    inputs = [
        f"{cell.videos} {cell.name} {cell.seed} {score.digest if score else 'diverged'}" for cell, score in scored
    ]
    key = key_of(LongRange.stage, VERSION, [plan], inputs)

    def build(folder: Path) -> LongRange:
        figures = _figures(trained, plan, quick, workspace)
        write_json(folder / LongRange.FIGURES, figures)
        write_atomically(folder / LongRange.PAGE, page(figures).encode())
        return LongRange(key=key, digest=digest_of(*inputs), path=f"{LongRange.stage}/{key}")

    return workspace.build(LongRange, key, build, {"evaluations": [score.path for _, score in scored if score]})


def write(result: LongRange, workspace: Workspace, out: Path) -> None:
    """Write the figures to a person's file.

    Raises: InputError if it cannot be written.
    """
    try:
        write_atomically(out.expanduser(), (workspace.path(result) / LongRange.FIGURES).read_bytes())
    except OSError as error:
        raise InputError(f"out={out} cannot be written: {error.strerror}") from None


def _figures(trained: Sequence[Trained], plan: Plan, quick: bool, workspace: Workspace) -> Figures:
    top1: dict[tuple[str, str], list[float]] = {}
    seconds: dict[tuple[str, str], float] = {}
    guessing = {row.key: row.guessing for row in plan.rows}
    for cell, artifacts in trained:
        key = cell.videos, cell.name
        top1.setdefault(key, []).append(artifacts[1].top1 if artifacts else guessing[key])
        took = sum(workspace.provenance(artifact)["seconds"] for artifact in artifacts or ())
        seconds[key] = seconds.get(key, 0.0) + took
    rows = [
        {
            "videos": row.videos,
            "name": row.name,
            "tables": row.tables,
            "top1": top1[row.key],
            "mean": float(np.mean(top1[row.key])),
            "std": long_range.spread(top1[row.key]),
            "gain": _gain(plan, top1, row.key),
            "seconds": round(seconds[row.key], 1),
        }
        for row in plan.chosen(quick)
    ]
    return {
        "rows": rows,
        "bars": [bar._asdict() for bar in long_range.bars(plan, top1)],
        "seeds": plan.seeds_of(quick),
        "quick": quick,
        "num_val": {"far": plan.num_val, "motion": plan.num_motion_val},
        "num_diverged": sum(artifacts is None for _, artifacts in trained),
        "seconds": round(sum(seconds.values()), 1),
        "plan": plan.model_dump(mode="json"),
        "plan_sha256": sha256_of(FILE),
        "version": __version__,
    }


def _gain(plan: Plan, top1: long_range.Top1, key: tuple[str, str]) -> Figures | None:
    others = top1.get((key[0], plan.baseline))
    return long_range.gain(top1[key], others)._asdict() if others and key[1] != plan.baseline else None


def page(figures: Figures) -> str:
    """The page: the bars, and a table of each set."""
    in_words = {True: "met", False: "missed", None: "not in this run"}
    bars = [(bar["asked"], bar["came_out"], in_words[bar["met"]]) for bar in figures["bars"]]
    parts = ["## The bars", markdown.table(["bar, fixed beforehand", "came out", ""], bars)]
    for videos_of, title in TITLES.items():
        rows = [_cells(row) for row in figures["rows"] if row["videos"] == videos_of]
        if rows:
            head = ["network", "tables", "top-1, mean", "sd", "seeds", "against no blocks (points)"]
            parts += [f"## {title}", markdown.table(head, rows)]
    seeds = ", ".join(map(str, figures["seeds"]))
    parts.append(
        f"Top-1 on val in per cent; of {figures['num_val']['far']} videos with bars, where guessing gives 50, and"
        f" {figures['num_val']['motion']} of motions, where it gives 25. Seeds {seeds}. In brackets: 95 %, by"
        " Student's t-test, paired by seed."
    )
    parts.append(
        f"Plan: `nonlocal_core/config/long_range.json`, SHA-256 `{figures['plan_sha256'][:16]}…`."
        f" {sum(len(row['top1']) for row in figures['rows'])} trainings, {figures['seconds'] / 60:.0f} minutes of"
        f" training and scoring. {figures['num_diverged'] or 'None'} of them diverged"
        + (" and counted as guessing." if figures["num_diverged"] else ".")
    )
    return "\n\n".join(parts) + "\n"


def _cells(row: Figures) -> tuple[str, ...]:
    gain, points = row["gain"], "–"
    if gain:
        points = f"{100 * gain['mean']:+.1f}"
        if gain["low"] is not None:
            points += f" ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"
    seeds = " ".join(f"{100 * value:.0f}" for value in row["top1"])
    return (
        *(row["name"], ", ".join(row["tables"]), f"{100 * row['mean']:.1f}", f"{100 * row['std']:.1f}"),
        *(seeds, points),
    )


def picture(figures: Figures) -> bytes:
    """The frames of one video, and below them the mean of each row with its seeds as dots, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in figures["rows"] if row["videos"] != "motion"]
    figure = Figure(figsize=(8, 2.2 + 0.27 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=[1.5, 0.27 * len(rows)])
    frames_THWC = videos.long_range_frames("far", True, False, np.random.default_rng(1))
    strip = np.pad(frames_THWC, ((0, 0), (0, 0), (0, 4), (0, 0)), constant_values=255)
    above.imshow(np.concatenate(list(strip), axis=1))
    above.set_title("the six frames of a video; both bars change their colour, label: different", fontsize=9)
    above.axis("off")
    for place, row in enumerate(rows):
        below.barh(place, row["mean"], color="C0" if row["videos"] == "far" else "0.7", height=0.7)
        below.plot(row["top1"], [place] * len(row["top1"]), ".", color="0.15", markersize=5)
    names = [row["name"] + ("" if row["videos"] == "far" else f" [{row['videos']}]") for row in rows]
    below.set_yticks(range(len(rows)), names, fontsize=8)
    below.invert_yaxis()
    below.axvline(0.5, color="0.4", linestyle=":")
    below.set_xlim(0, 1.02)
    below.set_xlabel("top-1 on val; dots: seeds; dotted: guessing", fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, metadata={"Software": None})
    return drawn.getvalue()


def of_file(file: Path) -> Figures:
    """The figures that `out` of the flow has."""
    return dict(json.loads(file.read_bytes()))
