"""Draw which places of a video a non-local block attends to, as the paper's figure 3 does.

python -m nonlocal_core.attention VIDEO --out DIR --block res4.nl1 --query 4,7,7 workspace_dir=DIR

Writes NAME.BLOCK.png (the frames with arrows across them), .gif and .mp4 (the clip, each frame with the arrows
that end in it).  Without --query, the arrows start where the clip moves most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core import command
from nonlocal_core.errors import ConfigError, InputError

MOVIE_FPS = 6.0
"""of the pictures of a clip, slow enough to follow the arrows"""


def run(args: argparse.Namespace) -> Iterator[str]:
    """Draw as a command line asks, and yield the lines to print.

    Raises: InputError or ConfigError if there is no such video, entry, block or position.
    """
    # These take seconds, which help and a mistyped word need not wait for.
    from nonlocal_core import registry
    from nonlocal_core.artifacts.files import write_atomically
    from nonlocal_core.artifacts.workspace import Workspace
    from nonlocal_core.config.sections import RuntimeConfig
    from nonlocal_core.models import device
    from nonlocal_core.registry import trained_network
    from nonlocal_core.report import arrows, attention, video_files
    from nonlocal_core.report.attention_pictures import middle_clip

    query = _place(args.query)
    registry.check_folder(args.workspace, args.entry)
    device.use(RuntimeConfig(device="CPU"))
    trained = trained_network.find(args.entry, Workspace(args.workspace, only_read=True))
    net = trained.network()
    clip_CTHW = middle_clip(args.video, trained)
    attended = attention.look(net, clip_CTHW, args.block, query)
    scene = attention.scene(attended, clip_CTHW, net.model)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {args.out} cannot be made ({error.strerror}): name another folder") from None
    stem = args.out / f"{args.video.stem}.{attended.block}"
    write_atomically(stem.with_name(f"{stem.name}.png"), video_files.png(arrows.strip(scene, args.video.name)))
    pictures = list(arrows.animation(scene))
    video_files.write_gif(stem.with_name(f"{stem.name}.gif"), pictures, MOVIE_FPS)
    video_files.write_mp4(stem.with_name(f"{stem.name}.mp4"), pictures, MOVIE_FPS)
    t, y, x = attended.query
    yield f"{trained.name}, {scene.title}: {' x '.join(map(str, attended.map_size))} positions"
    yield f"query {t},{y},{x} (step in time, row, column), in frame {scene.shown[t]} of the clip"
    for (t, y, x), weight in attended.strongest:
        yield f"  {t},{y},{x}  {weight:#.3g}"
    yield f"the {len(attended.strongest)} strongest carry {attended.share:.1%} of its weight"
    yield f"written     {stem}.png, .gif and .mp4"


def _place(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"--query {text} is not of the form t,y,x: step in time, row, column, counted from 0")
    t, y, x = (int(part) for part in parts)
    return t, y, x


def main(words: list[str]) -> int:
    """Draw as a command line asks; gives the exit status."""
    parser = command.parser("nonlocal_core.attention", __doc__)
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of pictures")
    command.add_workspace(parser)
    parser.add_argument(
        "--entry", default="champion", help="champion (default), an entry such as v0001, or a .safetensors file"
    )
    parser.add_argument("--block", default="", help="such as res4.nl1; default: the last one of the first stage")
    parser.add_argument(
        "--query", default="", metavar="t,y,x", help="where arrows start; default: what moves most"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    return command.show(run(parser.parse_args(command.with_workspace(words))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
