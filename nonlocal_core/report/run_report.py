"""The HTML report of a registered run: WORKSPACE/reports/VERSION.html, one file that needs nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import NonlocalError
from nonlocal_core.process import child
from nonlocal_core.report import html, run_facts
from nonlocal_core.report.run_facts import Run

log = logging.getLogger(__name__)

VIDEOS = 3
"""videos whose attention a report shows"""


def write(workspace: Workspace, name: str, num_attention: int = VIDEOS, folder: Path | None = None) -> Path:
    """The report of an entry, always written anew, into a folder if one is named.

    Raises: InputError if there is no such entry; DamagedError if the registry cannot be read.
    """
    run = run_facts.gather(workspace, name)
    return html.write(workspace, run, _attention(workspace, run, num_attention), folder)


def write_once(workspace: Workspace, version: str, runtime: RuntimeConfig) -> Path:
    """The report of a newly registered entry; an existing report stays as it is."""
    file = html.path(workspace, version)
    return file if file.exists() else write(workspace, version, runtime.attention_videos)


def _attention(workspace: Workspace, run: Run, num_videos: int) -> list[html.Attention]:
    """Pictures of what the network looks at, for videos evenly chosen from those that were scored.

    They are drawn in another process, because nothing else in a report needs MindSpore.
    """
    if not num_videos or run.scored is None or run.videos is None:
        return []
    chosen = np.unique(np.linspace(0, len(run.scored) - 1, num_videos).round().astype(int))
    video_ids = run.scored["video_id"].iloc[chosen].tolist()
    rows = run_facts.row_numbers(run, video_ids)
    try:
        return child.call(draw, workspace, run.version, run.entry.cache, rows)
    except NonlocalError as error:
        log.warning("the report of %s shows no attention: %s", run.version, error)
        return []


def draw(workspace: Workspace, version: str, cache: RecordCache, rows: list[int]) -> list[html.Attention]:
    """The pictures of some rows of a cache; imports MindSpore."""
    from nonlocal_core.report.attention_pictures import draw_cached

    return draw_cached(workspace, version, cache, rows)
