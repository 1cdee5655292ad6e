"""Folders of object storage: what a listing says, what is fetched, and what goes wrong in one clear line."""

from __future__ import annotations

import os
import resource
import tempfile
import time

import cv2
import pytest
from s3_server import S3, Door
from small import python
from video_files import painted

from nonlocal_core.config.sections import IndexConfig
from nonlocal_core.data.layouts import detection, fetch, listing, locations, remote
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.errors import InputError, NonlocalError, RemoteError, WorkspaceError
from nonlocal_core.process import workers

CLASS_FOLDERS = (
    *(
        "falls/a b/x#1 ?.mp4",
        "falls/ä%20.MKV",
        "falls/.hidden.mp4",
        "falls/notes.txt",
        "up.mp4",
        "rises/empty.avi",
    ),
    *("rises/shots/1.jpg", "rises/shots/2.png", "rises/.git/1.jpg", "rises/both/1.jpg", "rises/both/clip.mp4"),
)
KINETICS = {
    "train.csv": "label,youtube_id,time_start,time_end\nfalls,abc,1,11\nrises,gone,0,10\n",
    "train/falls/abc_000001_000011.mp4": "x",
    "train/rises/other_000001_000011.mp4": "x",
    "val.csv": "label,youtube_id,time_start,time_end\nrises,def,1,11\n",
    "val/def_000001_000011.webm": "xyz",
}
LISTS = {
    "train_list.txt": "a b.mp4 0\nshots 3 1\ndeep/c.bin 1\ngone.mp4 2\n",
    "val.csv": "\ufeffpath,label\nv.mp4,1\n",
    **{f"videos/{name}": name for name in ("a b.mp4", "deep/c.bin", "shots/1.jpg", "v.mp4")},
}


@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("class_folders", {path: "" if "empty" in path else path for path in CLASS_FOLDERS}),
        ("kinetics", KINETICS),
        ("lists", LISTS),
    ],
)
def test_a_listing_says_what_the_same_folder_on_disk_says(s3: S3, tmp_path, layout, files):
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
        s3.write(f"{layout}/{path}", content.encode())
    on_disk = detection.find(tmp_path, IndexConfig())
    assert on_disk.layout == layout
    assert len(on_disk.sources) > 1
    with s3.asked() as requests:
        folder = listing.open_folder(s3.uri(layout))
        found = detection.find(folder, IndexConfig())
    assert found._replace(sources=[]) == on_disk._replace(sources=[])
    assert [source._replace(stamp=0) for source in found.sources] == [
        source._replace(stamp=0) for source in on_disk.sources
    ]
    assert all(request.endswith((".csv", ".txt")) for request in requests)


def test_a_list_may_hold_uris(s3: S3):
    s3.write("uris/train.txt", b"s3://bucket/uris/a/x.mp4 falls\n")
    s3.write("uris/a/x.mp4", b"x")
    (found,) = detection.find(listing.open_folder(s3.uri("uris/")), IndexConfig()).sources
    assert (found.path, found.size_bytes) == ("a/x.mp4", 1)
    s3.write("uris/train.txt", b"s3://other/a/x.mp4 falls\n")
    with pytest.raises(
        InputError, match=r"train\.txt\S*:1: s3://other/a/x\.mp4 is not inside of s3://bucket/uris"
    ):
        detection.find(listing.open_folder(s3.uri("uris")), IndexConfig())


def test_what_changes_changes_the_stamp(s3: S3, tmp_path):
    s3.write("stamp/x.mp4", b"x")
    (file,) = listing.walk(listing.open_folder(s3.uri("stamp")))
    assert 0 <= time.time_ns() - file.stamp < 60e9
    for name in ("1.jpg", "2.jpg"):
        s3.write(f"stamps/shots/{name}", b"x")
    (before,) = listing.walk(listing.open_folder(s3.uri("stamps")))
    assert list(listing.walk(listing.open_folder(s3.uri("stamps")))) == [before]
    s3.write("stamps/shots/2.jpg", b"xy")
    (after,) = listing.walk(listing.open_folder(s3.uri("stamps")))
    assert (before.path, before.size_bytes, after.size_bytes) == ("shots", 2, 3)
    assert before.stamp != after.stamp


def test_a_file_is_fetched_whole_and_removed(s3: S3, temporary, monkeypatch):
    monkeypatch.setattr(remote, "CHUNK_BYTES", 1000)
    content = os.urandom(2500)
    s3.write("fetch/a b/x#1 ?%20.mp4", content)
    place = locations.join(s3.uri("fetch"), "a b/x#1 ?%20.mp4")
    with fetch.local_copy(place) as path:
        assert (path.name, path.read_bytes()) == ("x#1 ?%20.mp4", content)
        assert path.is_relative_to(temporary)
    assert list(temporary.iterdir()) == []
    with fetch.local_copy(str(temporary)) as path:
        assert path == temporary
    long = "fetch/" + "ä" * 300 + ".mp4"
    s3.write(long, content)
    with fetch.local_copy(locations.join(s3.uri(""), long)) as path:
        assert (path.suffix, path.read_bytes()) == (".mp4", content)


def test_a_file_that_ends_early_is_not_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "CHUNK_BYTES", 1000)
    (tmp_path / "x.mp4").write_bytes(bytes(2500))
    content = remote.chunks(*remote.resolve(f"file://{tmp_path}/x.mp4"))
    assert len(next(content)) == 1000
    os.truncate(tmp_path / "x.mp4", 1200)
    with pytest.raises(RemoteError, match="1300 bytes are missing at its end"):
        list(content)


def test_a_folder_of_pictures_is_fetched(s3: S3, tmp_path, temporary):
    (tmp_path / "shots").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"shots/{number}.png"), painted(number))
    (tmp_path / "shots/notes.txt").write_text("x")
    s3.upload(tmp_path / "shots", "shots")
    with fetch.local_copy(s3.uri("shots")) as folder:
        fetched = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert fetched == {path.name: path.read_bytes() for path in (tmp_path / "shots").glob("*.png")}
    assert list(temporary.iterdir()) == []
    with pytest.raises(FileNotFoundError), fetch.local_copy(s3.uri("shots/none.mp4")):
        pass
    assert list(temporary.iterdir()) == []


def test_what_a_dead_process_fetched_is_removed_and_no_other(s3: S3, temporary):
    s3.write("orphans/x.mp4", b"123")
    code = (
        "import time\nfrom nonlocal_core.data.layouts import fetch\n"
        f"with fetch.local_copy({s3.uri('orphans/x.mp4')!r}):\n"
        "    print('fetched', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = python(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "fetched\n"
    fetch.remove_orphans()
    assert [path.read_bytes() for path in temporary.glob("*/x.mp4")] == [b"123"]
    process.kill()
    process.communicate()
    assert len(list(temporary.glob("*/x.mp4"))) == 1
    for name, age_s in (("new", 0), ("old", 3600)):
        (temporary / f"nonlocal-fetched-{name}").mkdir()
        os.utime(temporary / f"nonlocal-fetched-{name}", (time.time() - age_s,) * 2)
    fetch.remove_orphans()
    assert [path.name for path in temporary.iterdir()] == ["nonlocal-fetched-new"]
    (temporary / "nonlocal-fetched-new").rmdir()
    assert list(temporary.iterdir()) == []


def test_a_slow_server_is_no_fault_of_the_video(s3: S3, good_mp4):
    s3.upload(good_mp4, "slow.mp4")
    door = Door(s3)
    door.delay_s = 1.0
    place = s3.uri("slow.mp4", door.port)
    (facts,) = workers.each(file_probe.probe_file, [file_probe.Job(place)], timeout_s=0.8)
    door.shut()
    assert facts == file_probe.probe_file(file_probe.Job(str(good_mp4)))


def test_files_on_a_disk_are_looked_at_without_pyarrow():
    code = (
        "import sys, nonlocal_core.data.records.encoding, nonlocal_core.data.manifest.file_probe\n"
        "print('pyarrow' in sys.modules)"
    )
    assert python(code).communicate()[0] == "False\n"


def test_a_full_temporary_folder_is_no_fault_of_the_video(s3: S3, temporary):
    s3.write("large.mp4", bytes(200_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(WorkspaceError, match=f"large.mp4 cannot be fetched to {temporary} .*TMPDIR"):
            fetch.local_copy(s3.uri("large.mp4")).__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(temporary.iterdir()) == []


def test_no_temporary_folder_is_no_fault_of_the_video(s3: S3, tmp_path, monkeypatch):
    s3.write("small.mp4", b"x")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(WorkspaceError, match=r"no temporary folder can be made .*TMPDIR"):
        file_probe.probe_file(file_probe.Job(s3.uri("small.mp4")))
    fetch.remove_orphans()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://bucket/none?{}", "there is no folder s3://bucket/none"),
        ("s3://nobucket/x?{}", "s3://nobucket/x.* is refused: check the bucket's name.*NO_SUCH_BUCKET"),
        ("s3:///x?{}", "is no URI that can be used .*: give one as s3://BUCKET/FOLDER"),
        ("s3://bucket/x?endpoint=here", "is no URI that can be used .*'endpoint'"),
        ("s4://bucket/x", "is no URI that can be used"),
        ("s3://key:secret@bucket/x?{}", "^s3://…@bucket holds a password.*AWS_SECRET_ACCESS_KEY$"),
    ],
)
def test_a_wrong_uri_is_one_clear_line(s3: S3, uri, said):
    with pytest.raises(InputError, match=said) as raised:
        listing.open_folder(uri.format(s3.uri("").partition("?")[2]))
    assert len(str(raised.value).splitlines()) == 1
    assert "secret@" not in str(raised.value)


def test_wrong_credentials_are_one_clear_line_that_no_retry_mends(s3: S3, temporary):
    s3.write("locked/x.mp4", b"x")
    s3.require_keys(yes=True)
    try:
        for door in (
            lambda: listing.open_folder(s3.uri("locked")),
            fetch.local_copy(s3.uri("locked/x.mp4")).__enter__,
        ):
            with pytest.raises(NonlocalError, match=r"locked\S* is refused: check .* your credentials") as raised:
                door()
            assert not raised.value.worth_retrying
            assert len(str(raised.value).splitlines()) == 1
    finally:
        s3.require_keys(yes=False)
