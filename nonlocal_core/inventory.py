"""Print what a folder of videos holds, by names alone: no video is opened, nothing is written.

python -m nonlocal_core.inventory DIR index.group_by='person\\d+' --labels classInd.txt

It says what is taken and what is not, and why; the layout, the splits, and the labels with their counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core import command
from nonlocal_core.artifacts import label_ids
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data.layouts import detection, listing
from nonlocal_core.data.manifest import groups


def main(words: list[str]) -> int:
    """Print the inventory that a command line asks for; gives the exit status."""
    parser = command.parser("nonlocal_core.inventory", __doc__)
    parser.add_argument("videos_dir", metavar="DIR", help="folder of labelled videos, or its URI")
    parser.add_argument(
        "settings", nargs="*", default=[], metavar="key=value", help="settings of index that are not the default"
    )
    parser.add_argument("--labels", type=Path, help="file of label ids: JSON, label_map.txt, classInd.txt or CSV")
    return command.show(_lines(parser.parse_intermixed_args(words)))


def _lines(args: argparse.Namespace) -> Iterator[str]:
    yield from lines(args.videos_dir, resolve("tiny", key_value.pairs(args.settings)), args.labels)


def lines(videos_dir: Path | str, config: Config, labels_path: Path | None = None) -> Iterator[str]:
    """What a folder of videos holds, given by its path or URI.

    Raises: InputError as `detection.find`, or if the labels cannot be read.
    """
    names = label_ids.read_names(labels_path.expanduser()) if labels_path else None
    folder = listing.open_folder(videos_dir)
    videos = detection.find(folder, config.index, names, config.runtime.follow_links)
    yield from [*videos.inventory, *groups.in_words(videos.sources, config.index.group_by)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
