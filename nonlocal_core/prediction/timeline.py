"""The scores of a long video over time, as a small picture."""

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


def draw(prediction: Prediction, path: Path) -> None:
    """Write a PNG: a row a label, from the start of the video to its end; darker is a higher score.

    Only labels that are first in some window have a row, the most frequent first; at most `MOST_LABELS` of them.
    """
    labels = _labels(prediction)
    end_s = prediction.windows[-1].end_s
    figure = Figure(figsize=(9, 0.75 + 0.34 * len(labels)), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    middles = np.array([(window.start_s + window.end_s) / 2 for window in prediction.windows])
    edges = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [end_s]])
    scores = [[_score(prediction, number, label) for number in range(len(prediction.windows))] for label in labels]
    rows = np.arange(len(labels) + 1)
    mesh = axes.pcolormesh(edges, rows, np.array(scores), cmap=BLUES, vmin=0, vmax=1)
    for row in rows[1:-1]:
        axes.axhline(row, color="white", linewidth=3)
    shaped_labels = [letter(label) for label in labels]
    axes.set_yticks(rows[:-1] + 0.5, [label.text for label in shaped_labels])
    for tick, label in zip(axes.get_yticklabels(), shaped_labels, strict=True):
        tick.set(fontproperties=label.properties(10))
    axes.set(xlim=(0, end_s), ylim=(len(labels), 0), xlabel="seconds")
    axes.tick_params(length=0, colors="#444a55")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, aspect=12, pad=0.01, ticks=[0, 0.5, 1], format="%.1f")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, colors="#686d78")
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")


def _labels(prediction: Prediction) -> list[str]:
    """The labels that are first in a window, the most frequent first."""
    firsts = [window.guesses[0].label for window in prediction.windows]
    return sorted(dict.fromkeys(firsts), key=firsts.count, reverse=True)[:MOST_LABELS]


def _score(prediction: Prediction, number: int, label: str) -> float:
    """The score of a label in a window; 0 where it is not among the window's best labels."""
    return next((guess.score for guess in prediction.windows[number].guesses if guess.label == label), 0.0)
