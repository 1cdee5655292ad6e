from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, get_args

import pytest

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection, list_labels, lists
from nonlocal_core.data.layouts.inventory import FollowLinks
from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.errors import InputError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def find(folder: Path, names: list[str] | None = None, **settings: Any) -> detection.Listing:
    return detection.find(folder, IndexConfig(**settings), Names(names) if names else None)


def rows(folder: Path, names: list[str] | None = None) -> list[tuple[str, str, str]]:
    found = find(folder, names).sources
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
        follow: [source.size_bytes for source in detection.find(videos, IndexConfig(), None, follow).sources]
        for follow in get_args(FollowLinks)
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
    (tmp_path / "train.txt").write_text(f"{line}\n")
    ((source,), _, _) = lists.find_videos(tmp_path)
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
    assert rows(tmp_path, ["run", "jump"]) == [("a.mp4", "jump", ""), ("b.mp4", "run", "")]
    assert rows(tmp_path) == [("a.mp4", "1", ""), ("b.mp4", "0", "")]
    with pytest.raises(InputError, match=r"train\.txt:1: there is no label 1: labels_path has ids 0 to 0"):
        rows(tmp_path, ["run"])
    (tmp_path / "train.txt").write_text("a.mp4 jump\nb.mp4 run\n")
    assert rows(tmp_path, ["run", "jump"]) == [("a.mp4", "jump", ""), ("b.mp4", "run", "")]


def test_numbers_are_their_own_ids() -> None:
    def sources(*labels: str) -> list[Source]:
        return [Source(label, label, label, "train", 1, 1) for label in labels]

    assert list_labels.numbers(sources("10", "2", "2")) == [str(number) for number in range(11)]
    assert list_labels.numbers(sources("10", "jump")) is None


def test_which_files_are_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["train.txt", "hmdb51_val_split_1_videos.txt", "test-01.CSV", "train_val.txt", "Validate.txt"]
    for name in [*names, "strainer.txt", "kinetics-400_train.csv", "train.json", "notes.txt"]:
        (tmp_path / name).write_text("a.mp4 0\n")
    (tmp_path / "val.csv").write_text("label,youtube_id,time_start,time_end,split\n")
    found = {path.name: split for path, split in lists.find_lists(tmp_path).items()}
    assert found == {
        "train.txt": "train",
        "hmdb51_val_split_1_videos.txt": "val",
        "test-01.CSV": "test",
        "Validate.txt": "val",
    }
    assert "train_val.txt is not taken for a list: it names the splits train, val" in caplog.text


def test_videos_in_no_list_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "x/b.mp4")
    (tmp_path / "train.txt").write_text("x/a.mp4 0\n")
    assert rows(tmp_path) == [("x/a.mp4", "0", "")]
    assert "1 videos are in no list and left out: x/b.mp4" in find(tmp_path).inventory


def test_zero_bytes_in_a_list_are_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4")
    (tmp_path / "train.txt").write_text("x/a\0.mp4 0\n")
    with pytest.raises(InputError, match=r"train\.txt cannot be read: it holds zero bytes"):
        rows(tmp_path)


def listed(folder: Path, **lists_by_name: str) -> Path:
    """Six videos and lists such as train.csv, named train_csv."""
    touch(folder, *(f"videos/{label}_{number}.mp4" for label in ("run", "jump") for number in (1, 2, 3)))
    for name, text in lists_by_name.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\nvideos/run_1.mp4,run\nvideos/jump_1.mp4,jump\n",
        ",video_path,class\n0,videos/run_1.mp4,run\n1,videos/jump_1.mp4,jump\n",  # pandas, with its index
        "label,split,path\nrun,train,videos/run_1.mp4\njump,train,videos/jump_1.mp4\n",
        "path label\nvideos/run_1.mp4 run\nvideos/jump_1.mp4 jump\n",
    ],
)
def test_a_line_of_names_says_which_column_is_which(tmp_path: Path, text: str) -> None:
    """Also if the other list has none."""
    listed(tmp_path, train_csv=text, val_csv="videos/run_2.mp4,run\n")
    assert rows(tmp_path) == [
        ("videos/jump_1.mp4", "jump", "train"),
        ("videos/run_1.mp4", "run", "train"),
        ("videos/run_2.mp4", "run", "val"),
    ]


def test_a_line_of_names_that_nobody_knows_is_no_video(tmp_path: Path) -> None:
    listed(tmp_path, train_csv="clip_id,activity\nvideos/run_1.mp4,run\nvideos/jump_1.mp4,jump\n")
    with pytest.raises(InputError, match=r"train\.csv:1: 'clip_id,activity' looks like names of columns"):
        find(tmp_path)


def test_numbers_that_pandas_has_written_as_fractions_stay_numbers(tmp_path: Path) -> None:
    """They keep their order: 2 comes before 10."""
    listed(tmp_path, train_csv="path,label\nvideos/run_1.mp4,2.0\nvideos/jump_1.mp4,10.0\nvideos/run_3.mp4,1.0\n")
    found = find(tmp_path)
    assert [source.label for source in found.sources] == ["10", "2", "1"]
    assert found.labels == tuple(str(number) for number in range(11))
    assert "8 of 11 labels have no video: 0, 3, 4, 5, 6 and 3 more" in found.inventory


def test_the_same_list_for_val_and_test_is_val(tmp_path: Path) -> None:
    val = "videos/run_2.mp4 0\nvideos/jump_2.mp4 1\n"
    listed(tmp_path, train_csv="videos/run_1.mp4 0\n", val_csv=val, test_csv=val)
    assert {split for _, _, split in rows(tmp_path)} == {"train", "val"}
    assert "test.csv is not used: it lists the same as val.csv" in find(tmp_path).inventory
    (tmp_path / "test.csv").write_text("videos/run_2.mp4 0\n")
    with pytest.raises(InputError, match=r"val\.csv:1: videos/run_2\.mp4 is listed in .*test\.csv:1 already"):
        find(tmp_path)


def test_paths_of_windows_are_read(tmp_path: Path) -> None:
    listed(tmp_path, train_txt="videos\\run_1.mp4 0\n.\\videos\\jump_1.mp4 1\n", val_txt="videos\\run_2.mp4 0\n")
    assert [path for path, *_ in rows(tmp_path)] == ["videos/jump_1.mp4", "videos/run_1.mp4", "videos/run_2.mp4"]


def test_parts_of_a_video_are_videos_of_their_own(tmp_path: Path) -> None:
    text = "videos/run_1.mp4 0 0 0.5\nvideos/run_1.mp4 1 0.5 1\nvideos/jump_1.mp4 1 0.25 1\n"
    listed(tmp_path, train_txt=text)
    found = find(tmp_path).sources
    assert [(source.video_id, source.label, source.start_fraction, source.end_fraction) for source in found] == [
        ("videos/jump_1.mp4", "1", 0.25, 1.0),
        ("videos/run_1.mp4#0-0.5", "0", 0.0, 0.5),
        ("videos/run_1.mp4#0.5-1", "1", 0.5, 1.0),
    ]
    (tmp_path / "train.txt").write_text(text + "videos/run_1.mp4 1 0.5 1\n")
    with pytest.raises(InputError, match=r"train\.txt:4: videos/run_1\.mp4 is listed in .*train\.txt:2 already"):
        find(tmp_path)


def test_several_labels_are_no_part(tmp_path: Path) -> None:
    listed(tmp_path, train_txt="videos/run_1.mp4 2 0 1\n")
    with pytest.raises(
        InputError, match=r"train\.txt:1: .* can be read as three labels or as path .* part 0 to 1"
    ):
        find(tmp_path)
    listed(tmp_path, train_txt="videos/run_1.mp4 2 0.0 1.0\n")
    assert rows(tmp_path) == [("videos/run_1.mp4", "2", "")]


def test_a_line_that_can_be_read_in_two_ways_is_asked_about(tmp_path: Path) -> None:
    touch(tmp_path, "clip/1.jpg", "clip 7/1.jpg")
    (tmp_path / "train.txt").write_text("clip 7 3\n")
    both = (
        r"as path 'clip 7', label '3', or as path 'clip', label '3'.*index\.list_columns=path,label or path,num_fr"
    )
    with pytest.raises(InputError, match=both):
        find(tmp_path)
    assert [source.path for source in find(tmp_path, list_columns="path,label").sources] == ["clip 7"]
    assert [source.path for source in find(tmp_path, list_columns="path,num_frames,label").sources] == ["clip"]


def test_names_of_macos_are_those_of_a_list(tmp_path: Path) -> None:
    """Which may have them composed, whatever the disk has."""
    decomposed = unicodedata.normalize("NFD", "videos/café.mp4")
    touch(tmp_path, decomposed, "videos/b.mp4")
    (tmp_path / "train.csv").write_text("videos/café.mp4,übung\nvideos/b.mp4,u\u0308bung\n", encoding="utf-8")
    found = find(tmp_path).sources
    assert {(source.video_id, source.label, source.size_bytes > 0) for source in found} == {
        ("videos/café.mp4", "übung", True), ("videos/b.mp4", "übung", True)
    }  # fmt: skip
    assert (tmp_path / found[-1].path).exists()


@pytest.mark.parametrize(("ids", "labels"), [((1, 3), ("run", "wave")), ((0, 2), ("run", "wave"))])
def test_a_list_counts_as_the_file_of_labels_or_from_0(tmp_path: Path, ids: tuple[int, int], labels) -> None:
    listed(tmp_path, train_txt=f"videos/run_1.mp4 {ids[0]}\nvideos/run_2.mp4 {ids[1]}\n")
    found = detection.find(tmp_path, IndexConfig(), Names(["run", "jump", "wave"], 1))
    assert tuple(source.label for source in found.sources) == labels
    assert found.labels == ("run", "jump", "wave")


@pytest.mark.parametrize(
    ("paths", "labels", "reason"),
    [
        (("Riding a bike/a.mp4", "clips/JUMP/b.mp4"), ("riding_a_bike", "jump"), "from 0, as the folders"),
        (("run/a.mp4", "riding a bike/b.mp4"), ("run", "riding_a_bike"), ""),
        (("x/a.mp4", "x/b.mp4"), ("run", "riding_a_bike"), "from 1, as labels_path does: 1 is run"),
    ],
)
def test_folders_say_from_what_a_list_counts_that_lacks_the_first_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, paths, labels, reason: str
) -> None:
    caplog.set_level("INFO")
    touch(tmp_path, *paths)
    (tmp_path / "train.csv").write_text(f"{paths[0]},1\n{paths[1]},2\n")
    names = Names(["run", "riding_a_bike", "jump"], 1)
    sources = detection.find(tmp_path, IndexConfig(), names).sources
    assert {source.path: source.label for source in sources} == dict(zip(paths, labels, strict=True))
    assert ("labels are taken to count" in caplog.text) == bool(reason)
    assert reason in caplog.text


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_one_table_of_any_name_is_a_list_where_it_is_asked_for(tmp_path: Path, separator: str) -> None:
    touch(tmp_path, "clips/a.mp4", "clips/b.mp4", "clips/c.mp4")
    rows = [("video", "label", "subset"), ("clips/a.mp4", "jump", "training"), ("clips/b.mp4", "run", "valid")]
    table = tmp_path / ("meta.tsv" if separator == "\t" else "meta.csv")
    table.write_text("".join(separator.join(row) + "\n" for row in rows))
    folder = find(tmp_path, layout="lists")
    assert [(one.path, one.label, one.split) for one in folder.sources] == [
        ("clips/a.mp4", "jump", "train"),
        ("clips/b.mp4", "run", "val"),
    ]
    assert "1 videos are in no list and left out: clips/c.mp4" in folder.inventory
    table.write_text(table.read_text().replace("valid", "holdout"))
    with pytest.raises(InputError, match=r"meta\.[ct]sv:3: there is no split 'holdout': write train, val or test"):
        find(tmp_path, layout="lists")


def test_a_column_names_the_group(tmp_path: Path) -> None:
    listed(tmp_path, train_csv="path,label,group\nvideos/run_1.mp4,run,anna\nvideos/run_2.mp4,run,\n")
    assert [source.group for source in find(tmp_path).sources] == ["anna", ""]


def test_a_split_in_a_column_is_that_of_the_name(tmp_path: Path) -> None:
    text = "path,label,split\nvideos/run_1.mp4,run,training\nvideos/run_2.mp4,run,val\n"
    listed(tmp_path, train_csv=text)
    with pytest.raises(
        InputError, match=r"train\.csv:3: its column says val, and the name of the file says train"
    ):
        find(tmp_path)
    (tmp_path / "train.csv").rename(tmp_path / "all.csv")
    assert [source.split for source in find(tmp_path, layout="lists").sources] == ["train", "val"]
    (tmp_path / "all.csv").unlink()
    listed(tmp_path, train_csv=text.replace("val", "train"), val_csv="videos/run_3.mp4,run\n")
    assert [split for *_, split in rows(tmp_path)] == ["train", "train", "val"]
