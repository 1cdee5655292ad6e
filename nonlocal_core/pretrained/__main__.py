"""List, show and get published weights, to start a training from or to label videos with.

    python -m nonlocal_core.pretrained list
    python -m nonlocal_core.pretrained show i3d_inception_k400
    python -m nonlocal_core.pretrained get i3d_inception_k400

What was got has a name: train.init=NAME, or checkpoint=NAME of flows/predict.py and flows/evaluate.py.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator

from nonlocal_core import command
from nonlocal_core.pretrained import store, table
from nonlocal_core.pretrained.table import Download, Weights


def main(words: list[str]) -> int:
    """Do what a command line asks; gives the exit status."""
    parser = command.parser("nonlocal_core.pretrained", __doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | show NAME | get NAME")
    verbs.add_parser("list", help="all weights that have a name")
    for verb, purpose in (("show", "what is known of some weights"), ("get", "fetch, check and import them")):
        verbs.add_parser(verb, help=purpose).add_argument("name", metavar="NAME")
    return command.show(_lines(parser.parse_args(words)))


def _lines(args: argparse.Namespace) -> Iterator[str]:
    if args.verb == "list":
        yield from _listed()
        return
    wanted = table.find(args.name)
    if args.verb == "show":
        yield from _shown(wanted)
        return
    from nonlocal_core.pretrained import retrieval  # loads MindSpore

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    started_s = time.monotonic()
    path = retrieval.get(wanted)
    yield f"{wanted.name} is in {path} ({time.monotonic() - started_s:.0f} s)"
    yield f"use it as train.init={wanted.name} or checkpoint={wanted.name}"


def _listed() -> Iterator[str]:
    wide = max(map(len, table.TABLE))
    yield f"{'name':<{wide}}  {'top-1 / top-5':<15}  {'MB':>4}  here  licence"
    for weights in table.TABLE.values():
        here = "yes" if store.checkpoint_path(weights.name).is_file() else "no"
        figures = weights.published.figures
        yield f"{weights.name:<{wide}}  {figures:<15}  {weights.size_mb:>4}  {here:<4}  {weights.licence}"


def _shown(weights: Weights) -> Iterator[str]:
    source, path = weights.source, store.checkpoint_path(weights.name)
    is_part = len(source.sha256) == 8
    yield f"name      {weights.name}"
    yield f"network   {weights.preset} (python -m nonlocal_core.describe {weights.preset})"
    yield f"data      {weights.data}"
    yield f"accuracy  {weights.published}"
    yield f"licence   {weights.licence}"
    if isinstance(source, Download):
        yield f"source    {source.url}"
    else:
        yield f"source    {source.member} in the Python package {source.requirement}"
    yield f"size      some {weights.size_mb} MB"
    yield f"SHA-256   {source.sha256 or 'none published'}{' (its first digits)' if is_part else ''}"
    yield f"importer  --profile {weights.profile}, with the settings of the preset"
    yield f"labels    {len(weights.label_names())}, {weights.labels}"
    yield f"tried     {weights.tried}"
    yield f"here      {path if path.is_file() else f'no: python -m nonlocal_core.pretrained get {weights.name}'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
