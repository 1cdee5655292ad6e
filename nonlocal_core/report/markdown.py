"""What a person reads after an evaluation: one Markdown page beside the scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.evaluation.figures import Figures
from nonlocal_core.registry.entries import entries, line_of
from nonlocal_core.registry.lineage import lineage, text_of
from nonlocal_core.registry.state_file import read


def write(folder: Path, evaluation: Evaluation, figures: Figures, split: pd.DataFrame) -> None:
    """Write the page: figures with their denominators, labels, confusions, calibration, and what was left out."""
    left_out = split.loc[split["status"] != "ok", ["video_id", "label", "status", "reason"]]
    confused = ((one["label"], one["taken_for"], one["num"]) for one in figures["confused"])
    worst = (
        (one["path"], one["label"], f"{one['score']:.3f}", one["taken_for"], f"{one['other_score']:.3f}")
        for one in figures["worst"]
    )
    bins = (
        (f"{one['above']:.1%}", one["num"], f"{one['confidence']:.2%}", f"{one['accuracy']:.2%}")
        for one in figures["calibration"]
    )
    parts = [
        "# Evaluation",
        f"- Protocol: {evaluation.protocol}",
        f"- {evaluation.coverage}",
        *(f"- {line}" for line in summary(figures)),
        f"- Checkpoint and cache: see artifact.json beside this page, key {evaluation.key}",
        f"Every figure is of these {evaluation.num_scored} videos. In brackets: 95 % confidence, by Wilson's"
        " formula for top-k and labels, by bootstrap for the others.",
        "## Labels",
        labels(figures["by_label"]),
        "## Most confused",
        table(["label", "taken for", "videos"], confused),
        "## Worst videos",
        table(["path", "label", "its score", "taken for", "with score"], worst),
        "## Calibration",
        table(["confidence above", "videos", "mean confidence", "right"], bins),
        "## Quarantined",
        table(list(left_out.columns), left_out.itertuples(index=False)),
    ]
    write_atomically(folder / Evaluation.REPORT, ("\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n").encode())


def summary(figures: Figures) -> list[str]:
    """The figures in one line each."""
    num_labels = len(figures["by_label"])
    lines = []
    for k, share in figures["top"].items():
        few = f", of only {num_labels} labels with videos" if num_labels <= int(k) else ""
        lines.append(f"top-{k}: {share['value']:.2%} ({_range(share['wilson'])}{few})")
    accuracy, loss = figures["mean_class_accuracy"], figures["loss"]
    lines += [
        f"mean class accuracy: {accuracy:.2%} ({_range(figures['mean_class_accuracy_bootstrap'])},"
        f" of {num_labels} labels with videos)",
        f"loss: {loss:.3f} ({figures['loss_bootstrap'][0]:.3f} to {figures['loss_bootstrap'][1]:.3f})",
        f"calibration error (ECE): {figures['ece']:.2%}",
    ]
    return lines


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, or that there is nothing to show."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    if not cells:
        return "None."
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in cells])


def labels(rows: Sequence[Figures]) -> str:
    """A row a label that has videos."""
    ks = [name for name in rows[0] if name.startswith("top")]
    return table(
        ["label", "videos", *(f"top-{name[3:]}" for name in ks), f"top-{ks[0][3:]} with 95 % confidence"],
        ((row["label"], row["num"], *(f"{row[name]:.2%}" for name in ks), _range(row["wilson"])) for row in rows),
    )


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.2%} to {ends[1]:.2%}"


LAST_ENTRIES = 20


_HEAD = ("| entry | top-1 | videos scored | aliases | decision |", "| --- | --- | --- | --- | --- |")


def decision(workspace: Workspace, version: str) -> str:
    """What became of an entry and why, the entries of its line, and where it comes from, as Markdown."""
    state, known = read(workspace), entries(workspace)
    line = line_of(known[version])
    rows = [
        f"| {one} | {facts.evaluation.top1:.2%} | {facts.evaluation.num_scored} of"
        f" {facts.evaluation.num_videos} | {', '.join(state.names(one))} | {_cell(found.reason)} |"
        for one, facts in known.items()
        if line_of(facts) == line and (found := state.decision(one))
    ]
    made = state.decision(version)
    steps = [
        f"- **{step.name}**: {'; '.join(f'{name} {text_of(value)}' for name, value in step.facts.items())}"
        for step in lineage(workspace, version)
    ]
    outcome = "the champion" if state.champion == version else f"not the champion, which is {state.champion}"
    parts = [
        f"# {version}: {outcome}",
        *([f"{made.reason}.", f"Rule: {made.rule}."] if made else []),
        f"## Line {line}",
        "\n".join([*_HEAD, *rows[-LAST_ENTRIES:]]),
        "## Lineage\n\n" + "\n".join(steps),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")  # of a label
