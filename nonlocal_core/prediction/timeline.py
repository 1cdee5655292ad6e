"""What a network says over the time of a long video, as a small picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nonlocal_core.artifacts.files import replacing
from nonlocal_core.prediction.results import Prediction
from nonlocal_core.report.fonts import letter

MOST_LABELS = 8
BLUES = LinearSegmentedColormap.from_list("blues", ["#f1f4fb", "#9dbcf7", "#2563eb", "#173d99"])


def draw(one: Prediction, path: Path) -> None:
    """Write a PNG: a row a label, from the start of the video to its end; the darker, the higher the score.

    Shown are the labels that were best somewhere, the longest first.
    """
    labels = _labels(one)
    end_s = one.windows[-1].end_s
    figure = Figure(figsize=(9, 0.75 + 0.34 * len(labels)), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    middles = np.array([(window.start_s + window.end_s) / 2 for window in one.windows])
    edges = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [end_s]])
    scores = [[_score(one, number, label) for number in range(len(one.windows))] for label in labels]
    rows = np.arange(len(labels) + 1)
    mesh = axes.pcolormesh(edges, rows, np.array(scores), cmap=BLUES, vmin=0, vmax=1)
    for row in rows[1:-1]:
        axes.axhline(row, color="white", linewidth=3)
    lettered = [letter(label) for label in labels]
    axes.set_yticks(rows[:-1] + 0.5, [one.text for one in lettered])
    for tick, one_label in zip(axes.get_yticklabels(), lettered, strict=True):
        tick.set(fontproperties=one_label.properties(10))
    axes.set(xlim=(0, end_s), ylim=(len(labels), 0), xlabel="seconds")
    axes.tick_params(length=0, colors="#444a55")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, aspect=12, pad=0.01, ticks=[0, 0.5, 1], format="%.1f")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors="#686d78")
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _labels(one: Prediction) -> list[str]:
    """The labels that are first in a window, the most frequent first."""
    firsts = [window.guesses[0].label for window in one.windows]
    return sorted(dict.fromkeys(firsts), key=firsts.count, reverse=True)[:MOST_LABELS]


def _score(one: Prediction, number: int, label: str) -> float:
    """The score of a label in a window; 0 where it is not among the labels that were asked for."""
    return next((guess.score for guess in one.windows[number].guesses if guess.label == label), 0.0)
