"""The curves of a training as a picture: loss, top-1 and learning rate over the steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nonlocal_core.artifacts.files import replacing

MOST_POINTS = 2000
"""most points of a curve: more would look the same"""

Line = dict[str, Any]


def draw(path: Path, lines: list[Line], epochs: list[Line]) -> None:
    """Write a picture of the curves: every step in grey, the means of the epochs, and the validations."""
    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, top1, rate = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    shown = lines[:: len(lines) // MOST_POINTS + 1]
    validated = [epoch for epoch in epochs if "val_top1" in epoch]
    percent = [{**epoch, "top1": 100 * epoch["top1"]} for epoch in epochs]
    loss.plot(_column(shown, "step"), _column(shown, "loss"), color="0.8", label="train, each step")
    loss.plot(
        _column(epochs, "step"), _column(epochs, "loss"), "o-", markersize=3, label="train, mean of an epoch"
    )
    top1.plot(
        _column(percent, "step"), _column(percent, "top1"), "o-", markersize=3, label="train, mean of an epoch"
    )
    if validated:
        val_top1 = [100 * epoch["val_top1"] for epoch in validated]
        loss.plot(_column(validated, "step"), _column(validated, "val_loss"), "s-", markersize=3, label="val")
        top1.plot(_column(validated, "step"), val_top1, "s-", markersize=3, label="val")
    rate.plot(_column(shown, "step"), _column(shown, "lr"), color="C2")
    loss.set_ylabel("loss")
    top1.set(ylabel="top-1 (%)", ylim=(-2, 102))
    rate.set(ylabel="learning rate", xlabel="step")
    rate.set_ylim(bottom=0)
    for axes in (loss, top1):
        axes.legend(loc="best", fontsize="small")
    for axes in (loss, top1, rate):
        axes.grid(visible=True, color="0.92")
    FigureCanvasAgg(figure)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=100)


def _column(lines: list[Line], name: str) -> list[float]:
    return [line[name] for line in lines]
