from __future__ import annotations

import dataclasses
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import nonlocal_core
from nonlocal_core.data.records import frame_writer, store
from nonlocal_core.data.records.frame_writer import FrameWriter
from nonlocal_core.data.records.shard_writer import Record, write_shard, writing
from nonlocal_core.data.records.store import Shard
from nonlocal_core.errors import DamagedError


def name_of(video: int) -> str:
    return hashlib.sha256(str(video).encode()).hexdigest()


def stored(video: int, number: int) -> bytes:
    return bytes([video, number]) * (50 + number)


def record(video: int, num_frames: int = 12) -> Record:
    frames = [stored(video, number) for number in range(num_frames)]
    return Record(name_of(video), "ok", "", num_frames, 48, 64, frames)


def broken(video: int, status: str = "unreadable") -> Record:
    return Record(name_of(video), status, "damaged: cut short", 0, 0, 0, [])


def in_file(video: int) -> Record:
    return Record(name_of(video), "ok", "", 7, 48, 64, [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Shards a (0 and 2 with frames, 1 broken), b (3 broken), c (4 with a frame, 5 read from its file)."""
    folder = tmp_path / "settings"
    folder.mkdir()
    write_shard(folder, "a", [record(0), broken(1), record(2, 5)])
    write_shard(folder, "b", [broken(3)])
    write_shard(folder, "c", iter([record(4, 1), in_file(5)]))
    return folder


def read(shard: Shard, row: int, indices: list[int]) -> list[bytes]:
    return [bytes(jpeg) for jpeg in shard.jpegs(row, np.array(indices, np.int64))]


def test_frames_come_back(folder: Path) -> None:
    for shard, row, video, num_frames in [("a", 0, 0, 12), ("a", 2, 2, 5), ("c", 0, 4, 1)]:
        opened = Shard(folder, shard)
        assert opened.num_stored(row) == num_frames
        assert read(opened, row, list(range(num_frames))) == [stored(video, k) for k in range(num_frames)]
    assert read(Shard(folder, "a"), 2, [4, 1, 1]) == [stored(2, 4), stored(2, 1), stored(2, 1)]
    for row, indices in [(0, [12]), (0, [-1]), (0, [0, 99]), (1, [0])]:
        with pytest.raises(IndexError, match="stored frames"):
            read(Shard(folder, "a"), row, indices)
    assert Shard(folder, "b").num_stored(0) == Shard(folder, "c").num_stored(1) == 0


def test_more_shards_may_be_open_than_files_at_first(folder: Path) -> None:
    """A training has all of them open; most systems begin with 1024 files, and let a process have more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 5 + max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        opened = [Shard(folder, "a") for _ in range(50 + most)]
        assert read(opened[-1], 2, [4]) == [stored(2, 4)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


MANY = """
import contextlib, os, resource, sys
from pathlib import Path
from nonlocal_core.data.records.store import Shard
from nonlocal_core.errors import as_ours
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
folder, opened = Path(sys.argv[1]), []
for left in (1, 0):  # the table opens, its frames do not; the table does not open
    with contextlib.suppress(OSError):
        while True:
            opened.append(os.dup(0))
    for _ in range(left):
        os.close(opened.pop())
    try:
        Shard(folder, "a")
    except OSError as error:
        print(as_ours(error))
"""


def test_one_file_too_many_is_no_damage(folder: Path) -> None:
    """A shard that cannot be opened for that is not to be deleted."""
    told = subprocess.run([sys.executable, "-c", MANY, str(folder)], capture_output=True, text=True)
    assert told.stdout.count("allow more with ulimit -n") == 2, told.stderr


def test_a_scan_says_what_there_is(folder: Path) -> None:
    rows = store.scan(folder)
    assert rows["sha256"].tolist() == [name_of(video) for video in range(6)]
    assert rows["num_frames"].tolist() == [12, 0, 5, 0, 1, 7]
    assert list(zip(rows["shard"], rows["row"], strict=True)) == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1)
    ]  # fmt: skip
    assert rows["reason"].tolist() == ["", "damaged: cut short", "", "damaged: cut short", "", ""]
    sizes = [sum(len(stored(0, k)) for k in range(n)) for n in (12, 0, 5, 0, 1, 0)]
    assert rows["num_bytes"].tolist() == sizes
    contents = store.contents(folder)
    assert store.positions(contents, rows["sha256"]).tolist() == list(range(6))
    assert store.positions(contents, rows["sha256"].str.upper()).tolist() == [-1] * 6
    assert store.scan(folder / "none").columns.tolist() == rows.columns.tolist()
    assert store.contents(folder / "none").empty


def test_a_shard_is_named_by_its_contents_in_any_order() -> None:
    assert store.shard_id(["a", "b"]) == store.shard_id(["b", "a"]) != store.shard_id(["a"])
    assert store.shard_id(["a", "b"]) != store.shard_id(["ab"])


def test_digests_tell_frames_apart_and_files_by_content_and_settings(folder: Path, tmp_path: Path) -> None:
    digests = store.contents(folder)["digest"]
    assert digests[name_of(1)] == digests[name_of(3)] == ""
    assert digests[digests != ""].is_unique
    other = tmp_path / "other"
    other.mkdir()
    write_shard(other, "x", [in_file(5), record(2, 5), record(0, 11)])
    again = store.contents(other)["digest"]
    assert again[name_of(2)] == digests[name_of(2)]
    assert again[name_of(0)] != digests[name_of(0)]
    assert again[name_of(5)] != digests[name_of(5)], "frames that are not stored depend on the settings"


def test_of_two_copies_the_one_that_was_not_given_up_counts(folder: Path) -> None:
    write_shard(folder, "0", [broken(0, store.GIVEN_UP), record(4, 1)])
    rows, contents = store.scan(folder), store.contents(folder)
    assert (len(rows), len(contents)) == (8, 6)
    assert (contents["status"][name_of(0)], contents["shard"][name_of(0)]) == ("ok", "a")
    assert contents.loc[name_of(4), "shard"] == "0"


def test_a_flipped_byte_is_found_when_its_frame_is_read(folder: Path) -> None:
    path = folder / "shard-a.bin"
    content = bytearray(path.read_bytes())
    at = sum(len(stored(0, k)) for k in range(12)) + sum(len(stored(2, k)) for k in range(3)) + 7
    content[at] ^= 1
    path.write_bytes(content)
    assert store.is_complete(folder, "a")
    shard = Shard(folder, "a")
    assert len(shard.jpegs(2, np.array([0, 2, 4]))) == 3
    with pytest.raises(DamagedError, match="frame 3 does not match its checksum"):
        shard.jpegs(2, np.array([2, 3]))
    said = str(shard.damaged("run/x.mp4", "frame 3"))
    assert said.startswith(f"{path}: video run/x.mp4, frame 3: rm '{path}', then the same command again")
    assert "the 3 videos of this shard" in said


def test_a_flipped_byte_in_the_table_is_found(folder: Path) -> None:
    path = folder / "shard-a.parquet"
    content = bytearray(path.read_bytes())
    content[content.index(b"cut short")] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{path} is damaged \(.*\): rm '{path}'"):
        store.scan(folder)


@pytest.mark.parametrize("flip", [0x01, 0xFF], ids=["another name", "no text"])
def test_a_flipped_byte_in_a_name_of_a_column_is_found(folder: Path, flip: int) -> None:
    """The footer of a parquet file has no checksum."""
    path = folder / "shard-a.parquet"
    content = bytearray(path.read_bytes())
    content[content.rindex(b"num_frames")] ^= flip
    content[content.index(b"num_frames")] ^= flip
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{path} is damaged \(.*\): rm '{path}'"):
        store.scan(folder)


def test_missing_bytes_are_found(folder: Path) -> None:
    path = folder / "shard-a.bin"
    path.write_bytes(path.read_bytes()[:-1])
    assert not store.is_complete(folder, "a")
    assert set(store.scan(folder)["shard"]) == {"b", "c"}
    with pytest.raises(DamagedError, match="does not have all its bytes"):
        Shard(folder, "a")
    for name in ("shard-b.bin", "shard-c.parquet"):
        (folder / name).unlink()
    assert store.scan(folder).empty
    with pytest.raises(DamagedError, match="missing"):
        Shard(folder, "c")


def test_a_shard_of_another_version_does_not_exist(folder: Path) -> None:
    path = folder / "shard-b.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({"nonlocal_core.records": "1"}), path)
    assert not store.is_complete(folder, "b")
    assert set(store.scan(folder)["shard"]) == {"a", "c"}


def test_a_writer_that_is_killed_leaves_no_shard_and_its_rerun_the_same_bytes(
    folder: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed" / "settings"
    killed.mkdir(parents=True)
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from nonlocal_core.data.records.shard_writer import Record, write_shard\n"
        "def half():\n"
        "    yield Record('a', 'ok', '', 1, 1, 1, [b'x' * 100000])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_shard(Path(sys.argv[1]), 'a', half())"
    )
    root = Path(nonlocal_core.__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", code, str(killed)], cwd=root) as process:
        assert process.wait() == -signal.SIGKILL
    assert [path.name for path in killed.iterdir()] == [f"shard-a.bin.tmp{process.pid}"]
    assert not store.is_complete(killed, "a")
    (killed / "shard-a.parquet.tmp1").touch()  # left by one that was killed later
    write_shard(killed, "a", [record(0), broken(1), record(2, 5)])
    assert store.is_complete(killed, "a")
    assert sorted(path.name for path in killed.iterdir()) == ["shard-a.bin", "shard-a.parquet"]
    for path in killed.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_frames_that_others_write_into_a_shard_make_the_same_one(folder: Path, tmp_path: Path) -> None:
    """What a lost video left behind its record is cut off, by the next one and at the end."""
    other = tmp_path / "other" / folder.name
    other.mkdir(parents=True)
    with writing(other, "a") as shard:
        for made in (record(0), broken(1), record(2, 5)):
            with shard.path.open("r+b") as file:
                writer = FrameWriter(file, shard.num_bytes)
                for frame in made.frames or [b"a frame before the fault"]:
                    writer.add(frame)
            stored_here = writer.stored if made.num_frames else frame_writer.NONE
            shard.add(dataclasses.replace(made, frames=()), stored_here)
        with shard.path.open("ab") as file:
            file.write(b"what a killed worker has written")
    for name in ("shard-a.bin", "shard-a.parquet"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_an_old_table_never_vouches_for_new_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two renames of a rebuild, whose bytes happen to be as many as before."""
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.suffix == ".parquet":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_shard(folder, "c", [record(6, 1), in_file(5)])
    assert not store.is_complete(folder, "c")


def test_one_video_at_a_time_is_in_memory(tmp_path: Path) -> None:
    def many() -> Iterator[Record]:
        for video in range(30):
            yield Record(str(video), "ok", "", 1, 1, 1, [bytes(1 << 20)])

    tracemalloc.start()
    write_shard(tmp_path, "a", many())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5 << 20


def test_threads_share_a_shard(folder: Path) -> None:
    shard = Shard(folder, "a")
    jobs = [(row, list(range(num))) for row, num in [(0, 12), (2, 5)]] * 20
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda job: read(shard, *job), jobs))
    assert results == [read(shard, *job) for job in jobs]


def test_sizes_for_people() -> None:
    assert [store.gigabytes(n) for n in (17.2e9, 1e8, 99e6, 4.2e6, 0)] == [
        "17.2 GB", "0.1 GB", "0.0990 GB", "0.0042 GB", "nothing"
    ]  # fmt: skip
