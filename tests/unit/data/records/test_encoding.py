from __future__ import annotations

import pickle
import zlib

import cv2
import numpy as np
import pytest
from small import small_disk
from video_files import encode_video, number_of

from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data import transforms
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.records import encoding, frame_writer
from nonlocal_core.data.records.encoding import Job
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import DamagedError

SETTINGS = encoding.FrameSettings.of(CacheConfig(short_side=40, jpeg_quality=95))


def picture(red, green):
    """A smooth picture; blue runs from left to right."""
    made = np.empty((48, 64, 3), np.uint8)
    made[...] = red, green, 0
    made[..., 2] = np.linspace(0, 255, 64)
    return made


def test_encoding_is_the_same_every_time_and_keeps_the_colours():
    assert encoding.encode(picture(1, 2), 90) == encoding.encode(picture(1, 2), 90)
    assert len(encoding.encode(picture(1, 2), 95)) > len(encoding.encode(picture(1, 2), 50))
    jpeg = np.frombuffer(encoding.encode(picture(200, 30), 95), np.uint8)
    frame = encoding.decode(jpeg, 48, 64)
    assert np.abs(frame.astype(int) - picture(200, 30)).mean() < 3
    # Blue, green, red: the file itself is right, not just swapped twice.
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[8, 0].argmax() == 2


@pytest.mark.parametrize(("jpeg", "height"), [(b"\xff\xd8 no jpeg", 48), (None, 47)])
def test_what_is_no_such_jpeg_is_damaged(jpeg, height):
    content = np.frombuffer(jpeg or encoding.encode(picture(0, 0), 90), np.uint8)
    with pytest.raises(DamagedError, match="a frame is not a JPEG of 64x"):
        encoding.decode(content, height, 64)


@pytest.fixture
def frames(tmp_path):
    file = tmp_path / "frames"
    file.touch()
    return file


def jpegs_in(file, stored, offset=0):
    content, ends = file.read_bytes()[offset:], np.cumsum(stored.lengths).tolist()
    assert len(content) == stored.num_bytes
    jpegs = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert list(map(zlib.crc32, jpegs)) == stored.crc32
    return jpegs


def test_every_frame_is_kept_at_its_size(good_mp4, frames):
    made = encoding.encode_video(Job(str(good_mp4), file_probe.content_hash(good_mp4), True, SETTINGS, frames))
    assert (made.reason, made.num_frames, made.height, made.width) == ("", 60, 40, 80)
    assert made.source_px == 60 * 128 * 64
    assert len(pickle.dumps(made)) < made.stored.num_bytes / 10, "frames stay where they are"
    assert made.seconds > 0
    kept = [encoding.decode(np.frombuffer(jpeg, np.uint8), 40, 80) for jpeg in jpegs_in(frames, made.stored)]
    assert [number_of(frame) for frame in kept] == list(range(60))
    for frame, source in zip(kept, decoding.read_frames(good_mp4), strict=True):
        small = transforms.resize_short_side(source, 40)
        assert np.abs(frame.astype(int) - small).mean() < 4


def test_frames_follow_those_that_are_there_and_what_a_killed_worker_has_left_is_cut_off(good_mp4, frames):
    frames.write_bytes(b"of another video" + bytes(1 << 20))
    job = Job(str(good_mp4), file_probe.content_hash(good_mp4), True, SETTINGS, frames, len(b"of another video"))
    made = encoding.encode_video(job)
    assert frames.read_bytes().startswith(b"of another video")
    assert len(jpegs_in(frames, made.stored, job.offset)) == 60
    assert encoding.encode_video(job).stored == made.stored


def test_frames_that_cannot_be_written_are_no_fault_of_the_video(good_mp4, tmp_path):
    job = Job(str(good_mp4), file_probe.content_hash(good_mp4), True, SETTINGS, tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="none"):
        encoding.encode_video(job)
    with small_disk(tmp_path / "disk", 1 << 16) as disk, pytest.raises(OSError, match="No space left"):
        (disk / "frames").touch()
        encoding.encode_video(job._replace(file=disk / "frames"))


def test_what_is_not_kept_is_decoded_all_the_same(good_mp4, tmp_path, frames):
    made = encoding.encode_video(Job(str(good_mp4), file_probe.content_hash(good_mp4), False, SETTINGS, frames))
    assert (made.reason, made.num_frames, made.height, made.width) == ("", 60, 40, 80)
    assert (made.stored, frames.read_bytes()) == (frame_writer.NONE, b"")
    content = good_mp4.read_bytes()
    third = len(content) // 3
    (tmp_path / "damaged.mp4").write_bytes(content[:third] + b"\xff" * third + content[2 * third :])
    for kept in (True, False):
        damaged = tmp_path / "damaged.mp4"
        made = encoding.encode_video(Job(str(damaged), file_probe.content_hash(damaged), kept, SETTINGS, frames))
        assert made._replace(reason="") == encoding.broken("unreadable", "")
        assert made.reason.startswith("damaged")


def test_another_content_never_gets_the_name_of_the_first(good_mp4, tmp_path, frames):
    (tmp_path / "empty.mp4").touch()
    for path, said in [
        (tmp_path / "none.mp4", "is gone"), (tmp_path / "empty.mp4", "has changed"), (good_mp4, "has changed")
    ]:  # fmt: skip
        made = encoding.encode_video(Job(str(path), "another", True, SETTINGS, frames))
        assert (made.status, made.stored) == (encoding.CHANGED, frame_writer.NONE)
        assert made.reason.startswith(said)


def test_small_sources_grow(tmp_path, frames):
    path = encode_video(tmp_path / "small.mp4", num_frames=1, size=(34, 18))
    made = encoding.encode_video(Job(str(path), file_probe.content_hash(path), True, SETTINGS, frames))
    assert (made.num_frames, made.height, made.width) == (1, 40, 76)
