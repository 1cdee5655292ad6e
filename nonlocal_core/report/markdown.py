"""Markdown pages: the report of an evaluation, and the decision on a registry entry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.escaping import in_markdown
from nonlocal_core.evaluation import headline
from nonlocal_core.evaluation.figures import Figures
from nonlocal_core.registry.entries import entries, line_of
from nonlocal_core.registry.lineage import in_words, lineage
from nonlocal_core.registry.state_file import read

LAST_ENTRIES = 20
"""number of entries that the page of a decision lists"""


def write(folder: Path, evaluation: Evaluation, figures: Figures, split: pd.DataFrame) -> None:
    """Write the page: figures with their denominators, labels, confusions, calibration, and what was left out."""
    left_out = split.loc[split["status"] != "ok", ["video_id", "label", "status", "reason"]]
    confused = ((pair["label"], pair["taken_for"], pair["num"]) for pair in figures["confused"])
    worst = (
        (video["path"], video["label"], f"{video['score']:.3f}", video["taken_for"], f"{video['other_score']:.3f}")
        for video in figures["worst"]
    )
    bins = (
        (f"{row['above']:.1%}", row["num"], f"{row['confidence']:.2%}", f"{row['accuracy']:.2%}")
        for row in figures["calibration"]
    )
    parts = [
        "# Evaluation",
        f"- Protocol: {in_markdown(evaluation.conditions)}",
        f"- {in_markdown(evaluation.coverage)}",
        f"- Computed with {in_markdown(evaluation.engine or 'an earlier version')}",
        *(f"- {line}" for line in summary(figures)),
        f"- Checkpoint and cache: see artifact.json beside this page, key {evaluation.key}",
        f"Every figure is of these {evaluation.num_scored} videos. Ranges: 95 % confidence, by Wilson's formula"
        " for top-k and labels, by bootstrap for the others. Guessing: the most frequent label each time.",
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
    """One line for each main figure."""
    num_labels = len(figures["by_label"])
    lines = []
    for k, share in figures["top"].items():
        few = f", of only {num_labels} labels with videos" if num_labels <= int(k) else ""
        if k == "1":
            lines.append(f"top-1: {headline.top1(share['value'], figures['num_scored'], figures['guessing'])}")
        elif headline.is_shown(int(k), len(figures["labels"])):
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
    """A table in Markdown, whose cells are shown as they are; "None." if it has no rows."""
    cells = [[in_markdown(cell) for cell in row] for row in rows]
    if not cells:
        return "None."
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in cells])


def labels(rows: Sequence[Figures]) -> str:
    """The table of the labels that have videos."""
    ks = [name for name in rows[0] if name.startswith("top")]
    return table(
        ["label", "videos", *(f"top-{name[3:]}" for name in ks), f"top-{ks[0][3:]} with 95 % confidence"],
        ((row["label"], row["num"], *(f"{row[name]:.2%}" for name in ks), _range(row["wilson"])) for row in rows),
    )


def _range(ends: Sequence[float]) -> str:
    return f"{ends[0]:.2%} to {ends[1]:.2%}"


def decision(workspace: Workspace, version: str) -> str:
    """The decision on an entry with its reason, the other entries of its line, and its lineage, as Markdown."""
    state, by_version = read(workspace), entries(workspace)
    line = line_of(by_version[version])
    rows = [
        (other, f"{scored.top1:.2%}", f"{scored.num_scored} of {scored.num_videos}", ", ".join(names), past.reason)
        for other, facts in by_version.items()
        if line_of(facts) == line and (past := state.decision(other))
        for scored, names in [(facts.evaluation, state.names(other))]
    ]
    decided = state.decision(version)
    outcome = "the champion" if state.champion == version else f"not the champion, which is {state.champion}"
    parts = [
        f"# {version}: {outcome}",
        *([f"{in_markdown(decided.reason)}.", f"Rule: {in_markdown(decided.rule)}."] if decided else []),
        f"## Line {line}",
        table(["entry", "top-1", "videos scored", "aliases", "decision"], rows[-LAST_ENTRIES:]),
        "## Lineage",
        in_words(lineage(workspace, version)),
    ]
    return "\n\n".join(parts) + "\n"
