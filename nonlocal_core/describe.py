"""Print the shapes, parameters and multiply-adds of a network for one test view.

python -m nonlocal_core.describe nl_i3d_r50_32x2 model.pairwise=gaussian --classes 10

The network is built, without drawing its weights, and walked cell by cell with the shape of one test view; nothing
is computed.  Counted are the multiplications of convolutions, matrix products and the classifier, each with the
addition that goes with it: multiply-adds.  Batch norms, pools and softmaxes are left out.

Shapes: C channels, T frames, H W pixels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from nonlocal_core import command
from nonlocal_core.config import key_value
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.errors import ConfigError


def table(name: str, config: Config, num_classes: int) -> str:
    """The table of a network."""
    from nonlocal_core.models.cost import Part, parts  # MindSpore takes seconds, which help need not wait for

    rows = parts(config, num_classes)
    side = config.evaluate.crop_size
    lines = [
        f"{name}: one view of {config.clip.clip_len} frames of {side} x {side} pixels, {num_classes} classes",
        "",
        f"{'part':<6} {'C x T x H x W':<20} {'parameters':>12} {'G multiply-adds':>16} {'G as done':>10}",
    ]
    sums = (sum(column) for column in zip(*(row[2:] for row in rows), strict=True))
    total = Part("total", (), *sums)
    for row in (*rows, total):
        shape = " x ".join(str(size) for size in row.shape)
        lines.append(
            f"{row.name:<6} {shape:<20} {row.parameters:>12,} {row.plain / 1e9:>16.3f} {row.used / 1e9:>10.3f}"
        )
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Print the table that a command line asks for; gives the exit status."""
    parser = command.parser("nonlocal_core.describe", __doc__)
    parser.add_argument(
        "preset", metavar="PRESET", help="named settings; python flows/full.py --help presets lists them"
    )
    parser.add_argument(
        "settings", nargs="*", default=[], metavar="key=value", help="what differs from the preset"
    )
    parser.add_argument("--classes", type=int, default=400, help="classes of the head; default: 400")
    return command.show(_lines(parser.parse_intermixed_args(words)))


def _lines(args: argparse.Namespace) -> Iterator[str]:
    overrides = key_value.pairs(args.settings, "; a preset comes first")
    if args.classes < 1:
        raise ConfigError(f"--classes {args.classes}: a network has at least one class")
    yield from table(args.preset, resolve(args.preset, overrides), args.classes).split("\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
