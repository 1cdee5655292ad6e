from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection, generated, toy
from nonlocal_core.data.sampling import generator
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import WorkspaceError


@pytest.mark.parametrize(("backwards", "forwards"), [("rises", "falls"), ("shrinks", "grows")])
@pytest.mark.parametrize("seed", range(5))
def test_a_label_is_its_opposite_played_backwards(backwards: str, forwards: str, seed: int) -> None:
    frames = toy.toy_frames(backwards, np.random.default_rng(seed))
    np.testing.assert_array_equal(frames, toy.toy_frames(forwards, np.random.default_rng(seed))[::-1])
    assert 24 <= len(frames) <= 48
    assert 64 <= min(frames.shape[1:3]) <= max(frames.shape[1:3]) <= 112
    assert frames.dtype == np.uint8


def moving(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much of each frame moved since the frame 7 earlier, and the height of its middle (0…1)."""
    change = np.abs(frames[7:].astype(np.float32) - frames[:-7]).mean(axis=3)
    mask = change > 40
    rows = np.arange(frames.shape[1])[None, :, None] / frames.shape[1]
    return mask.mean(axis=(1, 2)), (mask * rows).sum(axis=(1, 2)) / np.maximum(1, mask.sum(axis=(1, 2)))


@pytest.mark.parametrize("seed", range(8))
def test_the_motion_of_a_clip_says_the_label(seed: int) -> None:
    _, height = moving(toy.toy_frames("falls", np.random.default_rng(seed)))
    assert np.diff(height[[0, len(height) // 2, -1]]).min() > 0.05
    area, height = moving(toy.toy_frames("grows", np.random.default_rng(seed)))
    assert area[-1] > 1.2 * area[0]
    assert abs(height[-1] - height[0]) < 0.25


def test_videos_are_written_and_read(tmp_path: Path) -> None:
    assert toy.make_toy_videos(tmp_path / "toy", num_videos=9, seed=3) == tmp_path / "toy"
    sources = detection.find(tmp_path / "toy", IndexConfig()).sources
    assert [source.label for source in sources] == ["falls"] * 3 + ["grows"] * 2 + ["rises"] * 2 + ["shrinks"] * 2
    for source in sources:
        frames = list(decoding.read_frames(tmp_path / "toy" / source.path))
        assert decoding.probe(tmp_path / "toy" / source.path).num_frames == len(frames)
        drawn = toy.toy_frames(source.label, generator(3, 0, Path(source.path).name, "toy"))
        assert np.abs(np.stack(frames).astype(int) - drawn).mean() < 12


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_video_that_cannot_be_written_is_said() -> None:
    """OpenCV's writer says nothing, and a folder that looked finished would lack it for good."""
    with pytest.raises(WorkspaceError, match=r"/proc/none\.mp4 cannot be written"):
        generated._write_video(Path("/proc/none.mp4"), np.zeros((2, 64, 64, 3), np.uint8))


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first, again, other = (
        toy.make_toy_videos(tmp_path / name, 4, seed) for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert content(first) == content(again)
    assert content(other).keys() == content(first).keys()
    assert all(content(other)[name] != content(first)[name] for name in content(first))


def test_a_finished_folder_is_left_alone_and_an_unfinished_one_is_finished(tmp_path: Path) -> None:
    folder = toy.make_toy_videos(tmp_path / "toy", 4)
    finished = content(folder)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    toy.make_toy_videos(folder, 4)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")} == times
    (folder / "toy.json").unlink()
    next(folder.rglob("*.mp4")).unlink()
    (folder / "falls/toy-0004.mp4").write_text("left over from a larger set")
    assert content(toy.make_toy_videos(folder, 4)) == finished
