"""Lists that people have, in the spellings of other programs: read, or refused with their line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from nonlocal_core.artifacts.label_ids import Names, read_names
from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection
from nonlocal_core.errors import InputError

ROWS = [("videos/run 1.mp4", "run"), ("videos/jump 1.mp4", "jump")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in [path for path, _ in ROWS] + [
        f"rawframes/{name}/img_{n:05d}.jpg" for name in "ab" for n in range(3)
    ]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    return tmp_path


def find(folder: Path, text: str | bytes, name: str = "train.csv", **settings: str) -> detection.Listing:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return detection.find(folder, IndexConfig.model_validate(settings))


@pytest.mark.parametrize(
    "line",
    [
        "{path};{label}\n",
        "{number};{path};{label}\n",
        "{number},{path},{label}\n",  # pandas without names of columns
        "{number}\t{path}\t{label}\n",
        "'{path}' {label}\n",
        '"{path}";"{label}"\r\n',
        "# {label}\n{path},{label}\n",
    ],
)
def test_lines_as_other_programs_write_them(folder: Path, line: str) -> None:
    text = "".join(line.format(path=path, label=label, number=n) for n, (path, label) in enumerate(ROWS))
    for start in ("", "\ufeff"):
        sources = find(folder, start + text).sources
        assert sorted((one.path, one.label) for one in sources if one.size_bytes > 0) == sorted(ROWS)


def test_names_of_columns_may_be_a_comment(folder: Path) -> None:
    (source,) = find(folder, f"# label,path\nrun,{ROWS[0][0]}\n").sources
    assert (source.path, source.label) == ROWS[0]


@pytest.mark.parametrize("separator", ["\t", ";", ","])
def test_pandas_index_stands_below_no_name(folder: Path, separator: str) -> None:
    frame = pd.DataFrame([(label, path, 7) for path, label in ROWS], columns=["label", "path", "taker"])
    for name, layout in (("train.tsv", "auto"), ("videos.csv", "lists")):
        listing = find(folder, frame.to_csv(sep=separator), name, layout=layout)
        assert sorted((source.path, source.label) for source in listing.sources) == sorted(ROWS)
        assert "columns of lists that are not read: taker" in listing.inventory
        (folder / name).unlink()


@pytest.mark.parametrize(
    "text", ["  path\tlabel \n  {}\t{}  \n", "\tpath\tlabel\n{}\t{}\n", "\tpath\tlabel\n\t{}\t{}\n"]
)
def test_blanks_around_a_line_are_no_columns(folder: Path, text: str) -> None:
    (source,) = find(folder, text.format(*ROWS[0])).sources
    assert (source.path, source.label) == ROWS[0]


@pytest.mark.parametrize(
    "before", ["# made by a script\n", "\n", "\n  \n# made by a script\n# format: path label\n\n"]
)
def test_names_of_columns_stand_behind_comments_and_empty_lines(folder: Path, before: str) -> None:
    text = f"{before}label,path,taker\nrun,{ROWS[0][0]},7\n"
    for name, layout in (("train.csv", "auto"), ("videos.csv", "lists")):
        listing = find(folder, text, name, layout=layout)
        assert [(source.path, source.label) for source in listing.sources] == [ROWS[0]]
        assert "columns of lists that are not read: taker" in listing.inventory
        line = 1 + before.count("\n")
        with pytest.raises(InputError, match=rf"{name}:{line}: the columns start_s are not read"):
            find(folder, text.replace("taker", "start_s"), name, layout=layout)
        with pytest.raises(InputError, match=rf"{name}:{line + 1}: its label is missing"):
            find(folder, text.replace("run", "nan"), name, layout=layout)
        (folder / name).unlink()


@pytest.mark.parametrize(("written", "meant"), [("2.0", "2"), ("1e+00", "1"), ("00", "0"), ("3.", "3")])
def test_an_id_is_a_number_however_it_is_written(folder: Path, written: str, meant: str) -> None:
    (source,) = find(folder, f"{ROWS[0][0]},{written}\n").sources
    assert source.label == meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("videos/run 1.mp4,0.5\n", r"train\.csv:1: the label 0\.5 is no id: ids are whole numbers from 0"),
        ("videos/run 1.mp4,-1\n", r"train\.csv:1: the label -1 is no id"),
        ("path,label\nvideos/run 1.mp4,nan\n", r"train\.csv:2: its label is missing \(nan\)"),
        ("run,videos/run 1.mp4\n", r"train\.csv:1: .* has its label before its path"),
        (
            "path,label,start_time,end_time\nvideos/run 1.mp4,run,1.5,4\n",
            r"columns start_time, end_time are not read",
        ),
        (
            "path,label,start_frame\nvideos/run 1.mp4,run,15\n",
            r"train\.csv:1: the columns start_frame are not read",
        ),
        ("videos/run 1.mp4 0 300 0\n", r"train\.csv:1: .* has more than a path and one label: expected"),
        (
            "C:\\data\\run 1.mp4,run\n",
            r"train\.csv:1: C:\\data\\run 1\.mp4 is not inside of .*: list paths relative",
        ),
        ("\\\\nas\\data\\run 1.mp4,run\n", r"is not inside of"),
        (
            "clip,activity\ngone/a.mp4,run\ngone/b.mp4,jump\n",
            r"train\.csv:1: 'clip,activity' looks like names of col",
        ),
        ("videos/caf\xe9.mp4 0\n".encode("latin-1"), r"train\.csv cannot be read: it is no UTF-8 text, so save"),
        ("\ufeffvideos/run 1.mp4 0\n".encode("utf-16-le"), r"train\.csv cannot be read: it is no UTF-8 text"),
        (
            "a 0 1\nb 1 0\n",
            r"train\.csv:1: 'a 0 1' can be read as two labels or as 0 frames and a label, .* has 3 pict",
        ),
        ("a 7 1\nb 9 0\n", r"as two labels or as 7 frames .* index\.list_columns=path,num_frames,label"),
    ],
)
def test_what_is_unclear_is_refused_with_its_line(folder: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(folder, text)


def test_a_number_of_frames_is_no_label(folder: Path) -> None:
    (folder / "rawframes/b/img_00003.jpg").touch()
    with pytest.raises(InputError, match=r"train\.txt:1: 'a 3' can be read as .* or as 3 frames without a label"):
        find(folder, "a 3\nb 4\n", "train.txt")
    found = find(folder, "a 3\nb 4\n", "train.txt", list_columns="path,label")
    assert {source.label for source in found.sources} == {"3", "4"}
    assert {source.label for source in find(folder, "a 3 0\nb 4 1\n", "train.txt").sources} == {"0", "1"}


def test_lists_of_several_folds_in_one_folder(folder: Path) -> None:
    for fold in (1, 2):
        for split, (path, label) in zip(("train", "val"), ROWS[:: 3 - 2 * fold], strict=True):
            (folder / f"ucf101_{split}_split_{fold}_videos.txt").write_text(f"{path} {label}\n")
    assert {s.label: s.split for s in detection.find(folder, IndexConfig()).sources} == {
        "run": "train",
        "jump": "val",
    }
    found = detection.find(folder, IndexConfig(fold=2))
    assert {source.label: source.split for source in found.sources} == {"run": "val", "jump": "train"}
    assert any("not used: ucf101_train_split_1_videos.txt" in line for line in found.inventory)
    with pytest.raises(InputError, match=r"no lists of index\.fold=3: there are 1, 2"):
        detection.find(folder, IndexConfig(fold=3))


def test_two_lists_of_one_split_by_two_words(folder: Path) -> None:
    (folder / "dev.csv").write_text("videos/run 1.mp4,run\n")
    with pytest.raises(InputError, match=r"dev\.csv and eval\.csv are both lists of val: keep one, or name it"):
        find(folder, "videos/jump 1.mp4,jump\n", "eval.csv")


def test_kinetics_tables_of_any_name_and_without_labels(folder: Path) -> None:
    for name in ("train/a_000001_000011.mp4", "val/b_000001_000011.mp4"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(b"x")
    header = "label,youtube_id,time_start,time_end,split"
    for split, name in (("train", "a"), ("val", "b")):
        (folder / f"kinetics700_2020_{split}.csv").write_text(f"{header}\n{split}ing,{name},1,11,{split}\n")
    (folder / "test.csv").write_text("youtube_id,time_start,time_end,split\nc,1,11,test\n")
    found = detection.find(folder, IndexConfig())
    assert found.layout == "kinetics"
    assert {source.label: source.size_bytes for source in found.sources} == {"training": 1, "valing": 1}
    assert "test.csv are not used: they have no column label" in found.inventory


@pytest.mark.parametrize("label", ["0,2", "0|2", "[0, 2]", "0;2", "3 4"])
def test_several_labels_are_not_the_name_of_one(folder: Path, label: str) -> None:
    with pytest.raises(InputError, match=r"train\.csv:1: .* looks like several labels: a video has one label"):
        find(folder, f'"{ROWS[0][0]}","{label}"\n')


@pytest.mark.parametrize("listed", ["videos/run 1.avi", "videos/run 1", "VIDEOS\\Run 1.MP4"])
def test_another_ending_and_other_capitals_are_no_other_video(folder: Path, listed: str) -> None:
    found = find(folder, f"{listed},run\n{ROWS[1][0]},jump\n")
    assert sorted((one.path, one.label) for one in found.sources if one.size_bytes > 0) == sorted(ROWS)
    said = f"1 listed names are there with another ending or other capitals: {listed} is {ROWS[0][0]}"
    assert said.replace("\\", "/") in found.inventory


def test_of_two_that_differ_in_the_ending_none_is_guessed(folder: Path) -> None:
    (folder / "videos/run 1.mkv").write_bytes(b"other")
    found = find(folder, "videos/run 1.avi,run\n")
    assert [one.size_bytes for one in found.sources] == [-1]
    assert "1 of 1 videos are not on disk: videos/run 1.avi" in found.inventory


def test_frames_are_found_before_a_video_of_the_same_name(folder: Path) -> None:
    (folder / "videos/a.mp4").write_bytes(b"video")
    (source,) = find(folder, "a 3 0\n", "train.txt").sources
    assert source.path == "rawframes/a"


def test_columns_that_nobody_reads_are_said(folder: Path) -> None:
    text = "".join(f"{n},{path},{label},p{n},{n}\n" for n, (path, label) in enumerate(ROWS))
    found = find(folder, f"Unnamed: 0,path,label,subject,camera\n{text}")
    assert "columns of lists that are not read: camera" in found.inventory
    assert {source.group for source in found.sources} == {"p0", "p1"}


def test_a_picture_is_no_video(folder: Path) -> None:
    with pytest.raises(InputError, match=r"img_00001\.jpg is a picture: list the folder that its frames lie in"):
        find(folder, "rawframes/a/img_00001.jpg 0\n", "train.txt")


def test_the_same_list_in_another_order_is_no_second_one(folder: Path) -> None:
    (folder / "val.txt").write_text("rawframes/a\t0\nrawframes/b\t1\n")
    (folder / "test.txt").write_text("rawframes/b  1\nrawframes/a  0\n")
    found = find(folder, "videos/run 1.mp4,0\n")
    assert "test.txt is not used: it lists the same as val.txt" in found.inventory


def test_labels_that_a_file_lacks_are_refused_by_names_alone(folder: Path) -> None:
    (folder / "train.csv").write_text("".join(f"{path},{label}\n" for path, label in ROWS))
    with pytest.raises(
        InputError, match=r"1 labels are not in the list of labels, e\.g\. 'jump': did you mean jumps"
    ):
        detection.find(folder, IndexConfig(), Names(["run", "jumps"]))


@pytest.mark.parametrize(
    ("row", "message"),
    [(",abc,0,10", "line 2: its label is missing"), (" ,abc,0,10", "line 2: its label is missing")],
)
def test_a_table_of_kinetics_without_a_label(folder: Path, row: str, message: str) -> None:
    (folder / "train").mkdir()
    with pytest.raises(InputError, match=message):
        find(folder, f"Label, YouTube_ID, Time_Start, time_end\n{row}\n")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_kinetics_whose_columns_are_written_otherwise(folder: Path, separator: str) -> None:
    (folder / "train").mkdir()
    (folder / "train/abc_000000_000010.mp4").write_bytes(b"video")
    text = "\ufeffLabel, YouTube_ID, Time_Start, time_end\nrun,abc,0,10\n".replace(",", separator)
    (source,) = find(folder, text).sources
    assert (source.path, source.label, source.size_bytes) == ("train/abc_000000_000010.mp4", "run", 5)


def test_paths_may_be_relative_to_the_only_folder_that_has_them(folder: Path) -> None:
    text = "run 1.mp4;run\njump 1.mp4;jump\n"
    (folder / "videos").rename(folder / "20bn-jester-v1")
    assert [source.path for source in find(folder, text).sources] == [
        "20bn-jester-v1/jump 1.mp4", "20bn-jester-v1/run 1.mp4"
    ]  # fmt: skip
    (folder / "other").mkdir()
    (folder / "other/run 1.mp4").write_bytes(b"small")
    assert {source.size_bytes for source in find(folder, text).sources} == {-1}, "none is guessed"


def test_a_number_of_frames_that_all_folders_have_is_no_label(folder: Path) -> None:
    with pytest.raises(InputError, match="or as 3 frames without a label"):
        find(folder, "a 3\nb 3\n", "train.txt")


@pytest.fixture
def short_fields() -> Iterator[None]:
    """The usual limit of the module csv, which some libraries raise."""
    before = csv.field_size_limit(131_072)
    yield
    csv.field_size_limit(before)


@pytest.mark.usefixtures("short_fields")
def test_a_field_that_csv_does_not_take_is_one_line(folder: Path) -> None:
    long = "x" * 140_000
    for text in (f'"a","{long}"\n', f'path,label\n"a","{long}"\n'):
        with pytest.raises(InputError, match=r"train\.csv:\d: it cannot be read as CSV: field larger than"):
            find(folder, text)
    (folder / "labels.csv").write_text(f'0,"{long}"\n')
    with pytest.raises(InputError, match="cannot be read as CSV: field larger than"):
        read_names(folder / "labels.csv")
