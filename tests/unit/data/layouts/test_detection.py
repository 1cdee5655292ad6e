from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nonlocal_core.data.layouts import detection
from nonlocal_core.data.layouts.listing import FollowLinks, Source, listing_digest
from nonlocal_core.errors import InputError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def found(folder: Path, follow_links: FollowLinks = "inside") -> list[Source]:
    return detection.find_videos(folder, detection.detect(folder), follow_links=follow_links)


def labels_and_splits(sources: list[Source]) -> dict[str, tuple[str, str]]:
    return {source.video_id: (source.label, source.split) for source in sources}


HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


def test_class_folders_without_splits(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4", "jump/2020/deep/b.AVI", "run fast/ü 視.MKV", "run fast/c.webm", "run fast/d.mov")
    touch(tmp_path, "jump/.hidden.mp4", ".cache/x.mp4", "jump/notes.txt", "empty/readme.md")
    assert detection.detect(tmp_path) == "class_folders"
    sources = found(tmp_path)
    assert labels_and_splits(sources) == {
        "jump/2020/deep/b.AVI": ("jump", ""),
        "jump/a.mp4": ("jump", ""),
        "run fast/c.webm": ("run fast", ""),
        "run fast/d.mov": ("run fast", ""),
        "run fast/ü 視.MKV": ("run fast", ""),
    }
    assert [source.path for source in sources] == sorted(source.path for source in sources)
    status = (tmp_path / "jump/a.mp4").stat()
    assert sources[1][4:] == (status.st_size, status.st_mtime_ns, 0.0, 1.0)


def test_class_folders_with_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/jump/a.mp4", "val/jump/more/a.mp4", "test/run/a.mp4")
    assert labels_and_splits(found(tmp_path)) == {
        "train/jump/a.mp4": ("jump", "train"),
        "val/jump/more/a.mp4": ("jump", "val"),
        "test/run/a.mp4": ("run", "test"),
    }


def test_a_label_may_be_called_like_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "bus/a.mp4")
    assert {source.label for source in found(tmp_path)} == {"train", "bus"}


def test_split_folders_beside_label_folders_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/jump/a.mp4", "val/jump/b.mp4", "run/c.mp4", "annotations/list.csv")
    with pytest.raises(InputError, match=r"split folders \(train, val\) and others with videos \(run\)"):
        found(tmp_path)


def test_videos_outside_of_label_folders_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "jump/a.mp4", "stray.mp4")
    assert len(found(tmp_path)) == 1
    assert "1 videos lie outside a label folder" in caplog.text
    assert "stray.mp4" in caplog.text


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    with pytest.raises(InputError, match=r"list\.txt is a file: give the folder"):
        detection.detect(tmp_path / "list.txt")


def test_nothing_to_find(tmp_path: Path) -> None:
    for layout in ("class_folders", "kinetics", "lists"):
        with pytest.raises(InputError, match="there is no folder"):
            detection.find_videos(tmp_path / "none", layout)
    with pytest.raises(InputError, match="there is no folder"):
        detection.detect(tmp_path / "none")
    touch(tmp_path, "jump/notes.txt", "a.mp4")
    with pytest.raises(InputError, match=r"no videos in .*LABEL.*kinetics-400_train\.csv.*train\.txt"):
        found(tmp_path)
    with pytest.raises(InputError, match=r"has no list such as train\.txt"):
        detection.find_videos(tmp_path, "lists")


def test_the_layout_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    touch(tmp_path, "jump/a.mp4", "notes.txt", "training.txt")
    assert detection.detect(tmp_path) == "class_folders"
    touch(tmp_path, "my_train_list.txt")
    assert detection.detect(tmp_path) == "lists"
    said = [record.message.partition("has the layout ")[2] for record in caplog.records]
    assert said == ["class_folders", "lists (my_train_list.txt)"]
    kinetics(tmp_path)
    with pytest.raises(
        InputError, match=r"kinetics-400_train\.csv.*my_train_list\.txt.*index\.layout=kinetics or"
    ):
        detection.detect(tmp_path)


def test_a_folder_of_pictures_is_a_video(tmp_path: Path) -> None:
    touch(tmp_path, "jump/one/1.jpg", "jump/one/2.JPEG", "jump/one/.3.jpg", "run/more/two/1.png", "run/three.mp4")
    touch(tmp_path, "run/three.jpg", "swim/4.jpg", "swim/deep/1.jpg")  # beside a video or a folder: no video
    sources = {source.path: source for source in found(tmp_path)}
    assert {path: source.label for path, source in sources.items()} == {
        "jump/one": "jump", "run/more/two": "run", "run/three.mp4": "run", "swim/deep": "swim"
    }  # fmt: skip
    assert sources["jump/one"].size_bytes == len("jump/one/1.jpg") + len("jump/one/2.JPEG")


@pytest.mark.parametrize("change", ["add", "remove", "rename", "touch", "rewrite"])
def test_any_change_of_a_picture_is_seen(tmp_path: Path, change: str) -> None:
    touch(tmp_path, "jump/one/1.jpg", "jump/one/2.jpg", "run/a.mp4")
    before, again = found(tmp_path), found(tmp_path)
    assert before == again
    picture = tmp_path / "jump/one/2.jpg"
    match change:
        case "add":
            touch(tmp_path, "jump/one/3.jpg")
        case "remove":
            picture.unlink()
        case "rename":
            picture.rename(tmp_path / "jump/one/4.jpg")
        case "touch":
            os.utime(picture, ns=(5, 5))
        case _:
            picture.write_bytes(b"x" * picture.stat().st_size)
    after = found(tmp_path)
    assert after[0].path == "jump/one"
    assert before[0][4:] != after[0][4:]
    assert before[1] == after[1]


def test_what_is_no_file_is_a_row_and_does_not_hang(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4")
    os.mkfifo(tmp_path / "jump/pipe.mp4")
    (tmp_path / "jump/self.mp4").symlink_to("self.mp4")
    assert {source.path: source.size_bytes for source in found(tmp_path)} == {
        "jump/a.mp4": 10, "jump/pipe.mp4": 0, "jump/self.mp4": -1
    }  # fmt: skip


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "store/a.mp4", "videos/run/b.mp4")
    (tmp_path / "videos/jump").symlink_to(tmp_path / "store")
    (tmp_path / "videos/jump/again").symlink_to(tmp_path / "videos")
    (tmp_path / "videos/run/gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    sources = {source.path: source.size_bytes for source in found(tmp_path / "videos", "all")}
    assert sources == {"jump/a.mp4": 11, "run/b.mp4": 16, "run/gone.mp4": -1}


def test_a_link_out_of_the_folder_is_only_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A link to a file is the file, wherever it lies, and so is a link to a folder inside."""
    touch(tmp_path, "store/a.mp4", "store/b.mp4", "videos2/c.mp4", "videos/run/d.mp4", "videos/more/walk/e.mp4")
    videos = tmp_path / "videos"
    (videos / "jump").symlink_to(tmp_path / "store")
    (videos / "run/machine").symlink_to("/")
    (videos / "run/beside").symlink_to("../../videos2")  # whose name only begins as that of the folder
    (videos / "run/back").symlink_to("..")
    (videos / "run/a.mp4").symlink_to(tmp_path / "store/a.mp4")
    (videos / "walk").symlink_to("more/walk")
    (tmp_path / "link").symlink_to(videos)
    for folder in (videos, tmp_path / "link"):
        caplog.clear()
        paths = [source.path for source in found(folder)]
        assert paths == ["more/walk/e.mp4", "run/a.mp4", "run/d.mp4", "walk/e.mp4"]
        (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert said.startswith(f"3 links lead out of {folder} and are not followed: ")
        assert said.endswith("; runtime.follow_links=all follows them")
        for link in (f"jump -> {tmp_path}/store", "run/machine -> /", f"run/beside -> {tmp_path}/videos2"):
            assert link in said
    (videos / "run/machine").unlink()
    assert {source.path for source in found(videos, "all")} >= {"jump/a.mp4", "jump/b.mp4", "run/beside/c.mp4"}


def test_a_split_folder_of_kinetics_may_be_a_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "store/abc_000000_000010.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/train").symlink_to(tmp_path / "store")
    (tmp_path / "videos/kinetics-400_train.csv").write_text(HEADER + "jump,abc,0,10,train,0\n")
    assert [source.size_bytes for source in found(tmp_path / "videos")] == [-1]
    assert f"train -> {tmp_path}/store" in caplog.text
    assert [source.size_bytes for source in found(tmp_path / "videos", "all")] == [27]


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4")
    os.rename(tmp_path / "jump/a.mp4", os.path.join(os.fsencode(tmp_path), b"jump/\xff.mp4"))
    with pytest.raises(InputError, match="not UTF-8"):
        found(tmp_path)


def kinetics(folder: Path) -> Path:
    touch(folder, "train/-abc_000010_000020.mp4", "train/riding a bike/0012_000001_000011.mp4")
    touch(folder, "val/xyz_000000_000010.mp4", "train/unlisted_000000_000010.mp4")
    (folder / "kinetics-400_train.csv").write_text(
        HEADER
        + '"riding a bike",-abc,10,20,train,0\n"riding a bike",0012,1,11,train,0\njuggling,lost,5,15,train,0\n'
    )
    (folder / "kinetics-400_val.csv").write_text("label,youtube_id,time_start,time_end\njuggling,xyz,0,10\n")
    (folder / "kinetics-400_test.csv").write_text("youtube_id\nno folder, so never opened\n")
    return folder


def test_kinetics_with_a_missing_file(tmp_path: Path) -> None:
    kinetics(tmp_path)
    assert detection.detect(tmp_path) == "kinetics"
    sources = found(tmp_path)
    assert labels_and_splits(sources) == {
        "-abc_000010_000020": ("riding a bike", "train"),
        "0012_000001_000011": ("riding a bike", "train"),
        "lost_000005_000015": ("juggling", "train"),
        "xyz_000000_000010": ("juggling", "val"),
    }
    by_id = {source.video_id: source for source in sources}
    assert by_id["lost_000005_000015"][1:6] == ("train/lost_000005_000015.mp4", "juggling", "train", -1, 0)
    assert by_id["0012_000001_000011"].path == "train/riding a bike/0012_000001_000011.mp4"


def test_kinetics_tables_may_be_called_after_their_split_alone(tmp_path: Path) -> None:
    kinetics(tmp_path)
    touch(tmp_path, "train/lost_000005_000015/1.jpg", "train/lost_000005_000015/2.jpg")
    for split in ("train", "val"):
        (tmp_path / f"kinetics-400_{split}.csv").rename(tmp_path / f"{split}.csv")
    assert detection.detect(tmp_path) == "kinetics"
    assert {source.path for source in found(tmp_path) if source.size_bytes >= 0} == {
        "train/-abc_000010_000020.mp4", "train/riding a bike/0012_000001_000011.mp4",
        "val/xyz_000000_000010.mp4", "train/lost_000005_000015",
    }  # fmt: skip


def test_the_cleaned_kinetics_table_wins(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-400_train_cleaned.csv").write_text(HEADER + "riding a bike,-abc,10,20,train,0\n")
    assert len(found(tmp_path)) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("label,youtube_id,time_start\na,b,1\n", "has no column time_end"),
        ("", "has no column label, youtube_id"),
        (HEADER + "a,b,one,2,train,0\n", "csv, line 2: time_start=one and time_end=2 are not both seconds"),
        (HEADER + "a,b,0,2,train,0\na,c,0,inf,train,0\n", "csv, line 3: time_start=0 and time_end=inf are not"),
        (HEADER + "a,b\n", "csv, line 2: time_start=None and"),
        (HEADER + "juggling,xyz,0,10,train,0\n", "video xyz_000000_000010 is listed as train .* and as val"),
        (HEADER + "a,b,0,1,train,0\nc,b,0,1,train,0\n", "listed as train 'a' and as train 'c'"),
    ],
)
def test_kinetics_tables_that_cannot_be_used(tmp_path: Path, table: str, message: str) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-400_train.csv").write_text(table)
    with pytest.raises(InputError, match=message) as caught:
        found(tmp_path)
    assert "\n" not in str(caught.value)


def test_two_kinetics_tables_for_one_folder_are_refused(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-600_train.csv").write_text(HEADER)
    with pytest.raises(InputError, match="both list train/"):
        found(tmp_path)
    with pytest.raises(InputError, match=r"no kinetics-400_train\.csv"):
        detection.find_videos(tmp_path / "val", "kinetics")


def test_the_digest_of_a_listing_sees_every_change_but_not_the_order(tmp_path: Path) -> None:
    sources = [Source("a", "x/a.mp4", "x", "train", 5, 1), Source("b", "x/b.mp4", "x", "train", 5, 1)]
    digest = listing_digest(sources)
    assert listing_digest(sources[::-1]) == digest
    changes: list[dict[str, Any]] = [
        {"path": "x/c.mp4"},
        {"label": "y"},
        {"split": "val"},
        {"size_bytes": 6},
        {"stamp": 2},
    ]
    changes += [{"start_fraction": 0.1}, {"end_fraction": 0.9}]
    digests = {listing_digest([sources[0]._replace(**change), sources[1]]) for change in changes}
    assert len(digests | {digest}) == 8
