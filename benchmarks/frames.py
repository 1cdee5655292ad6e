"""What resizing by area and JPEG cost a trained network: its logits beside those for mmaction2's own pixels.

    python benchmarks/frames.py VIDEO_OR_FOLDER ... [--videos 24] [--clip 16x2]

The network is i3d_inception_k400 (`python -m nonlocal_core.pretrained get i3d_inception_k400`), which knows 400
classes.  The middle clip of each video goes through it once for each way to make frames; all else is the same.
Videos for which no labels are needed serve: what is compared is what the network says.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config, resolve
from nonlocal_core.data import loader
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.evaluation import views
from nonlocal_core.models import checkpoint, inference
from nonlocal_core.prediction.predict import find_videos
from nonlocal_core.pretrained import store
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index

WEIGHTS = "i3d_inception_k400"
WAYS: dict[str, dict[str, object]] = {
    "bilinear, no JPEG (mmaction2's)": {"cache.interpolation": "bilinear", "cache.codec": "none"},
    "bilinear, JPEG 90": {"cache.interpolation": "bilinear"},
    "auto, no JPEG": {"cache.codec": "none"},
    "auto, JPEG 90 (the default)": {},
    "auto, JPEG 75": {"cache.jpeg_quality": 75},
}


def settings_of(changed: dict[str, object]) -> Config:
    """The network's settings, for one clip of each video."""
    return resolve("i3d_inception", {"index.val_fraction": 0.5, "evaluate.num_clips": 1, **changed})


def clips(folder: Path, config: Config, root: Path) -> dict[str, NDArray[np.uint8]]:
    """The middle clip of each video, as a cache of these settings gives it."""
    workspace = Workspace(root)
    reader = RecordReader(workspace, cache(index(folder, config, workspace), config, workspace))
    paths, statuses = reader.rows["path"].tolist(), reader.rows["status"].tolist()
    rows = [row for row, status in enumerate(statuses) if status == "ok"]
    made = loader.video_views(reader, rows, config.clip, config.evaluate, 2)
    return {paths[row]: views_of_video[0] for row, views_of_video in zip(rows, made, strict=True)}


def logits(
    by_way: dict[str, dict[str, NDArray[np.uint8]]], config: Config, root: Path
) -> dict[str, NDArray[np.float32]]:
    """The logits for each way, a row a video."""
    path = store.checkpoint_path(WEIGHTS)
    labels = list(checkpoint.read_whole(path)[0].labels)
    network = inference.load(path, labels, config, workspace=Workspace(root))
    size = config.evaluate.batch_clips
    return {way: np.stack(list(inference.outputs(network, found.values(), size))) for way, found in by_way.items()}


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--videos", dest="most", type=int, default=24, help="videos of each folder, evenly spread")
    parser.add_argument("--clip", default="16x2")
    given = parser.parse_args()
    clip_len, interval = given.clip.split("x")
    clip: dict[str, object] = {"clip.clip_len": int(clip_len), "clip.frame_interval": int(interval)}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        number = 0
        for source in given.videos:
            found = [path for _, path in find_videos(source)]
            for path in found[:: max(1, len(found) // given.most)][: given.most]:
                label = root / "videos" / ("one", "two")[number % 2]
                label.mkdir(parents=True, exist_ok=True)
                (label / f"{number:03d}{path.suffix}").symlink_to(path.resolve())
                number += 1
        by_way = {
            way: clips(root / "videos", settings_of({**settings, **clip}), root / "w")
            for way, settings in WAYS.items()
        }
        _print(by_way, logits(by_way, settings_of(clip), root / "w"))


def _print(by_way: dict[str, dict[str, NDArray[np.uint8]]], found: dict[str, NDArray[np.float32]]) -> None:
    exact, *others = found
    base_NK, base = found[exact], by_way[exact]
    greatest, best = np.abs(base_NK).max(), base_NK.argmax(1)
    print(f"{len(base)} videos, compared with {exact}: greatest |logit| {greatest:.1f}\n")
    print("| frames | pixels differ by | logits differ by | at most | same first class | its score moves by |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = np.arange(len(base))
    for way in others:
        pixels = statistics.mean(
            float(np.abs(clip.astype(np.int16) - base[path]).mean()) for path, clip in by_way[way].items()
        )
        apart_NK = np.abs(found[way] - base_NK)
        same = int((found[way].argmax(1) == best).sum())
        moved = np.abs(views.softmax(found[way])[rows, best] - views.softmax(base_NK)[rows, best])
        print(
            f"| {way} | {pixels:.2f} of 255 | {apart_NK.mean() / greatest:.2%} | {apart_NK.max() / greatest:.1%} |"
            f" {same} of {len(base)} | {moved.mean():.3f}, at most {moved.max():.3f} |"
        )


if __name__ == "__main__":
    main()
