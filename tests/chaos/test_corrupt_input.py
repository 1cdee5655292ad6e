"""Damaged videos, lists and label maps: left out by name, or read as an independent decoder reads them."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from video_files import make_family

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.records import cache_table
from nonlocal_core.process import workers
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index
from tests.campaign import NAMED, SAME, WRONG, Tally
from tests.chaos import mutants
from tests.chaos.chain import SETTINGS

TRIED = (
    "gop12_b.mp4", "fragments.mp4", "faststart.mp4", "gop12_b.mkv", "gop12_b.flv", "h264.ts", "h264.avi",
    "hevc.mkv", "mpeg4_b.avi", "mpeg4.mp4", "mjpeg.avi", "mjpeg.mov", "mpeg2.mpg", "wmv2.wmv", "theora.ogv",
    "vp8.webm", "vp9.webm", "av1.webm", "gif.gif",
)  # fmt: skip
NUM_MUTANTS = 40
"""of each family"""
BATCH = 60
MOST_S = 480.0
MOST_SILENT = 0.02
"""share of damaged videos that may be used with lost or wrong frames; docs/reliability.md has the measured one"""
NO_LENGTH = (".ts", ".mpg", ".gif", ".wmv", ".ogv")
"""files that do not say how long they are: one that is cut between two frames is a shorter video"""


class Mutant(NamedTuple):
    """A damaged video."""

    family: str
    path: Path
    way: str


def make_mutants(folder: Path, families: tuple[str, ...], count: int, drawn: random.Random) -> list[Mutant]:
    """Damaged copies in two class folders; a name that is looked for: what it is, its content says."""
    (folder / "families").mkdir(parents=True)
    made = []
    for family in families:
        content = make_family(folder / "families", family).read_bytes()
        for number in range(count):
            way, damaged = mutants.mutant(content, drawn)
            if damaged == content:
                continue
            path = folder / "mutants" / f"{family}-{number:03d}.avi"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(damaged)
            made.append(Mutant(family, path, way))
    drawn.shuffle(made)
    return made


def judge_batch(batch: list[Mutant], folder: Path, whole: dict[str, NDArray[np.uint8]], tally: Tally) -> None:
    """Index and cache damaged videos among good ones, and look at each that is used."""
    videos_dir = make_toy_videos(folder / "videos", 12)
    for mutant in batch:
        shutil.copyfile(mutant.path, videos_dir / "falls" / mutant.path.name)
    workspace, config = Workspace(folder / "w"), resolve("tiny", {**SETTINGS, "runtime.max_unreadable": 1.0})
    try:
        cached = cache(index(videos_dir, config, workspace), config, workspace)
    except Exception as error:
        tally.add("a whole run", WRONG, f"{error!r} of {[mutant.path.name for mutant in batch]}")
        return
    tally.add("a whole run", SAME)
    rows = cache_table.read(workspace.path(cached) / "videos.parquet").set_index("path")
    assert (rows[~rows.index.isin([f"falls/{mutant.path.name}" for mutant in batch])]["status"] == "ok").all()
    used = []
    for mutant in batch:
        row = rows.loc[f"falls/{mutant.path.name}"]
        if row["status"] == "duplicate":
            continue
        if row["status"] == "ok":
            used.append(mutant)
        else:
            tally.add(mutant.family, NAMED if row["reason"] else WRONG, "no reason")
    for mutant, frames in zip(used, workers.each(mutants.by_us, [one.path for one in used], 60.0), strict=True):
        problem = _problem_of(mutant, frames, whole[mutant.family])
        tally.add(mutant.family, WRONG if problem else SAME, f"{mutant.path.name}, {mutant.way}: {problem}")
    shutil.rmtree(folder)


def _problem_of(mutant: Mutant, frames: NDArray[np.uint8] | workers.Lost, whole: NDArray[np.uint8]) -> str:
    """What is wrong with a damaged video that is used; empty if no decoder could know better."""
    if isinstance(frames, workers.Lost):
        return frames.reason
    lost = mutants.differs(frames, whole)
    if not lost:
        return ""
    expected = mutants.by_ffmpeg(mutant.path, *frames.shape[1:3])
    if expected.complaint:
        return f"{lost}; ffmpeg says {expected.complaint!r}, and we say nothing"
    if difference := mutants.differs(frames, expected.frames_NHWC):
        return f"{lost}; beside ffmpeg {difference}"
    if len(frames) < len(whole) and not mutant.family.endswith(NO_LENGTH):
        return lost
    return ""


def campaign(families: tuple[str, ...], count: int, most_s: float, tally: Tally, folder: Path) -> None:
    made = make_mutants(folder, families, count, tally.drawn)
    whole = {family: mutants.by_us(folder / "families" / family) for family in families}
    for start in range(0, len(made), BATCH):
        if tally.seconds() > most_s:
            break
        judge_batch(made[start : start + BATCH], folder / str(start), whole, tally)


def test_some_damaged_videos(tally: Tally, tmp_path: Path) -> None:
    campaign(("gop12_b.mp4", "mpeg4.mp4", "vp9.webm"), 4, 60.0, tally, tmp_path)
    tally.check()


@pytest.mark.campaign
@pytest.mark.timeout(1200)
def test_damaged_videos(tally: Tally, tmp_path: Path) -> None:
    campaign(TRIED, NUM_MUTANTS, MOST_S, tally, tmp_path)
    silent = [line for line in tally.wrong if "a whole run" not in line]
    assert len(silent) == len(tally.wrong), "\n".join(tally.wrong)
    assert len(silent) <= MOST_SILENT * tally.num_tried(), "\n".join(silent)
