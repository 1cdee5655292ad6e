"""Tables, pages and progress of a stage in the Prefect UI; and the event of a new champion.

The UI takes cells and descriptions for Markdown, and loads the pictures in it.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import TaskRunContext
from prefect.events import emit_event

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Entry, RecordCache, Reference
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import DamagedError
from nonlocal_core.escaping import in_markdown
from nonlocal_core.prediction.results import Guess, Predictions
from nonlocal_core.process.progress import TICKS
from nonlocal_core.report import run_page, run_report
from tasks import console

log = logging.getLogger("nonlocal_core.tasks")

UPDATE_EVERY_S = 5.0
NEW_CHAMPION = "nonlocal.registry.new-champion"
"""event whose payload has `version` and `text`"""
DECISION = "Decision needed"
"""name of the state of a run whose entry waits for a person"""
MOST_LINES = 20
"""greatest number of lines on broken videos in the log of a run; the page has more"""
MOST_ROWS = 1000
"""greatest number of rows of a table in the UI"""


def table(reference: Reference) -> None:
    """Show a reference's fields as a table of the running task."""
    rows = [
        {"field": name, "value": in_markdown(value)} for name, value in reference.model_dump(mode="json").items()
    ]
    create_table_artifact(rows, key=f"{reference.stage}-result", description=f"What {reference.stage} made")


def lines(key: str, texts: Sequence[str], of_what: str) -> None:
    """Show some lines as a list of the running task."""
    markdown = "\n".join(f"- {in_markdown(text)}" for text in texts)
    create_markdown_artifact(markdown, key=key, description=in_markdown(of_what))


def page(key: str, file: Path) -> None:
    """Show a Markdown file as a page of the running task."""
    create_markdown_artifact(file.read_text(encoding="utf-8"), key=key, description=in_markdown(file))


def picture(key: str, file: Path) -> None:
    """Show a PNG file as a page of the running task."""
    data = base64.b64encode(file.read_bytes()).decode()
    create_markdown_artifact(f"![{key}](data:image/png;base64,{data})", key=key, description=in_markdown(file))


def versions(workspace: Workspace) -> frozenset[str]:
    """The entries that are decided on; none if the registry cannot be read, which the stage says."""
    try:
        return frozenset(decision.version for decision in registry.read(workspace).decisions)
    except DamagedError:
        return frozenset()


def run(
    workspace: Workspace, cache: RecordCache, version: str, headline: str, facts: dict[str, str], *, is_made: bool
) -> None:
    """Show what a run came to as a page of the running flow, and say it in its log.

    `is_made` says whether the run has made the entry; if not, it was there.  If this fails, the run is as good as
    it was.
    """
    try:
        changes = run_page.changes(workspace, cache, version, is_made=is_made)
        log.info("%s", headline)
        log.info("%s", changes)
        for name in changes.newly_broken[:MOST_LINES]:
            log.warning("%s cannot be used: %s", name, changes.broken[name])
        page = run_page.text(headline, facts, changes)
        create_markdown_artifact(page, key="what-it-came-to", description=in_markdown(headline))
    except Exception as error:
        log.warning("the page of this run could not be made: %s: %s", type(error).__name__, error)


def new_champion(entry: Entry, workspace: Workspace) -> None:
    """Send Prefect's automations the event of a new champion."""
    resource = {"prefect.resource.id": f"nonlocal.registry.{workspace.root}"}
    text = f"{entry.version} is the champion: {entry.reason}"
    emit_event(NEW_CHAMPION, resource, payload={"version": entry.version, "text": text})


def page_of_entry(workspace: Workspace, version: str, runtime: RuntimeConfig) -> None:
    """Make the HTML report of an entry and link it in the UI; if that fails, the entry stays registered."""
    try:
        file = run_report.write_once(workspace, version, runtime)
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
        log.warning("the report of %s could not be made (%s): python -m nonlocal_core.html_report", version, fault)
        return
    create_link_artifact(file.as_uri(), link_text=file.name, key="html-report", description=in_markdown(file))


def predictions(results: Predictions) -> None:
    """Show the best label of each video as a table of the running task."""
    rows = [
        {
            "video": in_markdown(video.video),
            "label": in_markdown(guess.label),
            "score": f"{guess.score:.2%}",
            "status": video.status,
        }
        for video in results.videos[:MOST_ROWS]
        for guess in video.guesses[:1] or [Guess(label=video.reason, score=0.0)]
    ]
    create_table_artifact(rows, key="predictions", description=in_markdown(f"{results.entry}, {results.protocol}"))


class ProgressArtifacts(logging.Handler):
    """Shows progress records as Prefect's progress bars, with at most one update in `UPDATE_EVERY_S`."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.shown: dict[tuple[UUID, str], tuple[UUID, float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Create or update the progress bar of the running task; outside of a task, do nothing."""
        context = TaskRunContext.get()
        progress = getattr(record, "progress", None)
        if context is None or progress is None:
            return
        name = (context.task_run.id, progress["what"])
        percent = 100.0 * progress["done"] / max(progress["total"], 1)
        text = _how_far(progress)
        try:
            if name not in self.shown:
                bar_id = create_progress_artifact(percent, key=f"{progress['stage']}-progress", description=text)
                assert isinstance(bar_id, UUID), "called from a synchronous task"
                self.shown[name] = (bar_id, time.monotonic())
            elif percent >= 100 or time.monotonic() - self.shown[name][1] >= UPDATE_EVERY_S:
                update_progress_artifact(self.shown[name][0], percent, description=text)
                self.shown[name] = (self.shown[name][0], time.monotonic())
        except Exception:
            self.handleError(record)  # a bar that cannot be shown must not stop the work


def _how_far(progress: dict[str, Any]) -> str:
    """The counts, the remaining time, and the figures of a progress record."""
    parts = [f"{progress['done']} of {progress['total']} {progress['unit']}"]
    if progress["done"] < progress["total"]:
        left_s = progress["eta_s"]
        parts.append(f"about {left_s:.0f} s left" if left_s < 120 else f"about {left_s / 60:.0f} min left")
    return ", ".join([*parts, progress["figures"]] if progress["figures"] else parts)


def show_in_prefect() -> None:
    """Send the library's log and progress to the UI and the command; every task calls this, once is enough."""
    console.speak()
    console.say_mistakes_in_one_line()
    logging.getLogger("nonlocal_core").setLevel(logging.INFO)
    ticks = logging.getLogger(TICKS)
    if not any(isinstance(handler, ProgressArtifacts) for handler in ticks.handlers):
        ticks.addHandler(ProgressArtifacts())
