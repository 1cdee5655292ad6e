"""Score an evaluation again from its views, by other protocols and figures, without the network.

    python -m nonlocal_core.scores workspace/evaluate/KEY --clips 1 10 --crops 1 3 --k 1 5 --labels

docs/guides/evaluation.md says which views a smaller protocol takes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core import command
from nonlocal_core.artifacts.references import Evaluation
from nonlocal_core.artifacts.workspace import read_artifact
from nonlocal_core.errors import ConfigError, DamagedError, InputError
from nonlocal_core.evaluation import figures, view_table
from nonlocal_core.report import markdown


def main(words: list[str]) -> int:
    """Score as a command line asks; gives the exit status."""
    return command.show(run(_parser().parse_args(words)))


def run(args: argparse.Namespace) -> Iterator[str]:
    """The lines to print.

    Raises: InputError if the folder holds no evaluation, or fewer views than are asked for; ConfigError if K is
            below 1.
    """
    if min(args.k) < 1:
        raise ConfigError(f"--k {min(args.k)}: a label is among the 1 best or more")
    evaluation, labels = _read(args.folder)
    num_clips, num_crops = _views(args.folder)
    by_views = {}
    for crops in args.crops or sorted({1, num_crops}):
        for clips in args.clips or sorted({1, num_clips}):
            scored = view_table.score(args.folder / Evaluation.VIEWS, clips, crops)
            by_views[f"{clips} of {num_clips} clips x {crops} of {num_crops} crops"] = figures.figures(
                scored, labels, args.k
            )
    if args.json:
        whole = {"protocol": evaluation.conditions, "coverage": evaluation.coverage, "views": by_views}
        yield from json.dumps(whole, indent=2, ensure_ascii=False).split("\n")
        return
    yield f"protocol: {evaluation.conditions}"
    yield f"{evaluation.coverage}; in brackets: 95 % confidence"
    for views, figures_of_views in by_views.items():
        yield ""
        yield views
        yield from (f"  {line}" for line in markdown.summary(figures_of_views))
        if args.labels:
            yield from ("", *markdown.labels(figures_of_views["by_label"]).split("\n"))


def _read(folder: Path) -> tuple[Evaluation, list[str]]:
    """The reference of an evaluation, and the labels in the order of their ids."""
    try:
        evaluation, _ = read_artifact(Evaluation, folder)
        labels: list[str] = json.loads((folder / Evaluation.METRICS).read_text(encoding="utf-8"))["labels"]
    except (OSError, ValueError, KeyError, DamagedError):
        raise InputError(f"{folder} is no finished evaluation: name a folder workspace/evaluate/KEY") from None
    return evaluation, labels


def _views(folder: Path) -> tuple[int, int]:
    _, _, _, logits = next(view_table.videos(folder / Evaluation.VIEWS))
    return logits.shape[0], logits.shape[1]


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("nonlocal_core.scores", __doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="workspace/evaluate/KEY")
    parser.add_argument("--clips", type=int, nargs="+", metavar="N", help="clips of a video; default: 1 and all")
    parser.add_argument("--crops", type=int, nargs="+", metavar="N", help="crops of a clip; default: 1 and all")
    parser.add_argument(
        "--k",
        type=int,
        nargs="+",
        default=figures.KS,
        metavar="K",
        help="how many best labels a top-K looks at; default: 1 5",
    )
    parser.add_argument("--labels", action="store_true", help="print a row for each label as well")
    parser.add_argument("--json", action="store_true", help="all figures, as metrics.json has them")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
