from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from video_files import number_of, painted

from nonlocal_core.data.video import decoding
from nonlocal_core.errors import DecodeError


def make_folder(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        picture = cv2.cvtColor(painted(number), cv2.COLOR_RGB2BGR)
        (folder / name).write_bytes(cv2.imencode(Path(name).suffix, picture)[1].tobytes())
    return folder


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".JPG"])
def test_a_folder_of_pictures_is_a_video(tmp_path: Path, suffix: str) -> None:
    folder = make_folder(tmp_path / "frames", [f"img {number}{suffix}" for number in range(12)])
    (folder / "notes.txt").write_text("no picture")
    (folder / "._img 3.jpg").write_bytes(b"what a Mac leaves behind")
    (folder / "more.png").mkdir()
    assert decoding.probe(folder) == decoding.Probe(
        12, 0.0, 64, 128, 0.0, "pictures", 0, False, 12, 1, 0.0, 12, True
    )
    frames = list(decoding.read_frames(folder))
    assert [number_of(frame) for frame in frames] == list(range(12))
    np.testing.assert_allclose(frames[5].astype(int), painted(5), atol=40)
    np.testing.assert_array_equal(
        decoding.frames_at(folder, 12, np.array([11, 2, 2])), [frames[11], frames[2], frames[2]]
    )


def test_numbers_in_names_are_counted_with_or_without_zeros(tmp_path: Path) -> None:
    names = ["a.png", "a1.png", "a2b9.png", "a2b10.png", "a10.png", "a010b.png", "b1.png"]
    folder = make_folder(tmp_path / "frames", names)
    assert [number_of(frame) for frame in decoding.read_frames(folder)] == list(range(7))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_first_bad_picture_is_named(tmp_path: Path, suffix: str) -> None:
    folder = make_folder(tmp_path / "frames", [f"{number}{suffix}" for number in range(4)])
    path = folder / f"2{suffix}"
    whole = path.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2], whole[:2] + whole[-12:]):
        path.write_bytes(content)
        assert decoding.probe(folder).num_frames == 4
        for read in (
            lambda: list(decoding.read_frames(folder)),
            lambda: decoding.frames_at(folder, 4, np.array([2])),
        ):
            with pytest.raises(DecodeError, match=rf"^2\{suffix} is "):
                read()


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "frames", ["1.png", "2.png"])
    (folder / "3.png").write_bytes(cv2.imencode(".png", painted(3, 64, 32))[1].tobytes())
    for read in (lambda: list(decoding.read_frames(folder)), lambda: decoding.frames_at(folder, 3, np.arange(3))):
        with pytest.raises(DecodeError, match=r"^3\.png has 64x32 px, those before it 128x64$"):
            read()


@pytest.mark.parametrize("number", [-1, 2])
def test_a_picture_that_is_not_there_is_refused(tmp_path: Path, number: int) -> None:
    folder = make_folder(tmp_path / "frames", ["1.png", "2.png"])
    with pytest.raises(DecodeError, match=f"there is no frame {number}: the video has 2"):
        decoding.frames_at(folder, 2, np.array([number]))
