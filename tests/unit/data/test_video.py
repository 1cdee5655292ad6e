from __future__ import annotations

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import cut_without_encoding, encode_audio, encode_video, frames_by_pyav, number_of, painted

import nonlocal_core
from nonlocal_core.data import video
from nonlocal_core.errors import DecodeError

KINDS = {
    "closed_gop.mp4": {"options": {"x264-params": "open-gop=0"}},
    "b_frames.mp4": {"b_frames": 2, "gop": 250},
    "open_gop.mp4": {"b_frames": 3, "options": {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}},
    "intra.mov": {"gop": 1},
    "h264.mkv": {"b_frames": 2},
    "h264.avi": {"b_frames": 2},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "vp8.webm": {"codec": "libvpx"},
    "one_frame.mp4": {"num_frames": 1},
    "übung mit leerzeichen 視頻.mp4": {},
}


def numbers_and_reason(path: Path) -> tuple[list[int], str]:
    """What comes out of a video before the fault, and the words of the fault."""
    numbers: list[int] = []
    try:
        numbers.extend(number_of(frame) for frame in video.read_frames(path))
    except DecodeError as error:
        return numbers, str(error)
    return numbers, ""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, settings in KINDS.items():
        encode_video(folder / name, **settings)
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_another_decoder_in_the_same_order(videos: Path, name: str) -> None:
    frames = list(video.read_frames(videos / name))
    expected = list(frames_by_pyav(videos / name))
    assert [number_of(frame) for frame in frames] == list(range(KINDS[name].get("num_frames", 60)))
    assert len(frames) == len(expected) == video.probe(videos / name).num_frames
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(frames, expected, strict=True)) <= 2
    assert all(frame.dtype == np.uint8 and frame.flags.c_contiguous for frame in frames)


@pytest.mark.parametrize("width", [16, 34, 66, 72, 104])
def test_narrow_videos_are_read_without_the_padding_of_their_rows(tmp_path: Path, width: int) -> None:
    path = encode_video(tmp_path / "narrow.mp4", num_frames=5, size=(width, 48))
    frames, expected = list(video.read_frames(path)), list(frames_by_pyav(path))
    assert video.probe(path)[2:4] == (48, width)
    np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize("gop", [12, 250])
def test_packets_before_an_edit_list_are_no_frames(tmp_path: Path, gop: int) -> None:
    whole = encode_video(tmp_path / "whole.mp4", num_frames=60, gop=gop, b_frames=2)
    cut = cut_without_encoding(whole, tmp_path / "cut.mp4", Fraction(1, 2))
    numbers = [number_of(frame) for frame in video.read_frames(cut)]
    assert numbers == [number_of(frame) for frame in frames_by_pyav(cut)]
    assert video.probe(cut).num_frames == len(numbers) < 60


def with_empty_packets(folder: Path, empty: set[int]) -> Path:
    """20 frames of MPEG-4, plus or instead of them packets with these numbers that say "not coded" and no more."""
    source, path = encode_video(folder / "whole.avi", num_frames=20, codec="mpeg4"), folder / "holes.avi"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        packets = dict(enumerate(packet for packet in old.demux(video=0) if packet.size))
        for number in sorted(packets.keys() | empty):
            packet = av.Packet(b"\x00\x00\x01\xb6\x50\x00\x00\x7f") if number in empty else packets[number]
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = Fraction(1, 25), copy
            new.mux(packet)
    return path


def test_an_empty_last_packet_is_no_frame(tmp_path: Path) -> None:
    """As in every AVI of HMDB51, where decord would show the last frame twice or refuse the file."""
    path = with_empty_packets(tmp_path, {20})
    assert video.probe(path).num_frames == 21
    assert numbers_and_reason(path) == (list(range(20)), "")


def test_more_packets_without_a_picture_are_a_fault_and_never_repeats(tmp_path: Path) -> None:
    path = with_empty_packets(tmp_path, {20, 21})
    assert numbers_and_reason(path) == (list(range(20)), "damaged: 20 of 22 frames can be decoded")


def test_probe_says_what_the_file_is(good_mp4: Path) -> None:
    assert video.probe(good_mp4) == video.Probe(60, 25.0, 64, 128, 2.4)


def truncated(good: Path, path: Path) -> Path:
    path.write_bytes(good.read_bytes()[:-300])  # the index of an mp4 is at its end
    return path


def truncated_faststart(good: Path, path: Path) -> Path:
    with av.open(str(good)) as old, av.open(str(path), "w", options={"movflags": "faststart"}) as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    return path


BAD = {
    "empty file": lambda good, path: path.write_bytes(b""),
    "not a video": lambda good, path: path.write_text("<html>429 Too Many Requests</html>" * 50),
    "not a video or": truncated,
    "cut short": truncated_faststart,
    "no video stream": lambda good, path: encode_audio(path),
    "not a file": lambda good, path: path.mkdir(),
    "No such file": lambda good, path: None,
}


@pytest.mark.parametrize("reason", BAD)
def test_a_file_that_cannot_be_opened_gives_one_short_reason(good_mp4: Path, tmp_path: Path, reason: str) -> None:
    path = tmp_path / "bad.mp4"
    BAD[reason](good_mp4, path)
    for read in (video.probe, lambda path: list(video.read_frames(path))):
        with pytest.raises(DecodeError, match=reason) as caught:
            read(path)
        text = str(caught.value)
        assert len(text) <= 120
        assert "\n" not in text
        assert ".cc" not in text


def damaged_from(path: Path, first: int, num_frames: int = 60) -> Path:
    """A video in which a few packets from number `first` on hold nothing that can be decoded."""
    encode_video(path, num_frames=num_frames, gop=25)
    with av.open(str(path)) as container:
        spans = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for start, size in spans[first : first + 4]:
        content[start : start + size] = b"\xff" * size
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("first", [0, 1, 2, 30])
def test_a_damaged_middle_raises_and_never_repeats_or_skips_a_frame(tmp_path: Path, first: int) -> None:
    path = damaged_from(tmp_path / "damaged.mp4", first)
    read, reason = numbers_and_reason(path)
    assert "damaged" in reason
    assert read == list(range(len(read)))
    assert len(read) <= first


@pytest.mark.parametrize("first", [0, 2, 30])
def test_a_probe_of_a_damaged_file_says_the_same_every_time(tmp_path: Path, first: int) -> None:
    path = damaged_from(tmp_path / "damaged.mp4", first)
    assert {video.probe(path) for _ in range(20)} == {video.Probe(60, 25.0, 64, 128, 2.4)}


def test_readers_in_threads_do_not_disturb_each_other(good_mp4: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: [number_of(f) for f in video.read_frames(good_mp4)], range(8)))
    assert results == [list(range(60))] * 8


@pytest.mark.parametrize("order", ["nonlocal_core.data.video, mindspore", "mindspore, nonlocal_core.data.video"])
def test_the_decoder_and_mindspore_live_in_one_process(good_mp4: Path, order: str) -> None:
    code = (
        f"import ctypes; mode = ctypes.RTLD_GLOBAL; import {order}\n"
        "from pathlib import Path; import numpy as np\n"
        f"frames = list(nonlocal_core.data.video.read_frames(Path({str(good_mp4)!r})))\n"
        "assert float((mindspore.Tensor(np.float32([1, 2])) * 2).asnumpy()[1]) == 4\n"
        "assert ctypes.RTLD_GLOBAL == mode; print(len(frames))"
    )
    root = Path(nonlocal_core.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()[-1:]) == (0, ["60"]), result.stderr


@pytest.mark.parametrize("name", ["h264.mkv", "vp8.webm", "h264.avi", "mpeg4.avi"])
def test_half_a_file_is_cut_short(tmp_path: Path, name: str) -> None:
    """FFmpeg opens these as whole, shorter videos."""
    path = encode_video(tmp_path / name, **{**KINDS[name], "num_frames": 200})
    assert video.probe(path).num_frames == 200
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DecodeError, match=r"^damaged: cut short, [\d.]+ of [\d.]+ (s|frames) are there$"):
        video.probe(path)


@pytest.mark.parametrize("name", ["h264.mkv", "vp8.webm", "h264.avi", "mpeg4.avi", "mpeg4.mp4"])
def test_a_file_that_is_cut_anywhere_is_refused_or_read_to_there(videos: Path, tmp_path: Path, name: str) -> None:
    content, path = (videos / name).read_bytes(), tmp_path / name
    for length in range(len(content) // 23, len(content), len(content) // 23):
        path.write_bytes(content[:length])
        for read in (video.probe, lambda path: list(video.read_frames(path))):
            with contextlib.suppress(DecodeError):
                assert read(path)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("slow_first", [True, False])
def test_a_whole_file_of_variable_rate_is_whole(tmp_path: Path, suffix: str, slow_first: bool) -> None:
    path, at_ms = tmp_path / f"variable.{suffix}", 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(40):
            frame = av.VideoFrame.from_ndarray(painted(number), format="rgb24")
            frame.pts, frame.time_base = at_ms, Fraction(1, 1000)
            at_ms += 250 if (number < 20) == slow_first else 20
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert video.probe(path).num_frames == 40
    assert [number_of(frame) for frame in video.read_frames(path)] == list(range(40))


@pytest.mark.parametrize("gop", [12, 250])
@pytest.mark.parametrize("start_s", [Fraction(1, 2), Fraction(8, 5)])
def test_a_whole_file_with_an_edit_list_is_whole(tmp_path: Path, start_s: Fraction, gop: int) -> None:
    whole = encode_video(tmp_path / "whole.mp4", num_frames=60, gop=gop, b_frames=2)
    cut = cut_without_encoding(whole, tmp_path / "cut.mp4", start_s)
    assert video.probe(cut).num_frames == len(list(video.read_frames(cut))) > 15
