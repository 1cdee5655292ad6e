"""The HTML report of a registered run: WORKSPACE/reports/VERSION.html, one file that needs nothing else."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import NonlocalError
from nonlocal_core.process import child
from nonlocal_core.report import html, run_facts
from nonlocal_core.report.run_facts import Run

if TYPE_CHECKING:
    from nonlocal_core.report.attention_pictures import Drawn


log = logging.getLogger(__name__)


VIDEOS = 3
"""whose attention a report shows"""


def write(workspace: Workspace, name: str, num_attention: int = VIDEOS) -> Path:
    """The report of an entry, made now.

    Raises: InputError if there is no such entry; DamagedError if the registry cannot be read.
    """
    run = run_facts.gather(workspace, name)
    return html.write(workspace, run, _attention(workspace, run, num_attention))


def write_once(workspace: Workspace, version: str, runtime: RuntimeConfig) -> Path:
    """The report of an entry that was just registered; one that is there stays as it is."""
    file = html.path(workspace, version)
    return file if file.exists() else write(workspace, version, runtime.attention_videos)


def _attention(workspace: Workspace, run: Run, num_videos: int) -> list[html.Attention]:
    """Pictures of what the network looks at, for videos that are spread over those that were scored.

    They are drawn in a process of their own: nothing else of a report needs MindSpore.
    """
    if not num_videos or run.scored is None or run.videos is None:
        return []
    chosen = np.unique(np.linspace(0, len(run.scored) - 1, num_videos).round().astype(int))
    video_ids = run.scored["video_id"].iloc[chosen].tolist()
    rows = run_facts.row_numbers(run, video_ids)
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = child.call(draw, workspace, run.version, run.entry.cache, rows, Path(folder))
        except NonlocalError as error:
            log.warning("the report of %s shows no attention: %s", run.version, error)
            return []
        return [html.Attention(one.video_id, one.title, (Path(folder) / one.file).read_bytes()) for one in drawn]


def draw(workspace: Workspace, version: str, cache: RecordCache, rows: list[int], folder: Path) -> list[Drawn]:
    """The pictures of some rows of a cache, in a folder; imports MindSpore."""
    from nonlocal_core.report.attention_pictures import draw_cached

    return draw_cached(workspace, version, cache, rows, folder)
