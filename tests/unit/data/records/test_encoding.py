from __future__ import annotations

import cv2
import numpy as np
import pytest
from video_files import encode_video, number_of

from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data import transforms
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.records import encoding
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


def test_every_frame_is_kept_at_its_size(good_mp4):
    made = encoding.encode_video(Job(str(good_mp4), file_probe.content_hash(good_mp4), True, SETTINGS))
    assert (made.reason, made.num_frames, made.height, made.width) == ("", 60, 40, 80)
    assert made.source_px == 60 * 128 * 64
    assert made.seconds > 0
    frames = [encoding.decode(np.frombuffer(jpeg, np.uint8), 40, 80) for jpeg in made.jpegs]
    assert [number_of(frame) for frame in frames] == list(range(60))
    for frame, source in zip(frames, decoding.read_frames(good_mp4), strict=True):
        small = transforms.resize_short_side(source, 40)
        assert np.abs(frame.astype(int) - small).mean() < 4


def test_what_is_not_kept_is_decoded_all_the_same(good_mp4, tmp_path):
    made = encoding.encode_video(Job(str(good_mp4), file_probe.content_hash(good_mp4), False, SETTINGS))
    assert (made.reason, made.num_frames, made.height, made.width, made.jpegs) == ("", 60, 40, 80, [])
    content = good_mp4.read_bytes()
    third = len(content) // 3
    (tmp_path / "damaged.mp4").write_bytes(content[:third] + b"\xff" * third + content[2 * third :])
    for kept in (True, False):
        damaged = tmp_path / "damaged.mp4"
        made = encoding.encode_video(Job(str(damaged), file_probe.content_hash(damaged), kept, SETTINGS))
        assert made._replace(reason="") == encoding.broken("unreadable", "")
        assert made.reason.startswith("damaged")


def test_another_content_never_gets_the_name_of_the_first(good_mp4, tmp_path):
    (tmp_path / "empty.mp4").touch()
    for path, said in [
        (tmp_path / "none.mp4", "is gone"), (tmp_path / "empty.mp4", "has changed"), (good_mp4, "has changed")
    ]:  # fmt: skip
        made = encoding.encode_video(Job(str(path), "another", True, SETTINGS))
        assert (made.status, made.jpegs) == (encoding.CHANGED, [])
        assert made.reason.startswith(said)


def test_small_sources_grow(tmp_path):
    path = encode_video(tmp_path / "small.mp4", num_frames=1, size=(34, 18))
    made = encoding.encode_video(Job(str(path), file_probe.content_hash(path), True, SETTINGS))
    assert (made.num_frames, made.height, made.width) == (1, 40, 76)
