"""The HTML report of a registered run: WORKSPACE/reports/VERSION.html, one file that needs nothing else.

python -m nonlocal_core.html_report WORKSPACE [champion | v0001 | all] [--attention 3]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nonlocal_core import command, registry
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError, NonlocalError
from nonlocal_core.evaluation import html, run_facts
from nonlocal_core.evaluation.run_facts import Run
from nonlocal_core.process import child

if TYPE_CHECKING:
    from nonlocal_core.attention import Drawn

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
            drawn = child.call(draw, workspace, run.version, run.cache, rows, Path(folder))
        except NonlocalError as error:
            log.warning("the report of %s shows no attention: %s", run.version, error)
            return []
        return [html.Attention(one.video_id, one.title, (Path(folder) / one.file).read_bytes()) for one in drawn]


def draw(workspace: Workspace, version: str, cache: RecordCache, rows: list[int], folder: Path) -> list[Drawn]:
    """The pictures of some rows of a cache, in a folder; imports MindSpore."""
    from nonlocal_core.attention import draw_cached

    return draw_cached(workspace, version, cache, rows, folder)


def run(given: argparse.Namespace) -> Iterator[str]:
    """Make reports as a command line asks, line by line of what was made.

    Raises: InputError if there is no such workspace or entry; ConfigError if N is below 0.
    """
    if given.attention < 0:
        raise ConfigError(f"--attention {given.attention}: name a number of videos, or 0 for none")
    registry.check_folder(given.workspace)
    workspace = Workspace(given.workspace)
    names = list(registry.entries(workspace)) if given.entry == "all" else [given.entry]
    for name in names:
        yield str(write(workspace, name, given.attention))


def main(words: list[str]) -> int:
    """Make reports as a command line asks; gives the exit status."""
    parser = command.parser("html_report", __doc__)
    parser.add_argument("workspace", type=Path, help="the folder of the workspace")
    parser.add_argument("entry", nargs="?", default="champion", help="champion (default), v0001, … or all")
    parser.add_argument(
        "--attention",
        type=int,
        default=VIDEOS,
        metavar="N",
        help="videos whose attention is drawn (default: 3)",
    )
    return command.show(run(parser.parse_args(words)))


if __name__ == "__main__":
    from nonlocal_core import html_report  # by its own name: the process that draws looks `draw` up in it

    sys.exit(html_report.main(sys.argv[1:]))
