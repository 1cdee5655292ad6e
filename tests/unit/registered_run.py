"""One registered run that tests share, with labels that nobody should have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from small import small_config

from nonlocal_core.artifacts.references import Entry, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import Config
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.evaluate import evaluate
from nonlocal_core.stages.index import index
from nonlocal_core.stages.register import register
from nonlocal_core.stages.train import train

LABELS = {
    "falls": 'a <b>"fall" & more',
    "grows": "太极拳",
    "rises": "rises",
    "shrinks": f"it's **x** \x1b[31m\n\u202e|{'L' * 160}",
}


class Registered(NamedTuple):
    """A run from index to register, on 16 videos and two that are broken."""

    videos_dir: Path
    workspace: Workspace
    config: Config
    manifest: Manifest
    cache: RecordCache
    evaluation: Evaluation
    entry: Entry


def make_registered(folder: Path) -> Registered:
    """The run, in a folder that is empty so far."""
    toy_dir = make_toy_videos(folder / "toy", 16)
    videos_dir = folder / "videos"
    for name, label in LABELS.items():
        shutil.copytree(toy_dir / name, videos_dir / label)
    (videos_dir / LABELS["falls"] / "<img src=x>.mp4").write_text("no video")
    good = next((videos_dir / "rises").iterdir())
    (videos_dir / "rises" / "cut.mp4").write_bytes(good.read_bytes()[:2000])
    config = small_config(
        model__nl_res3=(0,), model__width=4, train__epochs=2, evaluate__num_clips=2, runtime__max_unreadable=0.5,
        index__val_fraction=0.5,
    )  # fmt: skip
    workspace = Workspace(folder / "workspace")
    manifest = index(videos_dir, config, workspace)
    cached = cache(manifest, config, workspace)
    checkpoint = train(cached, config, workspace)
    evaluation = evaluate(checkpoint, cached, config, workspace)
    entry = register(checkpoint, evaluation, cached, config, workspace)
    return Registered(videos_dir, workspace, config, manifest, cached, evaluation, entry)
