"""Free the disk of a workspace: what no night of late has used, frames that no cache needs, engines without use.

python -m nonlocal_core.prune workspace_dir=DIR        say what would go, and what stays
python -m nonlocal_core.prune --keep-nights 30         the same with all that 30 nights did not use
python -m nonlocal_core.prune --keep-nights 30 --yes   drop it

Without --keep-nights and --older-than, only frames and activations go that no finished or unfinished folder needs.
With both, the longer of the two counts.  The last night stays in any case, and so does what an alias of the
registry points to, what it was made of, every entry, and what a running process uses.  The record of a video that
crashed or hung the decoder goes as well, so that the next run tries it again.  An engine, a network as
OpenVINO runs it, is of use while its checkpoint is there and OpenVINO has the same version.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core import command
from nonlocal_core.artifacts.references import Exported
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records import store
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.models import openvino_engine
from nonlocal_core.retention import folders, records
from nonlocal_core.retention.needed import Age


def prune(workspace: Path | str, age: Age | None = None, *, weights: bool = False, really: bool) -> Iterator[str]:
    """What goes and what stays, line by line.

    Raises: InputError if there is no cache; ConfigError if not even the last night would stay, or weights are to
            go whatever their age; DamagedError if it cannot be known what something needs.
    """
    if not (Path(workspace) / store.FOLDER).is_dir():
        raise InputError(f"there is no cache in {workspace}: name the folder of a workspace")
    opened, unneeded = Workspace(workspace), set[Path]()
    if age:
        age.check()
        old = folders.find(opened, age, weights=weights)
        yield from folders.lines(opened, old, really=really)
        unneeded = old.unneeded(really=really)
    elif weights:
        raise ConfigError("--weights: say how old they must be, with --keep-nights N or --older-than DAYS")
    yield from records.prune(opened, really=really, unneeded=unneeded)
    yield from _engines(opened, really=really)


def _engines(workspace: Workspace, *, really: bool) -> Iterator[str]:
    folders = sorted((workspace.root / Exported.stage).glob("*/"))
    dropped, freed = 0, 0
    for folder in folders:
        with workspace.locked(f"{Exported.stage}-{folder.name.removesuffix('.partial')}"):
            if folder.is_dir() and not openvino_engine.is_of_use(folder, workspace):
                dropped, freed = dropped + 1, freed + sum(file.stat().st_size for file in folder.iterdir())
                if really:
                    shutil.rmtree(folder)
    if folders:
        does = "freed" if really else "would free"
        yield f"{Exported.stage}: {does} {store.gigabytes(freed)}: {dropped} of {len(folders)} are of no use"


def main(words: list[str]) -> int:
    """Prune as a command line asks; gives the exit status."""
    parser = command.parser("nonlocal_core.prune", __doc__)
    command.add_workspace(parser)
    parser.add_argument(
        "--keep-nights",
        type=int,
        metavar="N",
        help="drop what none of the last N nights has used; a night is a day",
    )
    parser.add_argument("--older-than", type=int, metavar="DAYS", help="drop what was not used for so many days")
    parser.add_argument(
        "--weights", action="store_true", help="drop the weights of old entries, too, that no alias or line names"
    )
    parser.add_argument("--yes", action="store_true", help="drop it; without it, nothing is changed")
    words = command.with_workspace(words, lambda args: True)
    return command.show(_lines(parser.parse_args(words)))


def _lines(args: argparse.Namespace) -> Iterator[str]:
    has_age = args.keep_nights is not None or args.older_than is not None
    age = Age(args.keep_nights, args.older_than) if has_age else None
    yield from prune(args.workspace, age, weights=args.weights, really=args.yes)
    if not args.yes:
        yield "nothing was changed: add --yes"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
