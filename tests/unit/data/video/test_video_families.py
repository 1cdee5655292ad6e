"""Every kind of file that FFmpeg is known to number wrongly, or to jump wrongly in."""

from __future__ import annotations

import functools
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small import small_config
from video_files import FAMILIES, REMAKES, ffmpeg, frames_by_ffmpeg, make_family, number_of

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.video import decoding, decord_frames, jumps, opening
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index

EXPECTED_SAFE = {name: family.seek_safe for name, family in FAMILIES.items()}
EXPECTED_SAFE |= {name: remake.seek_safe for name, remake in REMAKES.items()}
# Their packets do not tell frames apart, or do not say where a frame can be decoded from.
NO_JUMPS = [
    *(
        "h264.avi",
        "h264.ts",
        "h264.h264",
        "hevc.ts",
        "mpeg4_b.avi",
        "mpeg4_b_one_key.avi",
        "mpeg1.mpg",
        "mpeg2.mpg",
    ),
    *("mpeg2.ts", "cut_open.mkv", "cut_hevc.mkv", "cut_mpeg2.mkv", "cut.avi"),
]
TURNED = {"turned_90.mp4": 270, "turned_180.mp4": 180, "turned_270.mov": 90, "turned_90.mkv": 270}
# decord is wrong in these.  It hangs in some MPEG-TS files, cannot open others, and is right in the rest by luck.
WRONG = [
    *("open_gop12.mp4", "open_gop12.mkv", "open_gop60.mp4", "hevc.mp4", "hevc.mkv", "h264.avi", "h264_no_b.avi"),
    *(
        "mpeg4_b.mp4",
        "mpeg4_b.mkv",
        "mpeg4_b.avi",
        "mpeg4_b_one_key.avi",
        "mpeg1.mpg",
        "mpeg2.mpg",
        "mpeg2.mp4",
        "mpeg2.mkv",
        "wmv1.wmv",
    ),
    *("wmv2.wmv", "cut_early.mp4", "cut_late.mp4", "cut_open.mp4", "cut_open.mkv", "cut_hevc.mkv", "cut.avi"),
    *("turned_90.mkv", "mirrored.mp4"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("families")
    frames_of.cache_clear()


def mean_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(int) - b).mean()) if a.shape == b.shape else 255.0


def places(num_frames: int) -> Iterator[list[int]]:
    """30 single places and 6 clips."""
    rng = random.Random(0)
    for _ in range(min(30, 2 * num_frames)):
        yield [rng.randrange(num_frames)]
    for interval in (1, 2, 6) * 2 if num_frames > 1 else ():
        start = rng.randrange(num_frames)
        yield sorted({min(start + step * interval, num_frames - 1) for step in range(16)})


@functools.cache
def frames_of(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a family, read from the start."""
    return list(decoding.read_frames(path))


@pytest.mark.parametrize("name", EXPECTED_SAFE)
def test_all_frames_are_those_that_ffmpeg_shows(folder: Path, name: str) -> None:
    path = make_family(folder, name)
    opening._true_headers.clear()
    probe, frames = decoding.probe(path), frames_of(path)
    assert decoding.probe(path) == probe, "its header is known now"
    expected = frames_by_ffmpeg(path, probe.height, probe.width)
    assert len(frames) == len(expected) == probe.num_frames
    assert max(mean_difference(*pair) for pair in zip(frames, expected, strict=True)) < 0.5
    assert all(frame.dtype == np.uint8 and frame.flags.c_contiguous for frame in frames)
    if name in FAMILIES:
        assert [number_of(frame) for frame in frames] == list(range(FAMILIES[name].num_frames))
        numerator, _, denominator = FAMILIES[name].rate.partition("/")
        if probe.num_frames > 2:
            assert probe.fps == pytest.approx(float(numerator) / float(denominator or 1))
    elif name.startswith("cut"):
        numbers = [number_of(frame) for frame in frames]
        assert numbers == list(range(80 - len(frames), 80))
    assert probe.rotation == TURNED.get(name, probe.rotation if name.startswith("mirrored") else 0)
    assert probe.variable_fps == name.startswith("uneven")


@pytest.mark.parametrize("name", EXPECTED_SAFE)
def test_decord_is_right_where_it_is_called_safe(folder: Path, name: str) -> None:
    path = make_family(folder, name)
    assert decoding.probe(path).seek_safe == EXPECTED_SAFE[name]
    frames = frames_of(path)
    for numbers in places(len(frames)) if EXPECTED_SAFE[name] else ():
        for number, frame in zip(numbers, decord_frames.frames_at(path, numbers), strict=True):
            assert mean_difference(frame, frames[number]) < 1


@pytest.mark.parametrize("name", EXPECTED_SAFE)
def test_jumps_lead_to_the_frames_that_reading_shows(folder: Path, name: str) -> None:
    path = make_family(folder, name)
    frames = frames_of(path)
    assert jumps.can_jump(path) == (name not in NO_JUMPS)
    for numbers in places(len(frames)):
        found = decoding.jump_to(path, len(frames), numbers)
        assert bool(found) == (name not in NO_JUMPS)
        if not found or len(numbers) > 1:
            found = decoding.frames_at(path, len(frames), np.array(numbers))
        np.testing.assert_array_equal(found, [frames[number] for number in numbers])


@pytest.fixture(scope="module")
def reader(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RecordReader:
    """A cache that would keep no frames, of the videos that decord is wrong in."""
    made = tmp_path_factory.mktemp("wrong")
    for number, name in enumerate(WRONG):
        (made / "videos" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        # Of a name that is looked for; what it is, its content says.
        shutil.copy(make_family(folder, name), made / "videos" / "ab"[number % 2] / f"{name}.avi")
    workspace, config = (
        Workspace(made / "workspace"),
        small_config(cache__codec="none", cache__jump="decord", cache__short_side=64),
    )
    return RecordReader(workspace, cache(index(made / "videos", config, workspace), config, workspace))


@pytest.mark.parametrize("name", WRONG)
def test_decord_does_not_jump_in_the_others(folder: Path, reader: RecordReader, name: str) -> None:
    frames = list(decoding.read_frames(folder / name))
    (row,) = reader.rows.index[reader.rows["path"].str.endswith(f"/{name}.avi")]
    assert (reader.rows["status"][row], reader.rows["num_frames"][row]) == ("ok", len(frames))
    assert reader.rows["num_bytes"][row] > 0, "its frames are kept"
    places = np.random.default_rng(0).integers(len(frames), size=30)
    for number, frame in zip(places, reader.frames(row, places), strict=True):
        assert mean_difference(frame, frames[number]) < 6


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_key_frame_that_needs_those_before_it_is_not_trusted(folder: Path, tmp_path: Path, suffix: str) -> None:
    """With intra refresh, what the file calls a key frame is whole only some frames later; decord shows it."""
    path, params = tmp_path / f"refresh.{suffix}", "keyint=12:bframes=0:threads=1:intra-refresh=1"
    ffmpeg("-i", make_family(folder, "gop1.mp4"), "-c:v", "libx264", "-x264-params", params, path)
    frames = list(decoding.read_frames(path))
    assert sum(bool(decoding.jump_to(path, 80, [number])) for number in range(80)) < 40
    for number in range(80):
        np.testing.assert_array_equal(decoding.frames_at(path, 80, np.array([number]))[0], frames[number])


def test_a_frame_that_is_never_shown_is_not_counted(tmp_path: Path) -> None:
    """Two-pass VP8 has packets that only other frames refer to."""
    path = tmp_path / "hidden.webm"
    source = ("-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=4")
    coding = ("-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "25", "-b:v", "100k")
    log = ("-passlogfile", tmp_path / "log")
    ffmpeg(*source, *coding, *log, "-pass", "1", "-f", "null", "-")
    ffmpeg(*source, *coding, *log, "-pass", "2", path)
    probe = decoding.probe(path)
    assert probe.longest_gap > 100, "this file has no such packet"
    assert (probe.num_frames, probe.seek_safe) == (100, False)
    assert len(list(decoding.read_frames(path))) == 100


@pytest.mark.parametrize("name", ["h264.ts", "hevc.ts", "mpeg2.ts", "mpeg2.mpg"])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_recording_that_starts_between_two_key_frames(
    folder: Path, tmp_path: Path, name: str, share: float
) -> None:
    content = make_family(folder, name).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[int(len(content) * share) // 188 * 188 :])
    numbers = [number_of(frame) for frame in decoding.read_frames(path)]
    assert numbers == list(range(80 - len(numbers), 80))
    assert len(numbers) == decoding.probe(path).num_frames > 10
    assert numbers[0] % 12 == 0
