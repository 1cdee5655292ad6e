"""Draw what a place of a video looks at, as the paper's figure 3 does.

python -m nonlocal_core.attention VIDEO --workspace DIR --out DIR [--entry E] [--block res4.nl1] [--query t,y,x]

Writes NAME.BLOCK.png (the frames with arrows across them), .gif and .mp4 (the clip, each frame with the arrows
that end in it).  Without --query, the arrows start where the clip moves most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core import command, registry
from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Frozen, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.data import loader, sampling, transforms
from nonlocal_core.data.records import encoding
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import ConfigError, DecodeError, InputError
from nonlocal_core.evaluation import arrows, attention_rows, movies, trained
from nonlocal_core.models import device

MOVIE_FPS = 6.0
"""of the pictures of a clip, slow enough to follow the arrows"""


class Drawn(Frozen):
    """A picture of a cached video's attention."""

    video_id: str
    title: str
    file: str
    """name of a JPEG in the folder that was asked for"""


def draw_cached(
    workspace: Workspace, entry: str, cache: RecordCache, rows: list[int], folder: Path
) -> list[Drawn]:
    """One picture for each of these rows of a cache, in a folder; none if the network has no non-local block."""
    device.use(RuntimeConfig(device="CPU"))
    found = trained.find(entry, workspace)
    net = found.network()
    if not attention_rows.blocks(net):
        return []
    reader = RecordReader(workspace, cache)
    protocol = found.evaluate.model_copy(update={"num_clips": 1, "num_crops": 1})
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    views = loader.video_views(reader, rows, found.described.clip, protocol, 1)
    for number, (row, view) in enumerate(zip(rows, views, strict=True)):
        looked = attention_rows.look(net, view[0])
        scene = attention_rows.scene(looked, view[0], net.model)
        file = f"attention-{number}.jpg"
        write_atomically(folder / file, movies.jpeg(arrows.strip(scene)))
        drawn.append(Drawn(video_id=str(reader.rows["video_id"].iloc[row]), title=scene.title, file=file))
    return drawn


def run(given: argparse.Namespace) -> Iterator[str]:
    """Draw as a command line asks, line by line of what there is to say.

    Raises: InputError or ConfigError if there is no such video, entry, block or position.
    """
    registry.check_folder(given.workspace, given.entry)
    device.use(RuntimeConfig(device="CPU"))
    found = trained.find(given.entry, Workspace(given.workspace))
    net = found.network()
    clip_CTHW = middle_clip(given.video, found)
    looked = attention_rows.look(net, clip_CTHW, given.block, _place(given.query))
    scene = attention_rows.scene(looked, clip_CTHW, net.model)
    _make_folder(given.out)
    stem = given.out / f"{given.video.stem}.{looked.block}"
    write_atomically(stem.with_name(f"{stem.name}.png"), movies.png(arrows.strip(scene, given.video.name)))
    pictures = list(arrows.animation(scene))
    movies.write_gif(stem.with_name(f"{stem.name}.gif"), pictures, MOVIE_FPS)
    movies.write_mp4(stem.with_name(f"{stem.name}.mp4"), pictures, MOVIE_FPS)
    t, y, x = looked.query
    yield f"{found.name}, {scene.title}: {' x '.join(map(str, looked.map_size))} positions"
    yield f"query {t},{y},{x} (step in time, row, column), in frame {scene.shown[t]} of the clip"
    for (t, y, x), weight in looked.strongest:
        yield f"  {t},{y},{x}  {weight:#.3g}"
    yield f"the {len(looked.strongest)} strongest carry {looked.share:.1%} of its weight"
    yield f"written     {stem}.png, .gif and .mp4"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder} cannot be made ({error.strerror}): name another folder") from None


def middle_clip(path: Path, found: trained.Trained) -> NDArray[np.uint8]:
    """The clip in the middle of a video, as an evaluation sees its centre.

    Shape:  (3, T, H, W).
    Raises: InputError if there is no such video or it cannot be read.
    """
    if not path.exists():
        raise InputError(f"there is no video {path}")
    settings, clip = found.described.cache, found.described.clip
    try:
        num_frames = sum(1 for _ in decoding.read_frames(path))
        (indices,) = sampling.test_indices(num_frames, clip, 1, "spread")
        wanted, kept = set(indices.tolist()), {}
        for number, frame in enumerate(islice(decoding.read_frames(path), int(indices.max()) + 1)):
            if number in wanted:
                small = transforms.resize_short_side(frame, settings.short_side, settings.interpolation)
                jpeg = np.frombuffer(encoding.encode(small, settings.jpeg_quality), np.uint8)
                kept[number] = encoding.decode(jpeg, *small.shape[:2])
    except DecodeError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    frames = [kept[number] for number in indices.tolist()]
    views: NDArray[np.uint8] = transforms.test_views(frames, found.evaluate.crop_size, 1)
    clip_CTHW: NDArray[np.uint8] = views[0]
    return clip_CTHW


def _place(text: str) -> attention_rows.Place | None:
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ConfigError(f"--query {text} is not of the form t,y,x: step in time, row, column, counted from 0")
    t, y, x = (int(part) for part in parts)
    return t, y, x


def main(words: list[str]) -> int:
    """Draw as a command line asks; gives the exit status."""
    parser = command.parser("attention", __doc__)
    parser.add_argument("video", metavar="VIDEO", type=Path, help="a video file, or a folder of pictures")
    parser.add_argument(
        "--workspace", type=Path, default=Path("workspace"), metavar="DIR", help="default: workspace"
    )
    parser.add_argument(
        "--entry", default="champion", help="champion (default), an entry such as v0001, or a .safetensors file"
    )
    parser.add_argument("--block", default="", help="such as res4.nl1; default: the last one of the first stage")
    parser.add_argument(
        "--query", default="", metavar="t,y,x", help="where arrows start; default: what moves most"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    return command.show(run(parser.parse_args(words)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
