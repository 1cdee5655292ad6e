from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from nonlocal_core.data import layouts
from nonlocal_core.data.layouts import Source
from nonlocal_core.errors import InputError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def labels_and_splits(sources: list[Source]) -> dict[str, tuple[str, str]]:
    return {source.video_id: (source.label, source.split) for source in sources}


HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"


def test_class_folders_without_splits(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4", "jump/2020/deep/b.AVI", "run fast/ü 視.MKV", "run fast/c.webm", "run fast/d.mov")
    touch(tmp_path, "jump/.hidden.mp4", ".cache/x.mp4", "jump/notes.txt", "empty/readme.md")
    assert layouts.detect(tmp_path) == "class_folders"
    sources = layouts.find_videos(tmp_path, "auto")
    assert labels_and_splits(sources) == {
        "jump/2020/deep/b.AVI": ("jump", ""),
        "jump/a.mp4": ("jump", ""),
        "run fast/c.webm": ("run fast", ""),
        "run fast/d.mov": ("run fast", ""),
        "run fast/ü 視.MKV": ("run fast", ""),
    }
    assert [source.path for source in sources] == sorted(source.path for source in sources)
    status = (tmp_path / "jump/a.mp4").stat()
    assert sources[1][4:] == (status.st_size, status.st_mtime_ns)


def test_class_folders_with_splits(tmp_path: Path) -> None:
    touch(tmp_path, "train/jump/a.mp4", "val/jump/more/a.mp4", "test/run/a.mp4")
    assert labels_and_splits(layouts.find_videos(tmp_path, "auto")) == {
        "train/jump/a.mp4": ("jump", "train"),
        "val/jump/more/a.mp4": ("jump", "val"),
        "test/run/a.mp4": ("run", "test"),
    }


def test_a_label_may_be_called_like_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "bus/a.mp4")
    assert {source.label for source in layouts.find_videos(tmp_path, "auto")} == {"train", "bus"}


def test_split_folders_beside_label_folders_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/jump/a.mp4", "val/jump/b.mp4", "run/c.mp4", "annotations/list.csv")
    with pytest.raises(InputError, match=r"split folders \(train, val\) and others with videos \(run\)"):
        layouts.find_videos(tmp_path, "auto")


def test_videos_outside_of_label_folders_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "jump/a.mp4", "stray.mp4")
    assert len(layouts.find_videos(tmp_path, "auto")) == 1
    assert "1 videos lie outside a label folder" in caplog.text
    assert "stray.mp4" in caplog.text


@pytest.mark.parametrize("layout", ["auto", "class_folders"])
def test_nothing_to_find(tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        layouts.find_videos(tmp_path / "none", layout)
    touch(tmp_path, "jump/notes.txt", "a.mp4")
    with pytest.raises(InputError, match=r"no videos in .*LABEL.*kinetics-400_train\.csv"):
        layouts.find_videos(tmp_path, layout)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "store/a.mp4", "videos/run/b.mp4")
    (tmp_path / "videos/jump").symlink_to(tmp_path / "store")
    (tmp_path / "videos/jump/again").symlink_to(tmp_path / "videos")
    (tmp_path / "videos/run/gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    sources = {source.path: source.size_bytes for source in layouts.find_videos(tmp_path / "videos", "auto")}
    assert sources == {"jump/a.mp4": 11, "run/b.mp4": 16, "run/gone.mp4": -1}


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4")
    os.rename(tmp_path / "jump/a.mp4", os.path.join(os.fsencode(tmp_path), b"jump/\xff.mp4"))
    with pytest.raises(InputError, match="not UTF-8"):
        layouts.find_videos(tmp_path, "auto")


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
    assert layouts.detect(tmp_path) == "kinetics"
    sources = layouts.find_videos(tmp_path, "auto")
    assert labels_and_splits(sources) == {
        "-abc_000010_000020": ("riding a bike", "train"),
        "0012_000001_000011": ("riding a bike", "train"),
        "lost_000005_000015": ("juggling", "train"),
        "xyz_000000_000010": ("juggling", "val"),
    }
    by_id = {source.video_id: source for source in sources}
    assert by_id["lost_000005_000015"][1:] == ("train/lost_000005_000015.mp4", "juggling", "train", -1, 0)
    assert by_id["0012_000001_000011"].path == "train/riding a bike/0012_000001_000011.mp4"


def test_the_cleaned_kinetics_table_wins(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-400_train_cleaned.csv").write_text(HEADER + "riding a bike,-abc,10,20,train,0\n")
    assert len(layouts.find_videos(tmp_path, "auto")) == 2


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("label,youtube_id,time_start\na,b,1\n", "has no column time_end"),
        ("", "has no column label, youtube_id"),
        (HEADER + "a,b,one,2,train,0\n", "cannot be read as CSV"),
        (HEADER + "a,b\n", "cannot be read as CSV"),
        (HEADER + "juggling,xyz,0,10,train,0\n", "video xyz_000000_000010 is listed as train .* and as val"),
        (HEADER + "a,b,0,1,train,0\nc,b,0,1,train,0\n", "listed as train 'a' and as train 'c'"),
    ],
)
def test_kinetics_tables_that_cannot_be_used(tmp_path: Path, table: str, message: str) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-400_train.csv").write_text(table)
    with pytest.raises(InputError, match=message) as caught:
        layouts.find_videos(tmp_path, "auto")
    assert "\n" not in str(caught.value)


def test_two_kinetics_tables_for_one_folder_are_refused(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-600_train.csv").write_text(HEADER)
    with pytest.raises(InputError, match="both list train/"):
        layouts.find_videos(tmp_path, "auto")
    with pytest.raises(InputError, match=r"no kinetics-400_train\.csv"):
        layouts.find_videos(tmp_path / "val", "kinetics")


def test_labels_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "cls2index.json"
    path.write_text(json.dumps({"zumba": 0, "archery": 2, "übung": 1}), encoding="utf-8")
    assert layouts.read_labels(path) == ["zumba", "übung", "archery"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '["a"]', '{"a": 0, "b": 0}', '{"a": 1}', '{"a": "0"}', '{"a": 0, "b": 2}', '{"a": true}'],
)
def test_labels_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cls2index.json"
    path.write_text(text)
    with pytest.raises(InputError, match="labels"):
        layouts.read_labels(path)


def test_the_digest_of_a_listing_sees_every_change_but_not_the_order(tmp_path: Path) -> None:
    sources = [Source("a", "x/a.mp4", "x", "train", 5, 1), Source("b", "x/b.mp4", "x", "train", 5, 1)]
    digest = layouts.listing_digest(sources)
    assert layouts.listing_digest(sources[::-1]) == digest
    changes = [{"path": "x/c.mp4"}, {"label": "y"}, {"split": "val"}, {"size_bytes": 6}, {"mtime_ns": 2}]
    digests = {layouts.listing_digest([sources[0]._replace(**change), sources[1]]) for change in changes}
    assert len(digests | {digest}) == 6
