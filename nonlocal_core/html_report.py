"""The HTML report of a registered run: WORKSPACE/reports/VERSION.html, one file that needs nothing else.

python -m nonlocal_core.html_report [champion | v0001 | all] [--attention 3] workspace_dir=DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core import command, registry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import ConfigError
from nonlocal_core.report.run_report import VIDEOS, write


def run(args: argparse.Namespace) -> Iterator[str]:
    """Make reports as a command line asks, and yield the path of each.

    Raises: InputError if there is no such workspace or entry; ConfigError if N is below 0.
    """
    if args.attention < 0:
        raise ConfigError(f"--attention {args.attention}: name a number of videos, or 0 for none")
    registry.check_folder(args.workspace)
    workspace = Workspace(args.workspace, only_read=True)
    names = list(registry.entries(workspace)) if args.entry == "all" else [args.entry]
    for name in names:
        yield str(write(workspace, name, args.attention, args.out))


def main(words: list[str]) -> int:
    """Make reports as a command line asks; gives the exit status."""
    parser = command.parser("nonlocal_core.html_report", __doc__)
    command.add_workspace(parser)
    parser.add_argument("entry", nargs="?", default="champion", help="champion (default), v0001, … or all")
    parser.add_argument(
        "--attention",
        type=int,
        default=VIDEOS,
        metavar="N",
        help="videos whose attention is drawn (default: 3)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the pages (default: WORKSPACE/reports)")
    return command.show(run(parser.parse_args(command.with_workspace(words, lambda args: Path(args[0]).is_dir()))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
