from __future__ import annotations

import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import nonlocal_core
from nonlocal_core.data import records
from nonlocal_core.data.records import Record, RecordReader
from nonlocal_core.errors import DamagedError

HEIGHT, WIDTH = 48, 64


def frame(video: int, number: int) -> np.ndarray:
    """A smooth picture: red says which frame, green which video, blue runs from left to right."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[...] = number * 10 % 256, video * 20 % 256, 0
    picture[..., 2] = np.linspace(0, 255, WIDTH)
    return picture


def record(video: int, num_frames: int = 12) -> Record:
    jpegs = [records.encode(frame(video, number), 95) for number in range(num_frames)]
    return Record(f"run/ü {video}.mp4", "run", 1, "train", "ok", "", jpegs, HEIGHT, WIDTH)


def broken(video: int) -> Record:
    return Record(f"run/{video}.mp4", "run", 1, "val", "unreadable", "damaged: cut short", [], 0, 0)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    records.write_shard(tmp_path, 0, [record(0), broken(1), record(2, 5)])
    records.write_shard(tmp_path, 1, [broken(3)])
    records.write_shard(tmp_path, 2, iter([record(4, 1)]))
    return tmp_path


def test_frames_come_back_as_rgb(cache: Path) -> None:
    reader = RecordReader(cache)
    for row, video, num_frames in [(0, 0, 12), (2, 2, 5), (4, 4, 1)]:
        frames = reader.frames(row, np.arange(num_frames))
        assert frames.shape == (num_frames, HEIGHT, WIDTH, 3)
        assert frames.dtype == np.uint8
        for number in range(num_frames):
            assert np.abs(frames[number].astype(int) - frame(video, number)).mean() < 3
            assert frames[number, ..., 0].mean() == pytest.approx(number * 10, abs=3)


def test_indices_may_repeat_and_come_in_any_order(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = RecordReader(cache)
    whole = reader.frames(0, np.arange(12))
    decoded = []
    imdecode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(1) or imdecode(*args))
    for indices in ([3, 1, 2], [11, 11, 11], [0, 0, 5, 2, 5], [7]):
        decoded.clear()
        np.testing.assert_array_equal(reader.frames(0, np.array(indices)), whole[indices])
        assert len(decoded) == len(set(indices))
    for indices in ([12], [-1], [0, 99]):
        with pytest.raises(IndexError, match="12 cached frames"):
            reader.frames(0, np.array(indices))
    with pytest.raises(IndexError, match="0 cached frames"):
        reader.frames(1, np.array([0]))


def test_rows_say_what_was_cached(cache: Path) -> None:
    rows = RecordReader(cache).rows
    assert rows["video_id"].tolist() == ["run/ü 0.mp4", "run/1.mp4", "run/ü 2.mp4", "run/3.mp4", "run/ü 4.mp4"]
    assert rows["num_frames"].tolist() == [12, 0, 5, 0, 1]
    assert rows["shard"].tolist() == [0, 0, 0, 1, 2]
    assert rows["reason"].tolist() == ["", "damaged: cut short"] * 2 + [""]
    assert rows["height"].tolist() == [HEIGHT, 0, HEIGHT, 0, HEIGHT]
    table = records.read_table(cache)
    assert set(table.columns) == {*records.SCHEMA.names, "shard"}
    assert [len(offsets) for offsets in table["offsets"]] == [12, 0, 5, 0, 1]


def test_encoding_is_the_same_every_time_and_keeps_the_colours() -> None:
    assert records.encode(frame(1, 2), 90) == records.encode(frame(1, 2), 90)
    assert len(records.encode(frame(1, 2), 95)) > len(records.encode(frame(1, 2), 50))
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    jpeg = np.frombuffer(records.encode(red, 95), np.uint8)
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[8, 8].argmax() == 2  # blue, green, red: the file itself is right
    assert records.decode_frames([jpeg], 16, 16)[0, 8, 8].argmax() == 0


@pytest.mark.parametrize(("jpeg", "height"), [(b"\xff\xd8 no jpeg", 48), (None, 47)])
def test_what_is_no_such_jpeg_is_damaged(jpeg: bytes | None, height: int) -> None:
    content = np.frombuffer(jpeg or records.encode(frame(0, 0), 90), np.uint8)
    with pytest.raises(DamagedError, match="frame 0 is not a JPEG of 64x"):
        records.decode_frames([content], height, WIDTH)


def test_a_flipped_byte_is_found_when_its_frame_is_read(cache: Path) -> None:
    path = cache / "shard-00000.bin"
    content = bytearray(path.read_bytes())
    row = records.read_table(cache).iloc[2]
    content[row["offsets"][3] + row["lengths"][3] // 2] ^= 1
    path.write_bytes(content)
    reader = RecordReader(cache)
    assert records.shard_is_complete(cache, 0)
    assert len(reader.frames(2, np.array([0, 2, 4]))) == 3
    with pytest.raises(DamagedError, match=r"shard-00000\.bin: video run/ü 2\.mp4, frame 3 .*run cache again"):
        reader.frames(2, np.array([2, 3]))


def test_a_flipped_byte_in_the_table_is_found(cache: Path) -> None:
    path = cache / "shard-00000.parquet"
    content = bytearray(path.read_bytes())
    content[content.index(b"cut short")] ^= 1
    path.write_bytes(content)
    for read in (RecordReader, records.read_table):
        with pytest.raises(DamagedError, match=r"shard-00000\.parquet .*run cache again"):
            read(cache)


def test_missing_bytes_are_found(cache: Path) -> None:
    path = cache / "shard-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert not records.shard_is_complete(cache, 0)
    with pytest.raises(DamagedError, match="does not have all its bytes"):
        RecordReader(cache).frames(0, np.array([0]))
    with pytest.raises(DamagedError, match="no shard"):
        RecordReader(cache / "none")


def test_a_shard_of_another_version_is_not_read(cache: Path) -> None:
    path = cache / "shard-00001.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"nonlocal_core.records": "0"}), path)
    assert not records.shard_is_complete(cache, 1)
    with pytest.raises(DamagedError, match="another version"):
        records.read_table(cache)


def test_a_writer_that_is_killed_leaves_no_shard_and_its_rerun_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom nonlocal_core.data import records\n"
        "def half():\n"
        "    yield records.Record('a', 'run', 1, 'train', 'ok', '', [b'x' * 100000], 1, 1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "records.write_shard(Path(sys.argv[1]), 0, half())"
    )
    root = Path(nonlocal_core.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code, str(folder)], cwd=root, check=False)
    assert result.returncode == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == ["shard-00000.bin.tmp"]
    assert not records.shard_is_complete(folder, 0)
    records.write_shard(folder, 0, [record(0), broken(1), record(2, 5)])
    assert records.shard_is_complete(folder, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["shard-00000.bin", "shard-00000.parquet"]
    for path in folder.iterdir():
        assert path.read_bytes() == (cache / path.name).read_bytes()


def test_an_old_table_never_vouches_for_new_bytes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two renames of a rebuild, whose bytes happen to be as many as before."""
    old, new = (Record("a", "run", 0, "train", "ok", "", [bytes([value] * 50)], 1, 1) for value in (1, 2))
    records.write_shard(cache, 0, [old])
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.suffix == ".parquet":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        records.write_shard(cache, 0, [new])
    assert not records.shard_is_complete(cache, 0)


def test_one_video_at_a_time_is_in_memory(tmp_path: Path) -> None:
    def many() -> Iterator[Record]:
        for video in range(30):
            yield Record(f"{video}", "run", 0, "train", "ok", "", [bytes(1 << 20)], 1, 1)

    tracemalloc.start()
    records.write_shard(tmp_path, 0, many())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5 << 20


def test_the_digest_does_not_depend_on_how_shards_were_cut(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    records.write_shard(folder, 0, [record(4, 1), broken(3), record(2, 5)])
    records.write_shard(folder, 1, [broken(1), record(0)])
    digest = records.table_digest(records.read_table(cache))
    assert records.table_digest(records.read_table(folder)) == digest
    records.write_shard(folder, 1, [broken(1), record(0, 11)])
    assert records.table_digest(records.read_table(folder)) != digest


def test_threads_share_a_reader(cache: Path) -> None:
    reader = RecordReader(cache)
    jobs = [(row, np.arange(num)) for row, num in [(0, 12), (2, 5), (4, 1)]] * 20
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: reader.frames(*job), jobs))
    fresh = RecordReader(cache)
    for job, result in zip(jobs, results, strict=True):
        np.testing.assert_array_equal(result, fresh.frames(*job))
