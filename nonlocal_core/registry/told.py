"""A decision as a page for a person."""

from __future__ import annotations

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.registry.entries import entries, line_of
from nonlocal_core.registry.lineage import lineage, text_of
from nonlocal_core.registry.state import read

LAST_ENTRIES = 20
_HEAD = ("| entry | top-1 | videos scored | aliases | decision |", "| --- | --- | --- | --- | --- |")


def decision(workspace: Workspace, version: str) -> str:
    """What became of an entry and why, the entries of its line, and where it comes from, as Markdown."""
    state, known = read(workspace), entries(workspace)
    line = line_of(known[version])
    rows = [
        f"| {one} | {facts['evaluation']['top1']:.2%} | {facts['evaluation']['num_scored']} of"
        f" {facts['evaluation']['num_videos']} | {', '.join(state.names(one))} | {_cell(found.reason)} |"
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
