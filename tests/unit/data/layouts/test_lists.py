from __future__ import annotations

from pathlib import Path

import pytest

from nonlocal_core.data.layouts import detection, lists
from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.errors import InputError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def rows(folder: Path, names: list[str] | None = None) -> list[tuple[str, str, str]]:
    found = detection.find_videos(folder, detection.detect(folder), names)
    assert all(source.video_id == source.path and source.size_bytes >= 0 for source in found)
    return [(source.path, source.label, source.split) for source in found]


def test_a_list_leads_through_no_link_that_is_not_followed(tmp_path: Path, caplog) -> None:
    """But it may name a link to a file."""
    touch(tmp_path, "store/a.mp4", "store/b.bin", "videos/c.mp4")
    videos = tmp_path / "videos"
    (videos / "out").symlink_to(tmp_path / "store")
    (videos / "a.mp4").symlink_to(tmp_path / "store/a.mp4")
    (videos / "train.txt").write_text("out/a.mp4 0\nout/b.bin 0\na.mp4 1\nc.mp4 1\n")
    sizes = {
        follow: [source.size_bytes for source in detection.find_videos(videos, "lists", None, follow)]
        for follow in ("inside", "all")
    }
    assert sizes == {"inside": [11, 12, -1, -1], "all": [11, 12, 11, 11]}
    assert caplog.text.count(f"out -> {tmp_path}/store") == 1


def test_the_lists_of_mmaction2(tmp_path: Path) -> None:
    """Their paths are relative to videos_train and videos_val; ids, with a space."""
    touch(tmp_path, "videos_train/riding a bike/a b.mp4", "videos_train/jump/c.mp4", "videos_val/jump/d.mp4")
    (tmp_path / "kinetics400_train_list_videos.txt").write_text("riding a bike/a b.mp4 1\njump/c.mp4 0\n")
    (tmp_path / "kinetics400_val_list_videos.txt").write_text("jump/d.mp4 0\n\n")
    assert rows(tmp_path) == [
        ("videos_train/jump/c.mp4", "0", "train"),
        ("videos_train/riding a bike/a b.mp4", "1", "train"),
        ("videos_val/jump/d.mp4", "0", "val"),
    ]


def test_the_lists_of_mmaction2_for_rawframes(tmp_path: Path) -> None:
    touch(
        tmp_path, "rawframes/jump/a 1/img_00001.jpg", "rawframes/jump/a 1/img_00002.jpg", "rawframes/run/b/1.png"
    )
    (tmp_path / "hmdb51_train_split_1_rawframes.txt").write_text("jump/a 1 2 0\n")
    (tmp_path / "hmdb51_val_split_1_rawframes.txt").write_text("run/b 1 1\n")
    assert rows(tmp_path) == [("rawframes/jump/a 1", "0", "train"), ("rawframes/run/b", "1", "val")]


def test_the_lists_of_pyslowfast(tmp_path: Path) -> None:
    """Absolute paths, with a space or a comma before the id."""
    touch(tmp_path, "x/a.mp4", "x/b,c.mp4", "y/d e.mp4")
    (tmp_path / "train.csv").write_text(f"{tmp_path}/x/a.mp4 0\n{tmp_path}/x/b,c.mp4 1\n")
    (tmp_path / "val.csv").write_text(f"{tmp_path}/y/d e.mp4,1\n")
    (tmp_path / "test.csv").write_text("")
    with pytest.raises(InputError, match=r"test\.csv lists no video"):
        rows(tmp_path)
    (tmp_path / "test.csv").unlink()
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)  # the list names the place, the run the link, or the other way round
    assert rows(link) == rows(tmp_path) == [
        ("x/a.mp4", "0", "train"), ("x/b,c.mp4", "1", "train"), ("y/d e.mp4", "1", "val")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "path", "label", "fractions"),
    [
        ("a.mp4 3", "a.mp4", "3", (0, 1)),
        ("a.mp4\t3", "a.mp4", "3", (0, 1)),
        ("a.mp4,3", "a.mp4", "3", (0, 1)),
        ("  ./a.mp4   3  ", "a.mp4", "3", (0, 1)),
        ("a.mp4, riding a bike", "a.mp4", "riding a bike", (0, 1)),
        ("a.mp4\triding, a bike", "a.mp4", "riding, a bike", (0, 1)),
        ('"a b, c.mp4","riding, a bike"', "a b, c.mp4", "riding, a bike", (0, 1)),
        ('"a b, c.mp4" 3', "a b, c.mp4", "3", (0, 1)),
        ("a b, c.mp4 3", "a b, c.mp4", "3", (0, 1)),
        ("a b 2.mp4 3 0.25 0.5", "a b 2.mp4", "3", (0.25, 0.5)),
        ("a.mp4,jump,0,1", "a.mp4", "jump", (0, 1)),
        ("clip 7 3", "clip 7", "3", (0, 1)),
        ("clip 7 2 3", "clip 7", "3", (0, 1)),
        ("clip 7 3 0.5 1", "clip 7", "3", (0.5, 1)),
        ("x.mp4,run 3", "x.mp4,run", "3", (0, 1)),
        ("other.flv 3", "other.flv", "3", (0, 1)),
        ("gone b.mp4 3", "gone b.mp4", "3", (0, 1)),
        ("gone b.mp4 3 0 0.5", "gone b.mp4", "3", (0, 0.5)),
        ("gone_folder 250 3", "gone_folder", "3", (0, 1)),
    ],
)
def test_what_a_line_says(
    tmp_path: Path, line: str, path: str, label: str, fractions: tuple[float, float]
) -> None:
    touch(
        tmp_path,
        "a.mp4",
        "a b, c.mp4",
        "a b 2.mp4",
        "clip 7/1.jpg",
        "clip 7/2.jpg",
        "other.flv",
        "x.mp4,run/1.jpg",
    )
    (tmp_path / "train.txt").write_text(f"path,label\n{line}\n")
    (source,) = lists.find_videos(tmp_path)
    assert (source.path, source.label, source.split) == (path, label, "train")
    assert (source.start_fraction, source.end_fraction) == fractions
    assert (source.size_bytes < 0) == path.startswith("gone")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4\n", r"train\.txt:1: 'a\.mp4' cannot be understood: expected `path label`"),
        ("a.mp4 3\nb.mp4 3 0.5\n", r"train\.txt:2: 'b\.mp4 3 0\.5' cannot be understood"),
        ("a.mp4 120 3\n", r"train\.txt:1: .*cannot be understood.*index\.layout=class_folders"),
        ("a.mp4 1 2 3 4\n", r"train\.txt:1: .*cannot be understood"),
        ("a.mp4 3 0.5 0.5\n", r"train\.txt:1: from 0\.5 to 0\.5 is no part of a video: 0 <= start < end <= 1"),
        ("a.mp4 3 0 1.5\n", r"train\.txt:1: from 0 to 1\.5 is no part"),
        ("a.mp4 3 nan 1\n", r"train\.txt:1: from nan to 1 is no part"),
        ("\na.mp4 3\n./a.mp4 3\n", r"train\.txt:3: a\.mp4 is listed in .*train\.txt:2 already"),
        ("val.mp4 3\n", r"val\.txt:1: val\.mp4 is listed in .*train\.txt:1 already"),
        ("../a.mp4 3\n", r"train\.txt:1: \.\./a\.mp4 is not inside of"),
        ("/etc/a.mp4 3\n", r"train\.txt:1: /etc/a\.mp4 is not inside of"),
        ("a.mp4 3\nb.mp4 jump\n", r"train\.txt:2: the label 'jump' is a name, but '3' in .* is a number"),
        ("a.mp4 1000000\n", r"train\.txt:1: there is no label 1000000: numbers go from 0 to 99999"),
        (" \n\n", r"train\.txt lists no video"),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "val.mp4")
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "val.txt").write_text("val.mp4 0\n")
    with pytest.raises(InputError, match=message) as caught:
        lists.find_videos(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"train\.txt cannot be read"):
        lists.find_videos(tmp_path)


def test_names_of_the_labels_replace_numbers(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "train.txt").write_text("a.mp4 1\nb.mp4 00\n")
    assert rows(tmp_path, ["run", "jump"]) == [("a.mp4", "jump", "train"), ("b.mp4", "run", "train")]
    assert rows(tmp_path) == [("a.mp4", "1", "train"), ("b.mp4", "0", "train")]
    with pytest.raises(InputError, match=r"train\.txt:1: there is no label 1: labels_path has ids 0 to 0"):
        rows(tmp_path, ["run"])
    (tmp_path / "train.txt").write_text("a.mp4 jump\nb.mp4 run\n")
    assert rows(tmp_path, ["run", "jump"]) == [("a.mp4", "jump", "train"), ("b.mp4", "run", "train")]


def test_numbers_are_their_own_ids() -> None:
    def sources(*labels: str) -> list[Source]:
        return [Source(label, label, label, "train", 1, 1) for label in labels]

    assert lists.numbers(sources("10", "2", "2")) == [str(number) for number in range(11)]
    assert lists.numbers(sources("10", "jump")) is None


def test_which_files_are_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["train.txt", "hmdb51_val_split_1_videos.txt", "test-01.CSV", "train_val.txt"]
    for name in [*names, "training.txt", "kinetics-400_train.csv", "train.json", "notes.txt"]:
        (tmp_path / name).write_text("a.mp4 0\n")
    (tmp_path / "val.csv").write_text("label,youtube_id,time_start,time_end,split\n")
    found = {path.name: split for path, split in lists.find_lists(tmp_path).items()}
    assert found == {"train.txt": "train", "hmdb51_val_split_1_videos.txt": "val", "test-01.CSV": "test"}
    assert "train_val.txt is not taken for a list: it names the splits train, val" in caplog.text


def test_videos_in_no_list_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "x/a.mp4", "x/b.mp4")
    (tmp_path / "train.txt").write_text("x/a.mp4 0\n")
    assert rows(tmp_path) == [("x/a.mp4", "0", "train")]
    assert "1 videos are in no list and left out: x/b.mp4" in caplog.text


def test_zero_bytes_in_a_list_are_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4")
    (tmp_path / "train.txt").write_text("x/a\0.mp4 0\n")
    with pytest.raises(InputError, match=r"train\.txt cannot be read: it holds zero bytes"):
        rows(tmp_path)
