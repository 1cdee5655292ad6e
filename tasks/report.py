"""What the Prefect UI shows of a stage: tables, pages, how far it is; and the event of a new champion."""

from __future__ import annotations

import base64
import logging
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import TaskRunContext
from prefect.events import emit_event

from nonlocal_core.artifacts import Entry, Reference, Workspace
from nonlocal_core.progress import TICKS

UPDATE_EVERY_S = 5.0
NEW_CHAMPION = "nonlocal.registry.new-champion"
"""event whose payload has `version` and `text`"""


def table(reference: Reference) -> None:
    """Show a reference's fields as a table of the running task."""
    rows = [{"field": name, "value": str(value)} for name, value in reference.model_dump(mode="json").items()]
    create_table_artifact(rows, key=f"{reference.stage}-result", description=f"What {reference.stage} made")


def page(key: str, file: Path) -> None:
    """Show a Markdown file as a page of the running task."""
    create_markdown_artifact(file.read_text(), key=key, description=str(file))


def picture(key: str, file: Path) -> None:
    """Show a PNG file as a page of the running task."""
    data = base64.b64encode(file.read_bytes()).decode()
    create_markdown_artifact(f"![{key}](data:image/png;base64,{data})", key=key, description=str(file))


def decision(entry: Entry, workspace: Workspace, *, is_new: bool) -> None:
    """Show what the registry decided, and tell Prefect's automations if it is a new champion."""
    now = "the champion" if entry.is_champion else "not the champion"
    text = f"{entry.version} is {now}: {entry.reason}"
    create_markdown_artifact(
        f"# {entry.version}\n\n{text}\n\nIt lies in `{workspace.path(entry)}`.", key="decision", description=text
    )
    if is_new:
        resource = {"prefect.resource.id": f"nonlocal.registry.{workspace.root}"}
        emit_event(NEW_CHAMPION, resource, payload={"version": entry.version, "text": text})


class ProgressArtifacts(logging.Handler):
    """Turns progress records into Prefect's progress bars, at most one update in `UPDATE_EVERY_S`."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.shown: dict[tuple[UUID, str], tuple[UUID, float]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Create or update the bar of the running task; nothing outside of a task."""
        context = TaskRunContext.get()
        progress = getattr(record, "progress", None)
        if context is None or progress is None:
            return
        name = (context.task_run.id, progress["what"])
        percent = 100.0 * progress["done"] / max(progress["total"], 1)
        text = _how_far(progress)
        try:
            if name not in self.shown:
                made = create_progress_artifact(percent, key=f"{progress['stage']}-progress", description=text)
                assert isinstance(made, UUID), "called from a synchronous task"
                self.shown[name] = (made, time.monotonic())
            elif percent >= 100 or time.monotonic() - self.shown[name][1] >= UPDATE_EVERY_S:
                update_progress_artifact(self.shown[name][0], percent, description=text)
                self.shown[name] = (self.shown[name][0], time.monotonic())
        except Exception:
            self.handleError(record)  # a bar that cannot be drawn must not stop the work


def _how_far(progress: dict[str, Any]) -> str:
    """The counts, the time that is left, and the figures of a progress record."""
    parts = [f"{progress['done']} of {progress['total']} {progress['unit']}"]
    if progress["done"] < progress["total"]:
        left_s = progress["eta_s"]
        parts.append(f"about {left_s:.0f} s left" if left_s < 120 else f"about {left_s / 60:.0f} min left")
    return ", ".join([*parts, progress["figures"]] if progress["figures"] else parts)


def show_in_prefect() -> None:
    """Send the library's log and progress to the UI; called by every task, does its work once."""
    logging.getLogger("nonlocal_core").setLevel(logging.INFO)
    ticks = logging.getLogger(TICKS)
    if not any(isinstance(handler, ProgressArtifacts) for handler in ticks.handlers):
        ticks.addHandler(ProgressArtifacts())
