"""The curves of a training over its steps: loss, top-1 and learning rate; and a picture of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_core.artifacts.files import replacing

MOST_POINTS = 1000
"""most points of a curve: more would look the same"""
STYLES: dict[str, dict[str, Any]] = {
    "each": {"color": "0.8", "label": "train, each step"},
    "train": {"color": "C0", "marker": "o", "markersize": 3, "label": "train, mean of an epoch"},
    "val": {"color": "C1", "marker": "s", "markersize": 3, "label": "val"},
    "rate": {"color": "C2"},
}
"""how matplotlib draws each curve; the points of one with a marker are seen one by one on a page, too"""

Line = dict[str, Any]


class Curve(NamedTuple):
    """Points of one curve."""

    name: str
    """one of `STYLES`"""
    steps: list[float]
    values: list[float]


def of_training(steps: list[Line], epochs: list[Line]) -> dict[str, list[Curve]]:
    """The curves of each chart by its title: every step, the means of the epochs, and the validations.

    There is no chart of the learning rate where there was none: L-BFGS logs 0.
    """
    validated = [epoch for epoch in epochs if "val_top1" in epoch]
    charts = {
        "loss": [
            _curve("each", steps, "loss"),
            _curve("train", epochs, "loss"),
            _curve("val", validated, "val_loss"),
        ],
        "top-1": [_curve("train", epochs, "top1"), _curve("val", validated, "val_top1")],
    }
    if any(step["lr"] for step in steps):
        charts["learning rate"] = [_curve("rate", steps, "lr")]
    return {title: [curve for curve in curves if curve.steps] for title, curves in charts.items()}


def _curve(name: str, lines: list[Line], figure: str) -> Curve:
    """One figure of the lines over the steps; of too many lines, some and the last one."""
    shown = [*lines[: -1 : len(lines) // MOST_POINTS + 1], *lines[-1:]]
    return Curve(name, [line["step"] for line in shown], [line[figure] for line in shown])


def draw(path: Path, steps: list[Line], epochs: list[Line]) -> None:
    """Write a picture of the curves."""
    # They take a second to load, and a page needs the curves alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    charts = of_training(steps, epochs)
    heights = [2 if title == "learning rate" else 3 for title in charts]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    all_axes = figure.subplots(len(charts), 1, sharex=True, height_ratios=heights)
    for axes, (title, curves) in zip(all_axes, charts.items(), strict=True):
        for curve in curves:
            axes.plot(curve.steps, curve.values, **STYLES[curve.name])
        axes.set_ylabel(title)
        axes.grid(visible=True, color="0.92")
        if title == "learning rate":
            axes.set_ylim(bottom=0)
        else:
            axes.legend(loc="best", fontsize="small")
        if title == "top-1":
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    all_axes[-1].set_xlabel("step")
    FigureCanvasAgg(figure)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=100)
