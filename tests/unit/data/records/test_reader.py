from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from small import small_config

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records import encoding, store
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import DamagedError
from nonlocal_core.stages.cache import cache


@pytest.fixture
def workspace(toy, tmp_path):
    return toy.workspace(tmp_path / "workspace")


@pytest.fixture(scope="module")
def in_files(toy, tmp_path_factory):
    """The toy videos, none of whose frames are kept."""
    workspace = toy.workspace(tmp_path_factory.mktemp("none"))
    return workspace, cache(toy.manifest, small_config(cache__codec="none"), workspace)


def shard_of(workspace, toy, row):
    """The store, and what a scan says of one video."""
    folder = workspace.root / toy.cache.records
    sha256 = RecordReader(workspace, toy.cache).rows["sha256"].iloc[row]
    return folder, store.contents(folder).loc[sha256]


def test_frames_are_those_of_the_video(toy):
    reader = RecordReader(Workspace(toy.root), toy.cache)
    for row in (0, 5, 11):
        sources = list(decoding.read(toy.videos_dir / reader.rows["path"].iloc[row]))
        frames = reader.frames(row, np.arange(len(sources)))
        assert len(frames) == reader.rows["num_frames"].iloc[row]
        for frame, source in zip(frames, sources, strict=True):
            jpeg = encoding.encode(encoding.resized(source, toy.cache.settings), 90)
            expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            np.testing.assert_array_equal(frame, expected)


def test_indices_may_repeat_and_come_in_any_order(toy, in_files, monkeypatch):
    for reader in (RecordReader(Workspace(toy.root), toy.cache), RecordReader(*in_files)):
        num_frames = int(reader.rows["num_frames"].iloc[0])
        whole = reader.frames(0, np.arange(num_frames))
        decoded = []
        imdecode = cv2.imdecode
        monkeypatch.setattr(
            cv2, "imdecode", lambda *args, decode=imdecode, seen=decoded: seen.append(1) or decode(*args)
        )
        for indices in ([3, 1, 2], [11, 11, 11], [0, 0, 5, 2, 5], [7]):
            decoded.clear()
            np.testing.assert_array_equal(reader.frames(0, np.array(indices)), [whole[k] for k in indices])
            assert len(decoded) in (0, len(set(indices)))
        monkeypatch.undo()
        for indices in ([num_frames], [-1], [0, 999]):
            with pytest.raises(IndexError, match=f"{num_frames} (stored )?frames, not number"):
                reader.frames(0, np.array(indices))


def test_both_ways_give_the_same_frames_up_to_jpeg(toy, in_files):
    kept, read = RecordReader(Workspace(toy.root), toy.cache), RecordReader(*in_files)
    files = (in_files[0].root / in_files[1].records).glob("*.bin")
    assert kept.rows["video_id"].tolist() == read.rows["video_id"].tolist()
    assert kept.rows["num_frames"].tolist() == read.rows["num_frames"].tolist()
    assert sum(file.stat().st_size for file in files) == 0
    for row in range(12):
        indices = np.array([0, 3, 9, 10, int(kept.rows["num_frames"].iloc[row]) - 1])
        ours, theirs = (np.stack(reader.frames(row, indices)).astype(int) for reader in (kept, read))
        assert np.abs(ours - theirs).mean() < 6
        assert np.abs(ours - theirs).mean() < np.abs(ours[:3] - theirs[1:4]).mean(), "another frame is nearer"


def test_a_file_that_is_not_what_was_cached_is_said(toy, in_files, tmp_path):
    workspace, made = in_files
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    made = made.model_copy(update={"videos_dir": str(tmp_path / "videos")})
    reader = RecordReader(workspace, made)
    paths = [tmp_path / "videos" / path for path in reader.rows["path"]]
    reader.frames(0, np.array([0]))
    paths[0].write_bytes(paths[1].read_bytes() + b"0")
    with pytest.raises(
        DamagedError, match=rf"{paths[0]}: it is not the file that was indexed: run again, and index"
    ):
        reader.frames(0, np.array([0]))
    paths[2].write_bytes(bytes(paths[2].stat().st_size))
    paths[3].unlink()
    for row in (2, 3):
        with pytest.raises(DamagedError, match=rf"{paths[row]}: .*: run again, and index"):
            reader.frames(row, np.array([0]))
    assert len(reader.frames(4, np.array([0]))) == 1


def test_a_flipped_byte_names_shard_and_video_and_what_to_do(toy, workspace):
    folder, record = shard_of(workspace, toy, 3)
    path = store.paths(folder, record["shard"]).bin_path
    content = bytearray(path.read_bytes())
    content[record["offset"] + record["num_bytes"] // 2] ^= 1
    path.write_bytes(content)
    reader = RecordReader(workspace, toy.cache)
    video_id, num_frames = str(reader.rows["video_id"][3]), int(reader.rows["num_frames"][3])
    with pytest.raises(DamagedError) as caught:
        reader.frames(3, np.arange(num_frames))
    for part in (
        str(path),
        f"video {video_id}, frame ",
        f"rm '{path}'",
        "the same command again",
        "videos of this",
    ):
        assert part in str(caught.value)
    assert len(reader.frames(4, np.array([0]))) == 1
    path.unlink()  # as it says
    assert cache(toy.manifest, small_config(), workspace) == toy.cache
    np.testing.assert_array_equal(
        RecordReader(workspace, toy.cache).frames(3, np.arange(num_frames)),
        RecordReader(Workspace(toy.root), toy.cache).frames(3, np.arange(num_frames)),
    )


def test_a_store_that_lacks_videos_is_said_when_it_is_opened(toy, workspace):
    folder, record = shard_of(workspace, toy, 3)
    store.paths(folder, record["shard"]).bin_path.unlink()
    with pytest.raises(
        DamagedError, match=r"\d+ cached videos are not in .*records.*: run the same command again"
    ):
        RecordReader(workspace, toy.cache)


def test_a_reader_follows_records_to_another_shard(toy, workspace):
    reader = RecordReader(workspace, toy.cache)
    expected = reader.frames(0, np.array([1, 2]))
    folder, record = shard_of(workspace, toy, 0)
    fresh = RecordReader(workspace, toy.cache)
    for old in store.paths(folder, record["shard"]):
        old.rename(old.with_name(old.name.replace(record["shard"], "moved")))
    np.testing.assert_array_equal(fresh.frames(0, np.array([1, 2])), expected)
    np.testing.assert_array_equal(reader.frames(0, np.array([1, 2])), expected)


def test_a_damaged_table_is_said(toy, workspace):
    path = workspace.path(toy.cache) / "videos.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{path} is damaged .*: rm -f '{path}', then the same command again"):
        RecordReader(workspace, toy.cache)
    path.unlink()
    assert cache(toy.manifest, small_config(), workspace) == toy.cache
    assert len(RecordReader(workspace, toy.cache).rows) == 12


def test_a_broken_video_has_no_frames(toy, workspace):
    reader = RecordReader(workspace, toy.cache)
    reader._readable[2] = False
    with pytest.raises(IndexError, match="has no cached frames"):
        reader.frames(2, np.array([0]))


def test_threads_share_a_reader(toy, in_files):
    for reader in (RecordReader(Workspace(toy.root), toy.cache), RecordReader(*in_files)):
        jobs = [(row, np.arange(8)) for row in (0, 3, 7)] * 10
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda job, reader=reader: reader.frames(*job), jobs))
        for job, result in zip(jobs, results, strict=True):
            np.testing.assert_array_equal(result, reader.frames(*job))
