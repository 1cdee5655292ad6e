"""Take part, as another host, in what the first one evaluates, predicts or keeps as features.

python -m nonlocal_core.share FOLDER HOST    when the first host says so
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core import command, scoring
from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.data.records import kept_features
from nonlocal_core.errors import InputError
from nonlocal_core.prediction import predict
from nonlocal_core.stages import features

KINDS = {
    Evaluation.stage: scoring.take_part,
    kept_features.FOLDER: features.take_part,
    predict.FOLDER: predict.take_part,
}
"""by the folder in the workspace"""


def main(words: list[str]) -> int:
    """Make the share of a host; gives the exit status."""
    parser = command.parser("nonlocal_core.share", __doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="in which the first host makes something")
    parser.add_argument("host", type=int, metavar="HOST", help="number of this host among runtime.hosts, from 1")
    args = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return command.show(_lines(args.folder.absolute(), args.host))


def _lines(folder: Path, host: int) -> Iterator[str]:
    take_part = KINDS.get(folder.parent.name)
    if take_part is None:
        raise InputError(f"{folder}: name the folder that the first host says, WORKSPACE/{'|'.join(KINDS)}/NAME")
    take_part(folder, host)
    yield f"the share of host {host} is made"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
