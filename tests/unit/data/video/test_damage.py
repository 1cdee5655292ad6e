"""Damage that FFmpeg passes over: each file is a sound one with one thing done to it, and is refused by name."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from video_files import make_family

from nonlocal_core.data.video import chains, decoding, packets
from nonlocal_core.data.video.packets import Packet
from nonlocal_core.errors import DecodeError

SYNC_BYTES = 188


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def content_of(families: Path, name: str) -> bytearray:
    return bytearray(make_family(families, name).read_bytes())


def read(folder: Path, name: str, content: bytes | bytearray) -> int:
    """The number of frames of a file with this content, as a cache would read it."""
    path = folder / name
    path.write_bytes(content)
    num_frames = decoding.probe(path).num_frames
    assert sum(1 for _ in decoding.read_frames(path)) == num_frames
    return num_frames


def boxes(content: bytes | bytearray, name: bytes) -> list[int]:
    """Where the boxes of this name begin."""
    found, place = [], content.find(name)
    while place >= 0:
        found.append(place - 4)
        place = content.find(name, place + 1)
    return found


def test_a_fragment_that_is_gone(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "fragments.mp4")
    third = boxes(content, b"moof")[2]
    assert read(tmp_path, "whole.mp4", content) == 80
    content[third + 4 : third + 8] = b"free"
    with pytest.raises(DecodeError, match="damaged: about 12 frames are missing behind frame 23"):
        read(tmp_path, "a.mp4", content)


@pytest.mark.parametrize("first", [True, False])
def test_a_fragment_with_a_torn_header(families: Path, tmp_path: Path, first: bool) -> None:
    content = content_of(families, "fragments.mp4")
    place = boxes(content, b"trun")[0 if first else -1]
    content[place : place + 8] = b"\0\0\0\x78t\x8b`\xba"
    with pytest.raises(DecodeError, match="damaged"):
        read(tmp_path, "a.mp4", content)


def test_a_file_that_ends_inside_the_size_of_a_fragment(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "fragments.mp4")
    with pytest.raises(DecodeError, match="damaged: cut short"):
        read(tmp_path, "a.mp4", content[: boxes(content, b"moof")[-1] + 6])


def test_a_wrong_time_of_showing(families: Path, tmp_path: Path) -> None:
    """The offset of one frame in ctts; FFmpeg then hides frames, or shows them elsewhere."""
    content = content_of(families, "gop12_b.mp4")
    place = boxes(content, b"ctts")[0] + 16 + 10 * 8 + 4
    content[place : place + 4] = (int.from_bytes(content[place : place + 4], "big") + 512 * 40).to_bytes(4, "big")
    with pytest.raises(DecodeError, match="damaged: its time stamps contradict each other"):
        read(tmp_path, "a.mp4", content)


def test_fewer_sizes_than_frames(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "gop12_b.mp4")
    place = boxes(content, b"stsz")[0] + 16
    content[place : place + 4] = (49).to_bytes(4, "big")
    with pytest.raises(DecodeError, match="damaged: its tables of frames contradict each other"):
        read(tmp_path, "a.mp4", content)


def test_a_broadcast_stream_may_begin_and_end_inside_a_packet(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "h264.ts")
    begins = content[: SYNC_BYTES * 2] + content[SYNC_BYTES * 2 + 100 :]
    assert read(tmp_path, "a.ts", content[:-100]) >= 79
    with pytest.raises(DecodeError, match="damaged: unreadable inside"):
        read(tmp_path, "b.ts", begins)
    (tmp_path / "c.ts").write_bytes(content[100:])
    assert not chains.is_broken(tmp_path / "c.ts", "mpegts")


def test_a_lost_packet_of_a_broadcast_stream_changes_no_frame_silently(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "h264.ts")
    whole = np.stack(list(decoding.read_frames(families / "h264.ts")))
    refused = 0
    for number in range(20, 100, 10):
        path = tmp_path / "a.ts"
        path.write_bytes(content[: number * SYNC_BYTES] + content[(number + 1) * SYNC_BYTES :])
        try:
            np.testing.assert_array_equal(np.stack(list(decoding.read_frames(path))), whole)
        except DecodeError:
            refused += 1
    assert refused >= 4


@pytest.mark.parametrize("name", ["mpeg2.mpg", "mpeg1.mpg"])
def test_a_hole_in_a_program_stream(families: Path, tmp_path: Path, name: str) -> None:
    content = content_of(families, name)
    assert not chains.is_broken(families / name, "mpeg")
    second = content.find(b"\0\0\1\xba", 4)
    content[second : second + 4] = bytes(4)
    with pytest.raises(DecodeError, match="damaged: unreadable inside"):
        read(tmp_path, name, content)


def test_a_byte_too_many_in_a_flash_video(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "gop12_b.flv")
    content.insert(len(content) - 300, 7)
    with pytest.raises(DecodeError, match="damaged"):
        read(tmp_path, "a.flv", content)


def test_a_frame_of_another_codec_in_a_flash_video(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "gop12_b.flv")
    content[content.find(b"\x27\x01", len(content) // 2)] = 0x22
    with pytest.raises(DecodeError, match="damaged"):
        read(tmp_path, "a.flv", content)


def test_an_index_that_is_shifted(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "mjpeg.avi")
    place = content.find(b"00dc", len(content) // 2)
    with pytest.raises(DecodeError, match=r"damaged: cut short, 79\.0 of 80\.0 frames are there"):
        read(tmp_path, "a.avi", content[:place] + content[place + 4 :])


def blocks(path: Path) -> list[int]:
    """Where the blocks of a Matroska file begin that have its frames."""
    content = path.read_bytes()
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size and packet.pos is not None]
    return [place if content[place] == 0xA3 else content.rfind(b"\xa3", place - 12, place) for place in places]


def test_a_block_that_is_none(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "hevc.mkv")
    content[blocks(families / "hevc.mkv")[40]] = 0xEC  # which says that what follows is to be passed over
    with pytest.raises(DecodeError, match="damaged: unreadable inside"):
        read(tmp_path, "a.mkv", content)


def test_frames_in_the_wrong_order(families: Path, tmp_path: Path) -> None:
    content = content_of(families, "vp9.webm")
    place = blocks(families / "vp9.webm")[10]
    size = 9 - content[place + 1].bit_length()  # bytes of the size; the number of the track and the time follow
    content[place + size + 2 : place + size + 4] = b"\0\1"
    with pytest.raises(DecodeError, match="damaged: its time stamps are not in order"):
        read(tmp_path, "a.webm", content)


def packet(pts: int, dts: int, duration: int = 1) -> Packet:
    return Packet(pts, dts, pts == 0, False, duration)


def test_a_varying_rate_is_no_damage() -> None:
    dts = [0, 10, 20, 30, 130, 140, 1000, 1010]
    durations = [*np.diff(dts).tolist(), 10]
    listed = [packet(time + 5, time, length) for time, length in zip(dts, durations, strict=True)]
    assert packets.fault_of(listed, "mov", "h264", []) == ""
    assert packets.fault_of(listed, "matroska", "vp9", []) == ""
    assert packets.fault_of(listed, "matroska", "h264", [3]) == "damaged: unreadable inside"
    shorter = [one._replace(duration=10) for one in listed]
    assert packets.fault_of(shorter, "mov", "h264", []) == "damaged: about 85 frames are missing behind frame 5"
