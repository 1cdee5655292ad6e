"""Clips that decord reads, with the real decord and with one that a file makes crash."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest
from small import small_config
from video_files import number_of

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data import loader
from nonlocal_core.data.records import decord_clips
from nonlocal_core.data.records.encoding import FrameSettings
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.stages.cache import cache

pytestmark = pytest.mark.skipif(find_spec("decord") is None, reason="decord has no wheel for this platform")

SETTINGS = FrameSettings.of(small_config(cache__codec="none", cache__jump="decord", cache__short_side=64).cache)
ABORTS = "import os\nclass logging:\n    QUIET = 0\n    set_level = staticmethod(lambda level: os.abort())\n"


@pytest.fixture
def caches(toy, tmp_path):
    """The toy videos without frames, read by decord and by PyAV."""
    workspace = toy.workspace(tmp_path / "workspace")
    return workspace, made_by(toy, workspace, "bilinear")


def made_by(toy, workspace: Workspace, interpolation: str):
    kinds = ({"codec": "none", "jump": jump, "interpolation": interpolation} for jump in ("decord", "pyav"))
    configs = (small_config(**{f"cache__{name}": value for name, value in kind.items()}) for kind in kinds)
    return [cache(toy.manifest, config, workspace) for config in configs]


def epoch(workspace: Workspace, made) -> list[np.ndarray]:
    reader = RecordReader(workspace, made)
    rows, config = loader.readable_rows(reader, "train"), small_config()
    return [batch.clip_NCTHW for batch in loader.train_batches(reader, rows, config, 0, 0)]


def test_clips_are_those_of_pyav(caches):
    workspace, made = caches
    assert made[0].key != made[1].key
    by_decord, by_pyav = (epoch(workspace, one) for one in made)
    np.testing.assert_array_equal(by_decord, by_pyav)


def test_where_frames_shrink_by_area_clips_are_near_those_of_pyav(toy, tmp_path):
    """decord gives whole frames in RGB, PyAV shrinks the planes that RGB is made of."""
    workspace = toy.workspace(tmp_path / "workspace")
    by_decord, by_pyav = (np.concatenate(epoch(workspace, one)) for one in made_by(toy, workspace, "area"))
    assert 0 < np.abs(by_decord.astype(int) - by_pyav).mean() < 2.5


def test_a_file_that_crashes_decord_is_read_all_the_same(caches, tmp_path, monkeypatch, caplog):
    workspace, made = caches
    expected = epoch(workspace, made[1])
    (tmp_path / "decord.py").write_text(ABORTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    np.testing.assert_array_equal(epoch(workspace, made[0]), expected)
    said = [line for line in caplog.messages if "decord" in line]
    assert len(said) == 8, "one line a file"
    assert all(line.endswith(".mp4 (crashes the decoder (SIGABRT)): PyAV reads it") for line in said)


def test_threads_have_processes_of_their_own_and_frames_their_order(good_mp4, tmp_path, caplog):
    pool, order = decord_clips.Pool(), np.array([40, 3, 17])
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda _: pool.frames(good_mp4, order, SETTINGS), range(6)))
    assert [[number_of(frame) for frame in frames] for frames in made] == [[40, 3, 17]] * 6
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    assert [pool.frames(bad, order, SETTINGS) for _ in range(2)] == [[], []]
    assert [line for line in caplog.messages if "decord" in line] == [
        f"decord fails in {bad} (damaged: a frame cannot be decoded): PyAV reads it"
    ]
