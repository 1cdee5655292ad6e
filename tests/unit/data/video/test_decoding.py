from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from video_files import (
    FAMILIES,
    cut_without_encoding,
    encode_audio,
    encode_packed,
    encode_video,
    ffmpeg,
    frames_by_pyav,
    make_family,
    number_of,
    painted,
)

import nonlocal_core
from nonlocal_core.data.video import decoding, decord_frames
from nonlocal_core.errors import DecodeError

GOOD = decoding.Probe(60, 25.0, 64, 128, 2.4, "h264", 0, False, 5, 12, 0.0, 60, True)
CUT: dict[str, dict[str, Any]] = {
    "h264.mkv": {"b_frames": 2},
    "vp8.webm": {"codec": "libvpx"},
    "h264.avi": {"b_frames": 2},
    "mpeg4.avi": {"codec": "mpeg4", "b_frames": 2},
    "h264.flv": {"b_frames": 2},
}


def numbers_and_reason(path: Path) -> tuple[list[int], str]:
    """What comes out of a video before the fault, and the words of the fault."""
    numbers: list[int] = []
    try:
        numbers.extend(number_of(frame) for frame in decoding.read_frames(path))
    except DecodeError as error:
        return numbers, str(error)
    return numbers, ""


@pytest.mark.parametrize("width", [16, 34, 66, 72, 104])
def test_narrow_videos_are_read_without_the_padding_of_their_rows(tmp_path: Path, width: int) -> None:
    path = encode_video(tmp_path / "narrow.mp4", num_frames=5, size=(width, 48))
    frames, expected = list(decoding.read_frames(path)), list(frames_by_pyav(path))
    assert decoding.probe(path)[2:4] == (48, width)
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(decoding.frames_at(path, 5, np.arange(5)), expected)


@pytest.mark.parametrize("gop", [12, 250])
def test_packets_before_an_edit_list_are_no_frames(tmp_path: Path, gop: int) -> None:
    whole = encode_video(tmp_path / "whole.mp4", num_frames=60, gop=gop, b_frames=2)
    cut = cut_without_encoding(whole, tmp_path / "cut.mp4", Fraction(1, 2))
    numbers = [number_of(frame) for frame in decoding.read_frames(cut)]
    assert numbers == [number_of(frame) for frame in frames_by_pyav(cut)]
    assert decoding.probe(cut).num_frames == len(numbers) < 60


def test_packed_frames_are_each_read_once(tmp_path: Path) -> None:
    path = encode_packed(tmp_path / "packed.avi")
    probe = decoding.probe(path)
    assert (probe.num_frames, probe.container_frames, probe.seek_safe) == (21, 22, False)
    assert (probe.fps, probe.variable_fps, probe.first_pts_s) == (25.0, False, 0.0)
    assert numbers_and_reason(path) == (list(range(21)), "")
    assert [number_of(frame) for frame in decoding.frames_at(path, 21, np.array([3, 7]))] == [3, 7]
    assert [number_of(frame) for frame in decord_frames.frames_at(path, [3, 7])] != [3, 7], "decord is right"


def with_packets_without_a_picture(folder: Path, suffix: str, empty: set[int]) -> Path:
    """20 frames of MPEG-4, of which some are replaced by the words "not coded"."""
    source, path = encode_video(folder / "whole.avi", num_frames=20, codec="mpeg4"), folder / f"holes.{suffix}"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            written = av.Packet(b"\x00\x00\x01\xb6\x50\x00\x00\x7f") if number in empty else packet
            written.pts = written.dts = number
            written.time_base, written.stream = Fraction(1, 25), copy
            new.mux(written)
    return path


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_packets_without_a_picture_are_a_fault_from_the_second_on(tmp_path: Path, suffix: str) -> None:
    path = with_packets_without_a_picture(tmp_path, suffix, {5})
    numbers = [number for number in range(20) if number != 5]
    assert numbers_and_reason(path) == (numbers, "")
    assert [number_of(frame) for frame in decoding.frames_at(path, 19, np.arange(19))] == numbers
    path = with_packets_without_a_picture(tmp_path, suffix, {5, 6})
    assert numbers_and_reason(path)[1] == "damaged: 18 of 20 frames can be decoded"
    with pytest.raises(DecodeError, match="damaged"):
        decoding.frames_at(path, 20, np.arange(20))


def test_probe_says_what_the_file_is(good_mp4: Path) -> None:
    assert decoding.probe(good_mp4) == GOOD


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


def playlist(good: Path, path: Path) -> None:
    path.with_name("good.mp4").write_bytes(good.read_bytes())
    path.write_text("ffconcat version 1.0\nfile 'good.mp4'\n")


STATUS = {"empty file": "empty", "a folder without pictures": "empty", "no video stream": "audio_only"}
BAD = {
    "empty file": lambda good, path: path.write_bytes(b""),
    "not a video": lambda good, path: path.write_text("<html>429 Too Many Requests</html>" * 50),
    "damaged: cut short": truncated,
    "cut short": truncated_faststart,
    "no video stream": lambda good, path: encode_audio(path),
    "a folder without pictures": lambda good, path: path.mkdir(),
    "not a file": lambda good, path: os.mkfifo(path),
    "a list of files": playlist,
    "No such file": lambda good, path: None,
}


@pytest.mark.parametrize("reason", BAD)
def test_a_file_that_cannot_be_opened_gives_one_short_reason(good_mp4: Path, tmp_path: Path, reason: str) -> None:
    path = tmp_path / "bad.mp4"
    BAD[reason](good_mp4, path)
    for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
        with pytest.raises(DecodeError, match=reason) as caught:
            read(path)
        text = str(caught.value)
        assert caught.value.status == STATUS.get(reason, "unreadable")
        assert len(text) <= 120
        assert "\n" not in text
        assert ".cc" not in text


def damaged_from(path: Path, first: int, num_frames: int = 60) -> Path:
    """A video in which a few packets from number `first` on hold nothing that can be decoded."""
    encode_video(path, num_frames=num_frames, gop=25)
    with av.open(str(path)) as container:
        spans = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
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
    assert len({decoding.probe(path) for _ in range(20)}) == 1
    assert decoding.probe(path)[:5] == (60, 25.0, 64, 128, 2.4)


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    good = encode_video(tmp_path / "good.mp4", gop=250, b_frames=2)
    with av.open(str(good)) as container:
        spans = [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "flipped.mp4"
    for seed in range(5):
        rng, content = random.Random(seed), bytearray(good.read_bytes())
        for start, size in rng.sample(spans[5:], 10):
            content[start + rng.randrange(6, size)] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        assert "damaged" in numbers_and_reason(path)[1]


def test_another_size_in_the_middle_is_a_fault(tmp_path: Path) -> None:
    parts = [tmp_path / "small.h264", tmp_path / "large.h264"]
    for part, size in zip(parts, [(128, 64), (160, 96)], strict=True):
        encode_video(part, num_frames=10, size=size)
    path = tmp_path / "both.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert numbers_and_reason(path) == ([*range(10)], "damaged: the frames change from 128x64 to 160x96 px")


def test_a_hole_in_a_webm_file_is_found(tmp_path: Path) -> None:
    """FFmpeg goes on at the next cluster and says nothing."""
    path = tmp_path / "hole.webm"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x240:r=25:d=4", "-c:v", "libvpx", "-b:v", "800k", "-g", "25", path)
    assert decoding.probe(path).num_frames == 100
    content = bytearray(path.read_bytes())
    place, size = len(content) // 3, len(content) // 10
    content[place : place + size] = bytes(size)
    path.write_bytes(content)
    for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
        with pytest.raises(DecodeError, match="damaged"):
            read(path)


def test_a_picture_that_is_called_a_video_has_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "picture.mp4"
    path.write_bytes(cv2.imencode(".jpg", painted(37))[1].tobytes())
    assert decoding.probe(path)[:4] == (1, 25.0, 64, 128)
    assert numbers_and_reason(path) == ([37], "")


def test_music_with_a_cover_is_sound(tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "music.mp3"
    cover.write_bytes(cv2.imencode(".png", painted(1))[1].tobytes())
    sound = ("-f", "lavfi", "-i", "sine=duration=1", "-i", cover)
    ffmpeg(*sound, "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic", path)
    with pytest.raises(DecodeError, match="no video stream") as caught:
        decoding.probe(path)
    assert caught.value.status == "audio_only"


def test_an_angle_that_is_not_right_is_refused(good_mp4: Path, tmp_path: Path) -> None:
    path = tmp_path / "askew.mp4"
    ffmpeg("-display_rotation", "45", "-i", good_mp4, "-c", "copy", path)
    for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
        with pytest.raises(DecodeError, match="no right one"):
            read(path)


def test_frames_come_in_the_order_asked_for(good_mp4: Path) -> None:
    numbers = [59, 3, 3, 0, 30, 31]
    frames = decoding.frames_at(good_mp4, 60, np.array(numbers))
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((64, 128, 3), "uint8")}
    assert [number_of(frame) for frame in frames] == numbers


@pytest.mark.parametrize("number", [-1, 60])
def test_a_frame_that_is_not_there_is_refused(good_mp4: Path, number: int) -> None:
    with pytest.raises(DecodeError, match=f"there is no frame {number}: the video has 60"):
        decoding.frames_at(good_mp4, 60, np.array([0, number]))


def test_jumping_in_a_damaged_file_raises(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="damaged"):
        decoding.frames_at(damaged_from(tmp_path / "damaged.mp4", 30), 60, np.array([5, 31]))
    with pytest.raises(DecodeError, match="empty file"):
        (tmp_path / "empty.mp4").touch()
        decoding.frames_at(tmp_path / "empty.mp4", 60, np.array([0]))


def test_readers_in_threads_do_not_disturb_each_other(good_mp4: Path) -> None:
    def read(_: int) -> list[int]:
        return [number_of(frame) for frame in decoding.read_frames(good_mp4)]

    def jump(seed: int) -> list[int]:
        order = np.random.default_rng(seed).permutation(60)
        frames = decoding.frames_at(good_mp4, 60, order)
        return [number_of(frames[place]) for place in np.argsort(order)]

    with ThreadPoolExecutor(4) as pool:
        results = [
            future.result() for seed in range(8) for future in (pool.submit(read, seed), pool.submit(jump, seed))
        ]
    assert results == [list(range(60))] * 16


@pytest.mark.parametrize(
    "order",
    [
        "nonlocal_core.data.video.decoding, mindspore, cv2, av",
        "mindspore, cv2, nonlocal_core.data.video.decoding, av",
        "av, cv2, nonlocal_core.data.video.decoding, mindspore",
        "av, mindspore, nonlocal_core.data.video.decoding, cv2",
    ],
)
def test_the_decoders_and_mindspore_live_quietly_in_one_process(
    good_mp4: Path, tmp_path: Path, order: str
) -> None:
    bad = damaged_from(tmp_path / "damaged.mp4", 30)
    code = (
        f"import ctypes; mode = ctypes.RTLD_GLOBAL; import {order}\n"
        "from pathlib import Path; import numpy as np; video = nonlocal_core.data.video.decoding\n"
        f"good, bad = Path({str(good_mp4)!r}), Path({str(bad)!r})\n"
        "frames = list(video.read_frames(good)); jumped = video.frames_at(good, 60, np.arange(60))\n"
        "np.testing.assert_array_equal(frames, jumped)\n"
        "for read in (lambda: list(video.read_frames(bad)), lambda: video.frames_at(bad, 60, np.arange(60))):\n"
        "    try: read(); raise SystemExit('a damaged file was read')\n"
        "    except nonlocal_core.errors.DecodeError: pass\n"
        "assert float((mindspore.Tensor(np.float32([1, 2])) * 2).asnumpy()[1]) == 4\n"
        "assert ctypes.RTLD_GLOBAL == mode; print(len(frames))"
    )
    root = Path(nonlocal_core.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()[-1:], result.stderr) == (0, ["60"], "")


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.75])
def test_a_file_that_is_cut_is_found(tmp_path: Path, name: str, share: float) -> None:
    """FFmpeg opens these as whole, shorter videos."""
    path = encode_video(tmp_path / name, num_frames=200, **CUT[name])
    assert decoding.probe(path).num_frames == 200
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
        with pytest.raises(DecodeError, match="damaged"):
            read(path)


@pytest.mark.parametrize("name", ["mpeg4.avi", "h264.flv"])
def test_a_file_that_is_cut_between_two_packets_is_found(tmp_path: Path, name: str) -> None:
    path = encode_video(tmp_path / name, num_frames=200, **CUT[name])
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[120]])
    for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
        with pytest.raises(DecodeError, match=r"^damaged: cut short, [\d.]+ of [\d.]+ (s|frames) are there$"):
            read(path)


@pytest.mark.parametrize(
    ("name", "length"), [("gif.gif", 30), ("mjpeg.mov", 30), ("theora.ogv", 1), ("wmv2.wmv", 30)]
)
def test_damage_that_ffmpeg_only_speaks_of_is_found(tmp_path: Path, name: str, length: int) -> None:
    """It goes on after it, with lost or wrong frames; the next file is not blamed for it."""
    whole = make_family(tmp_path, name)
    content = bytearray(whole.read_bytes())
    place = len(content) // 2
    content[place : place + length] = random.Random(1).randbytes(length)
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(DecodeError, match="damaged: "):
        list(decoding.read_frames(tmp_path / "damaged"))
    assert len(list(decoding.read_frames(whole))) == FAMILIES[name].num_frames


def test_bytes_between_two_fragments_are_found(tmp_path: Path) -> None:
    content = make_family(tmp_path, "fragments.mp4").read_bytes()
    place = content.index(b"moof", len(content) // 2) - 4  # where a fragment begins
    path = tmp_path / "broken_off.mp4"
    path.write_bytes(content[:place] + bytes(8) + content[place:])
    with pytest.raises(DecodeError, match="damaged: cut short"):
        decoding.probe(path)


def test_a_hole_in_an_avi_file_is_found(tmp_path: Path) -> None:
    path = encode_video(tmp_path / "hole.avi", num_frames=100, codec="mpeg4", gop=1)
    content = bytearray(path.read_bytes())
    place, size = len(content) // 2, len(content) // 20
    content[place : place + size] = bytes(size)
    path.write_bytes(content)
    for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
        with pytest.raises(DecodeError, match="damaged"):
            read(path)


def test_words_that_are_no_utf_8_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "title.avi"
    ffmpeg(
        "-i", encode_video(tmp_path / "plain.avi", codec="mpeg4"), "-c", "copy", "-metadata", "title=HOLDER", path
    )
    assert b"HOLDER" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"HOLDER", b"\xff\xfe\xfd\xfc\xfb\xfa"))
    assert decoding.probe(path).num_frames == 60
    assert numbers_and_reason(path) == (list(range(60)), "")


@pytest.mark.parametrize("name", ["h264.mkv", "vp8.webm", "faststart.mp4", "fragments.mp4", "gif.gif"])
def test_a_file_that_says_how_long_it_is_may_not_lose_a_frame(tmp_path: Path, name: str) -> None:
    path = make_family(tmp_path, name) if name in FAMILIES else encode_video(tmp_path / name, **CUT[name])
    content, num_frames = path.read_bytes(), decoding.probe(path).num_frames
    for length in range(len(content) // 23, len(content) - 1, len(content) // 23):
        path.write_bytes(content[:length])
        numbers, reason = numbers_and_reason(path)
        assert reason or len(numbers) == num_frames


@pytest.mark.parametrize("name", ["h264.avi", "mpeg4.avi", "h264.ts", "mpeg2.mpg", "wmv2.wmv"])
def test_a_file_that_is_cut_anywhere_is_refused_or_read_to_there(tmp_path: Path, name: str) -> None:
    content = make_family(tmp_path, name).read_bytes()
    path = tmp_path / name
    for length in range(len(content) // 23, len(content), len(content) // 23):
        path.write_bytes(content[:length])
        for read in (decoding.probe, lambda path: list(decoding.read_frames(path))):
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
    assert decoding.probe(path).num_frames == 40
    assert decoding.probe(path).variable_fps
    assert [number_of(frame) for frame in decoding.read_frames(path)] == list(range(40))


@pytest.mark.parametrize("gop", [12, 250])
@pytest.mark.parametrize("start_s", [Fraction(1, 2), Fraction(8, 5)])
def test_a_whole_file_with_an_edit_list_is_whole(tmp_path: Path, start_s: Fraction, gop: int) -> None:
    whole = encode_video(tmp_path / "whole.mp4", num_frames=60, gop=gop, b_frames=2)
    cut = cut_without_encoding(whole, tmp_path / "cut.mp4", start_s)
    assert decoding.probe(cut).num_frames == len(list(decoding.read_frames(cut))) > 15
