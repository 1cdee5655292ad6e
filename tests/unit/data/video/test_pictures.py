from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from video_files import number_of, painted

from nonlocal_core.data.layouts import inventory, listing
from nonlocal_core.data.video import decoding, pictures
from nonlocal_core.errors import DecodeError


def make_folder(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
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
    names = ["a8.png", "a009.png", "a10.png", "a0011.png"]
    folder = make_folder(tmp_path / "frames", names)
    assert [number_of(frame) for frame in decoding.read_frames(folder)] == list(range(4))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg", "flow_y_2.jpg"],
            r"3 series of pictures: flow_x_ \(2\), flow_y_ \(2\), img_ \(2\); index.frame_name=img_{:01d} takes",
        ),
        (
            ["1.jpg", "2.jpg", "cover.jpg"],
            r"2 series of pictures: numbers alone \(2\), without number \(1\); index.frame_name={:01d}",
        ),
        (["1.jpg", "2.jpg", "2.png"], "frame 2 is there twice: 2.jpg and 2.png"),
        (["1.jpg", "01.jpg"], "frame 1 is there twice: 01.jpg and 1.jpg"),
        (["1.jpg", "2.jpg", "3.jpg", "5.jpg"], "some frames between 3 and 5 are missing"),
        (
            ["01_rgb.jpg", "02_rgb.jpg", "01_depth.png", "02_depth.png"],
            r"2 series of pictures: …_depth \(2\), …_rgb \(2\); index.frame_name={:02d}_rgb takes",
        ),
        (["img_1.jpg", "img_2.jpg", "img_2 (1).jpg"], r"2 series of pictures: img_ \(2\), img_2 \(…\) \(1\)"),
        (["a1_480p.png", "a2_480p.png", "a3_480p.png", "a5_480p.png"], "some frames between 3 and 5 are missing"),
    ],
)
def test_what_is_no_single_series_is_refused(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        decoding.probe(make_folder(tmp_path / "frames", names))


def test_every_tenth_frame_is_a_series(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "frames", ["0.jpg", "10.jpg", "20.jpg"])
    assert decoding.probe(folder).num_frames == 3


def test_a_number_that_is_always_the_same_counts_no_frames(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "frames", [f"take2_{number}_480p.png" for number in range(8, 12)])
    assert [number_of(frame) for frame in decoding.read_frames(folder)] == list(range(4))


def test_one_series_by_a_name_with_something_behind_the_number(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "frames", ["1_rgb.png", "2_rgb.png", "1_mask.png", "2_mask.png"])
    assert [number_of(frame) for frame in decoding.read_frames(folder / "{:01d}_rgb")] == [0, 1]
    assert [number_of(frame) for frame in decoding.read_frames(folder / "{:01d}_mask.png")] == [2, 3]


def test_a_file_with_braces_is_no_series(tmp_path: Path) -> None:
    for name in ("{{7*7}}.jpg", "a{b}.jpg", "a{:02d}.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
        assert not pictures.is_sequence(tmp_path / name)
    assert pictures.is_sequence(tmp_path / "b{:02d}.jpg")


def test_one_series_of_several(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "frames", ["img_01.jpg", "img_02.jpg", "flow_01.jpg", "img_03.jpg"])
    assert decoding.probe(folder / "img_{:02d}").num_frames == 3
    assert [number_of(frame) for frame in decoding.read_frames(folder / "img_{:02d}.jpg")] == [0, 1, 3]


def test_masks_beside_frames_are_never_taken_for_them(tmp_path: Path) -> None:
    """A row with its reason; with the name of the frames, a video.  Clips below a cover stay clips."""
    frames = make_folder(tmp_path / "falls/clip", [f"img_{number:03d}.jpg" for number in range(1, 6)])
    make_folder(frames / "masks", [f"{number}.png" for number in (2, 4)])
    make_folder(tmp_path / "rises", ["1.jpg", "2.jpg"])
    make_folder(tmp_path / "rises/clip", [f"{number}.jpg" for number in range(1, 6)])
    seen = inventory.Inventory()
    assert sorted(file.path for file in listing.walk(tmp_path, seen=seen)) == ["falls/clip", "rises/clip"]
    assert seen.num_files == 14
    with pytest.raises(DecodeError, match=r"a folder masks with pictures .* index.frame_name=img_\{:03d\} takes"):
        decoding.probe(frames)
    seen = inventory.Inventory(frame_name="img_{:03d}")
    paths = {file.path for file in listing.walk(tmp_path, seen=seen)}
    assert "falls/clip/img_{:03d}" in paths
    assert [number_of(frame) for frame in decoding.read_frames(frames / "img_{:03d}")] == list(range(5))


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
