"""One odd file ends no stage, takes no more of the machine than it may, and is looked at again if it changes."""

from __future__ import annotations

import functools
import io
import os
import shutil
import struct
import zlib
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
from small import small_config
from video_files import encode_video

from nonlocal_core import prune
from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.data.records import cache_table
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.stages import cache, index

LENIENT = {"runtime__max_unreadable": 1.0}


def png(width: int, height: int) -> bytes:
    """A PNG of 70 bytes that says this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = (
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header says this size."""
    content = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def pictures(folder: Path, last: bytes, ending: str) -> None:
    """A folder of three pictures, the last of which is odd."""
    folder.mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}{ending}"), np.full((48, 64, 3), 90, np.uint8))
    (folder / f"2{ending}").write_bytes(last)


@pytest.fixture
def videos_dir(toy, tmp_path):
    """The toy videos, to be changed."""
    return Path(shutil.copytree(toy.videos_dir, tmp_path / "videos"))


def verdicts(workspace: Workspace, made: RecordCache) -> dict[str, tuple[str, str]]:
    """Status and reason of each file that is not used."""
    rows = cache_table.read(workspace.path(made) / RecordCache.VIDEOS)
    rows = rows[rows["status"] != "ok"]
    return dict(zip(rows["path"], zip(rows["status"], rows["reason"], strict=True), strict=True))


def test_whatever_a_file_does_becomes_its_row(videos_dir, workspace):
    thin, tall = (encode_video(videos_dir / f"falls/{size}.avi", codec="rawvideo", size=size, num_frames=3)
                  for size in ((4000, 2), (2, 4000)))  # fmt: skip
    pictures(videos_dir / "falls/huge_png", png(60_000, 60_000), ".png")
    pictures(videos_dir / "falls/huge_jpg", jpeg(60_000, 60_000), ".jpg")
    pictures(videos_dir / "falls/beyond_opencv", png(2**31 - 1, 2**31 - 1), ".png")
    config = small_config(**LENIENT)
    made = cache.cache(index.index(videos_dir, config, workspace), config, workspace)
    too_large = "says that it has 60000x60000 px; runtime.max_frame_mpx allows 100 million"
    assert verdicts(workspace, made) == {
        f"falls/{thin.name}": ("unreadable", "its frames have 4000x2 px, too thin for cache.short_side=36"),
        f"falls/{tall.name}": ("unreadable", "its frames have 2x4000 px, too thin for cache.short_side=36"),
        "falls/huge_png": ("given_up", f"2.png {too_large}"),
        "falls/huge_jpg": ("given_up", f"2.jpg {too_large}"),
        "falls/beyond_opencv": ("given_up", f"2.png {too_large.replace('60000', str(2**31 - 1))}"),
    }
    assert made.num_ok == 12
    without = small_config(cache__codec="none", **LENIENT)
    made = cache.cache(index.index(videos_dir, without, workspace), without, workspace)
    assert made.num_ok == 12


@functools.cache
def large_png(value: int) -> bytes:
    """A picture of 3000x2000 px, all of one value."""
    return cv2.imencode(".png", np.full((2000, 3000, 3), value, np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("setting", "bound", "reason"),
    [
        ("max_frame_mpx", 5.0, "0.png says that it has 3000x2000 px; runtime.max_frame_mpx allows 5 million"),
        ("max_decode_s", 0.01, "takes more than 0.01 s to decode, which runtime.max_decode_s allows"),
        ("max_kept_gb", 5e-7, "its frames take more than the 5e-07 GB that runtime.max_kept_gb allows"),
        ("max_memory_gb", 0.01, "takes more memory to decode than the 0.01 GB of runtime.max_memory_gb"),
    ],
)
def test_what_one_video_may_take_is_bounded_and_may_be_raised(videos_dir, workspace, setting, bound, reason):
    """A folder of three pictures of 18 MB, each of which takes 0.03 MB of the disk."""
    (videos_dir / "falls/large").mkdir()
    for number in range(3):
        (videos_dir / f"falls/large/{number}.png").write_bytes(large_png(number))
    free = small_config()
    manifest = index.index(videos_dir, free, workspace)
    bounded = small_config(**{f"runtime__{setting}": bound}, **LENIENT)
    told = verdicts(workspace, cache.cache(manifest, bounded, workspace))["falls/large"]
    assert told[0] == "given_up"
    assert reason in told[1]
    with redirect_stdout(io.StringIO()):
        assert prune.main([str(workspace.root), "--yes"]) in (0, None)
    assert verdicts(workspace, cache.cache(manifest, free, workspace)) == {}


def rot(path: Path, content: bytes) -> None:
    """Change a file under the same size and time."""
    status = path.stat()
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("codec", ["jpeg", "none"])
def test_a_file_that_rots_is_looked_at_again(videos_dir, workspace, codec):
    config = small_config(cache__codec=codec, **LENIENT)
    manifest = index.index(videos_dir, config, workspace)
    path = videos_dir / "falls/toy-0000.mp4"
    good = path.read_bytes()
    rot(path, good[: len(good) // 2] + bytes(len(good) - len(good) // 2))
    with pytest.raises(InputError, match=rf"{path} has changed since it was indexed: run again, and index looks"):
        cache.cache(manifest, config, workspace)
    again = index.index(videos_dir, config, workspace)
    rows = manifest_table.read(workspace.path(again) / Manifest.ROWS).set_index("path")
    assert rows["status"].drop("falls/toy-0000.mp4").eq("ok").all()
    made = cache.cache(again, config, workspace)
    assert list(verdicts(workspace, made)) == ["falls/toy-0000.mp4"]
    assert index.plan(videos_dir, config, workspace).shards == ()
    rot(path, good)
    if codec == "none":
        return
    os.utime(path)
    healed = index.index(videos_dir, config, workspace)
    assert healed.digest == manifest.digest
    assert verdicts(workspace, cache.cache(healed, config, workspace)) == {}


def test_a_file_that_rots_while_clips_are_read_from_it_is_looked_at_again(videos_dir, workspace):
    config = small_config(cache__codec="none", **LENIENT)
    made = cache.cache(index.index(videos_dir, config, workspace), config, workspace)
    reader = RecordReader(workspace, made)
    row = int((reader.rows["num_bytes"] == 0).to_numpy().argmax())
    path = videos_dir / str(reader.rows["path"].iloc[row])
    rot(path, bytes(path.stat().st_size))
    with pytest.raises(DamagedError, match=rf"{path}: .*: run again, and index looks at it again"):
        reader.frames(row, np.array([0]))
    again = cache.cache(index.index(videos_dir, config, workspace), config, workspace)
    assert list(verdicts(workspace, again)) == [str(reader.rows["path"].iloc[row])]


def test_a_file_that_may_not_be_read_any_more_is_looked_at_again(videos_dir, workspace, monkeypatch):
    """As it is for a user other than root, whom nothing is forbidden."""
    config = small_config(**LENIENT)
    manifest = index.index(videos_dir, config, workspace)
    path = videos_dir / "falls/toy-0000.mp4"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("nothing is forbidden to this user")
    with pytest.raises(InputError, match=rf"{path} may not be read: run again"):
        cache.cache(manifest, config, workspace)
    made = cache.cache(index.index(videos_dir, config, workspace), config, workspace)
    assert list(verdicts(workspace, made)) == ["falls/toy-0000.mp4"]
