from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection
from nonlocal_core.data.layouts.endings import SUFFIXES
from nonlocal_core.data.layouts.inventory import FollowLinks
from nonlocal_core.data.layouts.listing import Source, listing_digest
from nonlocal_core.errors import InputError


def touch(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def find(folder: Path, follow_links: FollowLinks = "inside", **settings: Any) -> detection.Listing:
    return detection.find(folder, IndexConfig(**settings), follow_links=follow_links)


def found(folder: Path, follow_links: FollowLinks = "inside", **settings: Any) -> list[Source]:
    return find(folder, follow_links, **settings).sources


def labels_and_splits(sources: list[Source]) -> dict[str, tuple[str, str]]:
    return {source.video_id: (source.label, source.split) for source in sources}


def test_class_folders_without_splits(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4", "jump/2020/deep/b.AVI", "run fast/ü 視.MKV", "run fast/c.webm", "run fast/d.mov")
    touch(tmp_path, "jump/.hidden.mp4", ".cache/x.mp4", "jump/notes.txt", "empty/readme.md")
    assert find(tmp_path).layout == "class_folders"
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
    assert sources[1][4:] == (status.st_size, status.st_mtime_ns, 0.0, 1.0, "")


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


def test_videos_outside_of_label_folders_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4", "run/a.mp4", "stray.mp4")
    folder = find(tmp_path)
    assert len(folder.sources) == 2
    assert "1 videos lie outside a label folder and are left out: stray.mp4" in folder.inventory


HEADER = "label,youtube_id,time_start,time_end,split,is_cc\n"
ONE_LABEL = "lie in its folder videos, so they have one label: "


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("notes.txt", "no list", ONE_LABEL + "sort them into one folder a label"),
        ("labels.csv", "video,label\nvideos/a.mp4,jump\n", ONE_LABEL + r"index\.layout=lists reads labels\.csv"),
        ("train.csv", HEADER, ONE_LABEL + r"train\.csv are of Kinetics, whose videos lie in train/"),
    ],
)
def test_one_folder_of_videos_is_no_label(tmp_path: Path, table: str, text: str, message: str) -> None:
    (touch(tmp_path, "videos/a.mp4", "videos/b.mp4") / table).write_text(text)
    with pytest.raises(InputError, match=message):
        find(tmp_path)


def test_a_table_beside_label_folders_is_said(tmp_path: Path) -> None:
    (touch(tmp_path, "jump/a.mp4", "run/b.mp4") / "meta.tsv").write_text("file\tclass\njump/a.mp4\thop\n")
    folder = find(tmp_path)
    assert {source.label for source in folder.sources} == {"jump", "run"}
    assert "index.layout=lists reads meta.tsv" in folder.inventory


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    with pytest.raises(InputError, match=r"list\.txt is a file: give the folder"):
        find(tmp_path / "list.txt")


def test_nothing_to_find(tmp_path: Path) -> None:
    for layout in ("class_folders", "kinetics", "lists"):
        with pytest.raises(InputError, match="there is no folder"):
            find(tmp_path / "none", layout=layout)
    with pytest.raises(InputError, match="there is no folder"):
        find(tmp_path / "none")
    touch(tmp_path, "jump/notes.txt", "a.mp4")
    with pytest.raises(InputError, match=r"no videos in .*LABEL.*kinetics-400_train\.csv.*train\.txt"):
        found(tmp_path)
    with pytest.raises(InputError, match=r"has no list such as train\.txt"):
        find(tmp_path, layout="lists")


def test_the_layout_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "jump/a.mp4", "run/a.mp4", "notes.txt", "drainage.txt")
    assert find(tmp_path).inventory[0] == "layout class_folders, because there are neither tables nor lists"
    (tmp_path / "my_training.txt").write_text("jump/a.mp4 0\n")
    assert find(tmp_path).inventory[0] == "layout lists, because of my_training.txt"
    kinetics(tmp_path)
    with pytest.raises(InputError, match=r"kinetics-400_train\.csv.*my_training\.txt.*index\.layout=kinetics or"):
        find(tmp_path)


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
    touch(tmp_path, "jump/a.mp4", "run/a.mp4")
    os.mkfifo(tmp_path / "jump/pipe.mp4")
    (tmp_path / "jump/self.mp4").symlink_to("self.mp4")
    assert {source.path: source.size_bytes for source in found(tmp_path)} == {
        "jump/a.mp4": 10, "jump/pipe.mp4": 0, "jump/self.mp4": -1, "run/a.mp4": 9
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


def test_folders_that_all_link_to_each_other_are_walked_in_no_time(tmp_path: Path) -> None:
    """Every way through them would be a million ways."""
    for first in range(9):
        touch(tmp_path, f"{first}/a.mp4")
        for second in range(9):
            (tmp_path / f"{first}/to{second}").symlink_to(tmp_path / str(second))
    seen = find(tmp_path)
    assert len(seen.sources) == 9 * (1 + 8 + 8 * 7 + 8 * 7 * 6)
    assert any(
        line.startswith("links behind more than 3 others, not followed: 1680 in 0,") for line in seen.inventory
    )


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
    assert find(tmp_path).layout == "kinetics"
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
    assert find(tmp_path).layout == "kinetics"
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


def test_two_kinetics_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "validation").mkdir()
    with pytest.raises(InputError, match=r"val and validation of .* are both val: keep one of them"):
        found(tmp_path)


def test_two_kinetics_tables_for_one_folder_are_refused(tmp_path: Path) -> None:
    kinetics(tmp_path)
    (tmp_path / "kinetics-600_train.csv").write_text(HEADER)
    with pytest.raises(InputError, match="both list train/"):
        found(tmp_path)
    with pytest.raises(InputError, match=r"no kinetics-400_train\.csv"):
        find(tmp_path / "val", layout="kinetics")


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


def test_every_ending_of_a_video_is_taken_and_junk_is_counted(tmp_path: Path) -> None:
    touch(
        tmp_path, *(f"run/{number}{ending}" for number, ending in enumerate(SUFFIXES)), "run/Z.MPEG", "jump/a.M4V"
    )
    touch(
        tmp_path, "run/@eaDir/1.mp4/SYNOVIDEO.mp4", "run/._a.mp4", "#recycle/b.mp4", "__MACOSX/c.mp4", "Thumbs.db"
    )
    touch(tmp_path, "run/a.srt", "run/b.SRT", "run/notes", "jump/c.wav", "run/GL010.LRV", ".DS_Store")
    seen = find(tmp_path)
    assert len(seen.sources) == len(SUFFIXES) + 2
    assert "e.g. run/" in seen.inventory[2]
    assert [line.partition(" e.g. ")[0] + " e.g." * ("e.g." in line) for line in seen.inventory] == [
        "layout class_folders, because there are neither tables nor lists",
        f"files seen: {len(SUFFIXES) + 7}; videos, also as folders of pictures: {len(SUFFIXES) + 2}",
        "not taken, since they are no video by their name: 2 .srt, 1 without ending, 1 .lrv, 1 .wav; e.g.",
        "hidden names and those of file systems, passed over: 1 #recycle, 1 .DS_Store, 1 ._*, 1 @eaDir,"
        " 1 Thumbs.db, 1 __MACOSX",
        f"{len(SUFFIXES) + 2} videos: to be drawn {len(SUFFIXES) + 2}",
        f"2 labels: run {len(SUFFIXES) + 1}, jump 1",
    ]


@pytest.mark.parametrize(
    "junk",
    [
        "@SynoFinder-log/a.mp4",
        "@appdata/a.mp4",
        "@__qini/a.mp4",
        "run/~$b.mp4",
        "run/thumbnails/1.jpg",
        "Thumbs/1.jpg",
    ],
)
def test_junk_is_no_label_and_no_video(tmp_path: Path, junk: str) -> None:
    touch(tmp_path, "run/a.mp4", "jump/@user_b.mp4", junk)
    assert [source.path for source in found(tmp_path)] == ["jump/@user_b.mp4", "run/a.mp4"]


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "VALID", "Testing"), {"train", "val", "test"}),
        (("training", "dev"), {"train", "val"}),
        (("train", "evaluation"), {"train", "val"}),
        (("Train", "Test"), {"", "test"}),  # val is drawn from train
        (("train",), {""}),
    ],
)
def test_splits_have_many_names(tmp_path: Path, folders: tuple[str, ...], splits: set[str]) -> None:
    touch(tmp_path, *(f"{folder}/{label}/{folder}.mp4" for folder in folders for label in ("run", "jump")))
    seen = find(tmp_path)
    assert {source.split for source in seen.sources} == splits
    assert {source.label for source in seen.sources} == {"run", "jump"}
    assert any("there is no val: 0.2 of train is drawn for it" in line for line in seen.inventory) == (
        "" in splits
    )


def test_folders_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "UCF-101/run/a.mp4", "UCF-101/jump/b.mp4")
    with pytest.raises(
        InputError, match=rf"all videos .* folder UCF-101, .* give videos_dir={tmp_path}/UCF-101; if"
    ):
        find(tmp_path)
    assert {source.label for source in found(tmp_path, layout="class_folders")} == {"UCF-101"}
    touch(tmp_path, "part2/run/a.mp4", "part2/jump/b.mp4")
    with pytest.raises(
        InputError, match=r"UCF-101, part2 of .* all hold jump, run, as splits do: name them train, val"
    ):
        find(tmp_path)
    touch(tmp_path, "part3/run/anna/a.mp4")
    assert {source.label for source in found(tmp_path)} == {"UCF-101", "part2", "part3"}


def test_labels_of_macos_are_those_of_other_systems(tmp_path: Path) -> None:
    touch(tmp_path, "train/cafe\u0301/a.mp4", "val/café/b.mp4")
    assert {(source.label, source.video_id) for source in found(tmp_path)} == {
        ("café", "train/café/a.mp4"), ("café", "val/café/b.mp4")
    }  # fmt: skip
    touch(tmp_path, "train/café/a.mp4")
    with pytest.raises(InputError, match="one name in two spellings of Unicode: rename one"):
        find(tmp_path)


def ucf(folder: Path, base: str = "") -> Path:
    touch(folder, *(f"{base}{label}/v_{label}_g0{g}_c01.avi" for label in ("Run", "Jump") for g in (1, 2, 3)))
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text(
        "Run/v_Run_g02_c01.avi 2\nRun/v_Run_g03_c01.avi 2\nJump/v_Jump_g02_c01.avi 1\n"
    )
    (lists / "testlist01.txt").write_text("Run/v_Run_g01_c01.avi\nJump/v_Jump_g01_c01.avi\n")
    (lists / "trainlist02.txt").write_text("Run/v_Run_g01_c01.avi 2\nJump/v_Jump_g01_c01.avi 1\n")
    (lists / "testlist02.txt").write_text("Run/v_Run_g02_c01.avi\n")
    (lists / "classInd.txt").write_text("2 Run\n1 Jump\n")
    return folder


@pytest.mark.parametrize("base", ["", "UCF-101/"])
def test_the_official_lists_of_ucf101(tmp_path: Path, base: str) -> None:
    seen = find(ucf(tmp_path, base))
    assert seen.layout == "folds"
    assert seen.labels == ("Jump", "Run")
    assert labels_and_splits(seen.sources) == {
        f"{base}Jump/v_Jump_g01_c01.avi": ("Jump", "test"),
        f"{base}Jump/v_Jump_g02_c01.avi": ("Jump", ""),
        f"{base}Run/v_Run_g01_c01.avi": ("Run", "test"),
        f"{base}Run/v_Run_g02_c01.avi": ("Run", ""),
        f"{base}Run/v_Run_g03_c01.avi": ("Run", ""),
    }
    assert {s.video_id for s in found(tmp_path, fold=2) if s.split == "test"} == {f"{base}Run/v_Run_g02_c01.avi"}
    with pytest.raises(InputError, match=r"no official lists of index\.fold=3: it has 1, 2"):
        find(tmp_path, fold=3)


def test_the_official_lists_of_hmdb51(tmp_path: Path) -> None:
    touch(tmp_path, "brush_hair/a b.avi", "brush_hair/c.avi", "wave/d.avi", "wave/e.avi")
    (tmp_path / "brush_hair_test_split1.txt").write_text("a b.avi 1 \nc.avi 2 \n")
    (tmp_path / "wave_test_split1.txt").write_text("d.avi 1 \ne.avi 0 \n")
    assert labels_and_splits(found(tmp_path)) == {
        "brush_hair/a b.avi": ("brush_hair", ""),
        "brush_hair/c.avi": ("brush_hair", "test"),
        "wave/d.avi": ("wave", ""),
    }


def test_official_lists_find_their_videos_wherever_they_lie(tmp_path: Path) -> None:
    folder = ucf(tmp_path, "train/")
    touch(folder, *(f"rawframes/Run/v_Run_g03_c01/{n}.jpg" for n in (1, 2)))
    (folder / "test/RUN").mkdir(parents=True)
    (folder / "train/Run/v_Run_g01_c01.avi").rename(folder / "test/RUN/v_Run_G01_c01.mp4")
    seen = find(folder)
    assert {s.path: s.split for s in seen.sources if s.label == "Run"} == {
        "test/RUN/v_Run_G01_c01.mp4": "test", "train/Run/v_Run_g02_c01.avi": "", "train/Run/v_Run_g03_c01.avi": ""
    }  # fmt: skip
    assert (
        "2 videos are in no list and left out: rawframes/Run/v_Run_g03_c01, train/Jump/v_Jump_g03_c01.avi"
        in seen.inventory
    )


def test_official_lists_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = ucf(tmp_path)
    (folder / "ucfTrainTestlist/classInd.txt").write_text("1 Run\n2 Jump\n")
    with pytest.raises(InputError, match=r"trainlist01\.txt:1: Run/v_Run_g02_c01\.avi has the id 2, and 1 in"):
        find(folder)
    (folder / "ucfTrainTestlist/classInd.txt").unlink()
    touch(folder, "more/Run/v_Run_g02_c01.mp4")
    with pytest.raises(InputError, match=r"has Run/v_Run_g02_c01\.avi of the official lists twice, Run"):
        find(folder)


@pytest.mark.parametrize("name", ["classInd.txt", "trainlist01.txt", "testlist01.txt"])
def test_official_lists_that_are_no_text_are_one_line(tmp_path: Path, name: str) -> None:
    folder = ucf(tmp_path)
    (folder / "ucfTrainTestlist" / name).write_bytes("1 Run\n".encode("utf-16"))
    with pytest.raises(InputError, match="no UTF-8 text, so save it as UTF-8"):
        find(folder)


def test_series_of_frames_do_not_hide_what_holds_them(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{v}/img_{n:05d}.jpg" for label in ("run", "jump") for v in "ab" for n in (1, 2)))
    paths = ["jump/a/img_{:05d}", "jump/b/img_{:05d}", "run/a/img_{:05d}", "run/b/img_{:05d}"]
    assert [source.path for source in found(tmp_path, frame_name="img_{:05d}")] == paths
    (tmp_path / "trainlist01.txt").write_text("run/a.avi 1\njump/b.avi 2\n")
    assert [source.path for source in found(tmp_path, frame_name="img_{:05d}")] == [paths[1], paths[2]]


def test_frames_of_several_videos_in_a_label_folder_are_said(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{v}_{n}.jpg" for label in ("run", "jump") for v in "ab" for n in (1, 2)))
    with pytest.raises(InputError, match="2 videos lie outside a label folder and are left out: jump, run"):
        find(tmp_path)


def test_one_series_of_pictures_is_taken(tmp_path: Path) -> None:
    names = [f"{series}_{number:05d}.jpg" for series in ("img", "flow_x") for number in (1, 2)]
    touch(tmp_path, *(f"run/a/{name}" for name in names), "run/b/1.jpg", "jump/c.mp4")
    assert [source.path for source in found(tmp_path)] == ["jump/c.mp4", "run/a", "run/b"]
    taken = {source.path: source for source in found(tmp_path, frame_name="img_{:05d}")}
    assert sorted(taken) == ["jump/c.mp4", "run/a/img_{:05d}", "run/b"]
    assert taken["run/a/img_{:05d}"].size_bytes == 2 * len("run/a/img_00001.jpg")
    (tmp_path / "train.txt").write_text("run/a 2 0\nrun/b 1 1\n")
    assert [source.path for source in found(tmp_path, frame_name="img_{:05d}")] == ["run/a/img_{:05d}", "run/b"]


def test_a_val_folder_without_videos_is_no_reason_to_draw_one(tmp_path: Path) -> None:
    touch(tmp_path, "train/run/a.mp4", "train/jump/b.mp4", "val/run/notes.txt")
    assert {source.split for source in found(tmp_path)} == {"train"}
