"""Pixels that are no squares, against what the ffmpeg program makes of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from video_files import encode_timed, ffmpeg, frames_by_ffmpeg

from nonlocal_core.data import transforms
from nonlocal_core.data.video import decoding, opening
from nonlocal_core.errors import DecodeError

TIMES = [number / 25 for number in range(5)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_the_shape_of_a_pixel(tmp_path: Path, ending: str) -> None:
    path = encode_timed(tmp_path / "wide.mp4", TIMES, (96, 64), aspect="16:11")
    copy = tmp_path / f"copy.{ending}"
    ffmpeg("-i", path, *(("-c:v", "mpeg4") if ending == "avi" else ("-c", "copy")), copy)
    assert decoding.probe(copy).pixel_aspect == pytest.approx(16 / 11)
    assert (decoding.probe(copy).height, decoding.probe(copy).width) == (64, 96)


def test_pixels_that_only_the_stream_calls_wide(tmp_path: Path) -> None:
    """An MP4 file needs no box for it, and such a file must be decoded to know it, also the second one."""
    wide, square = (
        encode_timed(tmp_path / f"{aspect}.mp4", TIMES, (96, 64), aspect=aspect) for aspect in ("4:3", "1:1")
    )
    for path in (wide, square):
        content = path.read_bytes()
        assert content.count(b"pasp") == 1
        path.write_bytes(content.replace(b"pasp", b"free"))
    for _ in range(2):
        assert decoding.probe(square).pixel_aspect is None
        assert decoding.probe(wide).pixel_aspect == pytest.approx(4 / 3)


def test_where_no_two_files_share_a_header_opening_without_decoding_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = encode_timed(tmp_path / "a.mp4", TIMES)
    monkeypatch.setattr(opening, "_tries", Counter())
    monkeypatch.setattr(opening, "_true_headers", set())
    for _ in range(3):
        decoding.probe(path)
    assert opening._tries == {"missed": 1, "hit": 2}
    monkeypatch.setattr(opening, "_header", lambda container: ())
    for _ in range(50):
        decoding.probe(path)
    assert opening._tries == {"missed": opening._MOST_MISSES + 3, "hit": 2}


@pytest.mark.parametrize("aspect", ["1:1", "0:1", "399:400"])
def test_squares_and_what_is_one_but_for_rounding(tmp_path: Path, aspect: str) -> None:
    assert decoding.probe(encode_timed(tmp_path / "a.mp4", TIMES, aspect=aspect)).pixel_aspect is None


def test_a_turned_frame_has_turned_pixels(tmp_path: Path) -> None:
    source = encode_timed(tmp_path / "wide.mp4", TIMES, (96, 64), aspect="4:3")
    path = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", source, "-c", "copy", path)
    probed = decoding.probe(path)
    assert (probed.rotation, probed.height, probed.width) == (270, 96, 64)
    assert probed.pixel_aspect == pytest.approx(3 / 4)


def test_a_header_that_must_be_wrong_is_a_reason(tmp_path: Path) -> None:
    path = encode_timed(tmp_path / "a.mp4", TIMES, aspect="20:1")
    with pytest.raises(DecodeError, match="it says that its pixels are 20 times as wide as high"):
        decoding.probe(path)


@pytest.mark.parametrize(
    ("short_side", "size"), [(64, (64, 128)), (48, (48, 96)), (100, (100, 200)), (36, (36, 72))]
)
def test_a_resized_frame_is_what_ffmpeg_scales_to(tmp_path: Path, short_side: int, size: tuple[int, int]) -> None:
    path = encode_timed(tmp_path / "wide.mp4", TIMES, (96, 64), aspect="4:3")
    shown = tmp_path / "shown.mkv"
    scaled = f"scale={size[1]}:{size[0]}:flags=area,setsar=1"
    ffmpeg("-i", path, "-vf", scaled, "-c:v", "libx264", "-crf", "5", "-pix_fmt", "yuv444p", shown)
    for frame, expected in zip(decoding.read_frames(path), frames_by_ffmpeg(shown, *size), strict=True):
        made = transforms.resize_short_side(frame, short_side, "auto", 4 / 3)
        assert made.shape == (*size, 3)
        assert np.abs(made.astype(int) - expected).mean() < 8


def test_high_pixels_make_a_frame_wider_than_it_is_stored() -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    assert transforms.resize_short_side(frame, 32, pixel_aspect=0.5).shape == (43, 32, 3)
    assert transforms.square_pixels(frame, 0.5).shape == (64, 48, 3)
    assert transforms.square_pixels(frame, 1.0) is frame
