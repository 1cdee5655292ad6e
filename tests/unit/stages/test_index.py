from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import struct
import time
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest
from keys import OTHER, settings_in, settings_of
from small import files_of, small_config

from nonlocal_core.artifacts import tables
from nonlocal_core.artifacts.files import replacing
from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import settings
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.manifest import probe_cache
from nonlocal_core.data.video import decoding
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation.crossval import Fold
from nonlocal_core.retention import folders
from nonlocal_core.stages import index as stage


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


def rows_of(workspace, manifest):
    return manifests.read(workspace.path(manifest) / Manifest.ROWS).set_index("video_id")


def test_every_setting_is_tried():
    assert OTHER.keys() == {setting.key for setting in settings()}


def test_the_key_holds_the_settings_of_index_and_nothing_else(toy, workspace):
    assert settings_in(lambda config: stage.plan(toy.videos_dir, config, workspace).key) == settings_of("index")


def test_the_manifest_has_every_video_with_its_label(toy):
    workspace = Workspace(toy.root)
    rows = rows_of(workspace, toy.manifest)
    assert (toy.manifest.num_videos, toy.manifest.num_ok, toy.manifest.num_labels) == (12, 12, 4)
    assert set(rows["split"]) == {"train", "val"}
    labels = json.loads((workspace.path(toy.manifest) / Manifest.LABELS).read_text())
    assert labels == {"falls": 0, "grows": 1, "rises": 2, "shrinks": 3}
    assert (rows["label_id"] == rows["label"].map(labels)).all()
    assert all(video_id.startswith(f"{label}/") for video_id, label in rows["label"].items())


def test_a_fold_is_in_key_and_digest_and_opens_no_video_again(toy, tmp_path):
    workspace, config = toy.workspace(tmp_path), small_config()
    planned = [
        stage.plan(toy.videos_dir, config, workspace, fold=Fold(name=str(k), number=k, num_folds=3))
        for k in (1, 2, 3)
    ]
    assert [one.shards for one in planned] == [(), (), ()], "the files are known"
    manifests = [stage.seal(one, config, workspace) for one in planned]
    assert len({one.key for one in [*manifests, toy.manifest]}) == 4
    assert len({one.digest for one in [*manifests, toy.manifest]}) == 4
    held_out = [rows.index[rows["split"] == "val"] for one in manifests for rows in [rows_of(workspace, one)]]
    assert [len(names) for names in held_out] == [4, 4, 4]
    assert sorted(name for names in held_out for name in names) == sorted(rows_of(workspace, toy.manifest).index)
    again = stage.plan(toy.videos_dir, config, workspace, fold=Fold(name="other", number=1, num_folds=3))
    assert again.key == planned[0].key, "the name of a fold says nothing"


def test_a_second_call_touches_nothing(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    before = files_of(tmp_path / "index")
    assert stage.index(toy.videos_dir, small_config(), workspace) == toy.manifest
    assert files_of(tmp_path / "index") == before
    assert stage.plan(toy.videos_dir, small_config(), workspace).shards == ()


def known_of(workspace):
    """What is known of files, by place."""
    return (
        probe_cache._read(workspace.root / probe_cache.FOLDER, probe_cache.SCHEMA.names)
        .set_index("place")
        .drop("")
    )


def mark(workspace, place):
    """Change what is known of a file: found in a manifest, it says that nobody looked at the file again."""
    for part in (workspace.root / probe_cache.FOLDER).iterdir():
        rows = pq.read_table(part).to_pandas()
        rows.loc[rows["place"] == str(place), "fps"] = 12.25
        tables.write(tables.to_arrow(rows, probe_cache.SCHEMA), part)


def test_what_killed_runs_were_writing_is_removed_and_what_another_writes_is_not(toy, workspace):
    orphans = [
        workspace.root / name for name in ("index/known/part-0.parquet.tmp1", "index/frozen/nights.parquet.tmp2")
    ]
    for orphan in orphans:
        orphan.parent.mkdir(parents=True, exist_ok=True)
        orphan.write_text("half")
    with replacing(workspace.root / "index/known/part-1.parquet") as unfinished:
        unfinished.write_text("half")
        stage.plan(toy.videos_dir, small_config(), workspace)
        assert unfinished.exists()
    assert not [orphan for orphan in orphans if orphan.exists()]


def test_a_half_built_run_goes_on_with_its_finished_shards(toy, workspace):
    config = small_config(runtime__index_shard_videos=5)
    planned = stage.plan(toy.videos_dir, config, workspace)
    assert len(planned.shards) == 3
    stage.build_shard(planned.shards[1], config, workspace)
    partial = workspace.partial(Manifest, planned.key)
    done = known_of(workspace)
    assert len(done) == 5
    mark(workspace, done.index[0])
    other_size = small_config(runtime__index_shard_videos=100)
    again = stage.plan(toy.videos_dir, other_size, workspace)
    assert len(again.shards) == 1
    stage.build_shard(again.shards[0], other_size, workspace)
    assert len(known_of(workspace)) == 12
    made = stage.seal(again, other_size, workspace)
    assert rows_of(workspace, made)["fps"].eq(12.25).sum() == 1
    assert made.key == toy.manifest.key
    assert not partial.exists()
    assert files_of(workspace.path(made)).keys() == {"manifest.parquet", "labels.json", "artifact.json"}


@pytest.mark.parametrize("size", [4, 7])
def test_the_digest_does_not_depend_on_the_shards(toy, workspace, size):
    made = stage.index(toy.videos_dir, small_config(runtime__index_shard_videos=size), workspace)
    assert made == toy.manifest


def test_its_time_is_that_of_the_shards_too(toy, workspace):
    planned = stage.plan(toy.videos_dir, small_config(), workspace)
    for shard in planned.shards:
        stage.build_shard(shard, small_config(), workspace)
    earlier = planned.model_copy(update={"began": planned.began - 100})
    assert 100 <= workspace.provenance(stage.seal(earlier, small_config(), workspace))["seconds"] < 200


def test_a_shard_that_is_late_finds_the_manifest_finished(toy, workspace):
    """Two runs plan the same; one of them has sealed before the other one builds."""
    planned = stage.plan(toy.videos_dir, small_config(), workspace)
    made = stage.index(toy.videos_dir, small_config(), workspace)
    before = files_of(workspace.path(made))
    for shard in planned.shards:
        stage.build_shard(shard, small_config(), workspace)
    assert stage.seal(planned, small_config(), workspace) == made
    assert files_of(workspace.path(made)) == before
    assert not list((workspace.root / "index").glob("*.partial"))


def test_bad_files_are_rows_with_a_reason_and_count(broken_videos, workspace):
    made = stage.index(broken_videos, small_config(runtime__max_unreadable=0.2), workspace)
    rows = rows_of(workspace, made)
    assert (made.num_videos, made.num_ok, len(rows)) == (16, 13, 16)
    bad = rows[rows["status"] != "ok"]
    assert bad["status"].to_dict() == {
        "falls/text.mp4": "unreadable",
        "grows/empty.mp4": "empty",
        "rises/cut.mp4": "unreadable",
    }
    assert bad["reason"].str.len().min() > 5
    assert set(bad["split"]) <= {"train", "val"}


def test_too_many_bad_files_stop_the_stage_and_allowing_them_costs_nothing(broken_videos, workspace):
    strict = small_config(runtime__max_unreadable=0.1)
    with pytest.raises(InputError, match=r"3 of 16 videos cannot be used \(.*text.mp4: .*max_unreadable=0.19"):
        stage.index(broken_videos, strict, workspace)
    mark(workspace, broken_videos / "falls/toy-0000.mp4")
    made = stage.index(broken_videos, small_config(runtime__max_unreadable=0.19), workspace)
    assert rows_of(workspace, made).loc["falls/toy-0000.mp4", "fps"] == 12.25


def test_labels_from_a_file_decide_the_ids(toy, workspace, tmp_path):
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"shrinks": 0, "unseen": 1, "rises": 2, "grows": 3, "falls": 4}))
    made = stage.index(toy.videos_dir, small_config(), workspace, labels)
    assert made.num_labels == 5
    assert (made.key != toy.manifest.key, made.digest != toy.manifest.digest) == (True, True)
    rows = rows_of(workspace, made)
    assert rows.loc["falls/toy-0000.mp4", "label_id"] == 4
    labels.write_text(json.dumps({"falls": 4, "unseen": 1, "rises": 2, "grows": 3, "shrinks": 0}, indent=8))
    assert stage.plan(toy.videos_dir, small_config(), workspace, labels).shards == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "labels .* cannot be read"),
        ("[]", "must hold one object"),
        ('{"falls": 0}', "3 labels are not in the"),
    ],
)
def test_labels_that_do_not_fit(toy, workspace, tmp_path, content, words):
    labels = tmp_path / "labels.json"
    if content is not None:
        labels.write_text(content)
    with pytest.raises(InputError, match=words):
        stage.index(toy.videos_dir, small_config(), workspace, labels)


def test_videos_that_moved_are_the_same_videos(toy, workspace, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "a")  # keeps the times of change
    first = stage.index(tmp_path / "a", small_config(), workspace)
    (tmp_path / "a").rename(tmp_path / "b")
    moved = stage.index(tmp_path / "b", small_config(), workspace)
    assert moved == first.model_copy(update={"videos_dir": str(tmp_path / "b")})
    os.utime(tmp_path / "b/falls/toy-0000.mp4")
    touched = stage.index(tmp_path / "b", small_config(), workspace)
    assert touched.key != first.key
    assert touched.digest == first.digest


def test_a_moved_folder_with_another_video_is_hashed_but_not_probed(toy, workspace, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "a")
    stage.index(tmp_path / "a", small_config(), workspace)
    mark(workspace, tmp_path / "a/falls/toy-0000.mp4")
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "b/falls/toy-0000.mp4").rename(tmp_path / "b/falls/other.mp4")
    shutil.copy(tmp_path / "b/rises/toy-0002.mp4", tmp_path / "b/rises/copy.mp4")
    (tmp_path / "b/grows/toy-0001.mp4").unlink()
    rows = rows_of(workspace, stage.index(tmp_path / "b", small_config(), workspace))
    assert (len(rows), set(rows["status"])) == (12, {"ok"})
    assert rows.loc["falls/other.mp4", "fps"] == 12.25
    assert rows.index.intersection(["falls/toy-0000.mp4", "grows/toy-0001.mp4"]).empty


def test_a_changed_video_changes_the_digest(toy, workspace, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "a")
    with (tmp_path / "a/falls/toy-0000.mp4").open("ab") as stream:
        stream.write(b"\0" * 8)
    assert stage.index(tmp_path / "a", small_config(), workspace).digest != toy.manifest.digest


def test_a_folder_may_be_named_from_home(toy, workspace, monkeypatch):
    monkeypatch.setenv("HOME", str(toy.videos_dir.parent))
    home = type(toy.videos_dir)("~") / toy.videos_dir.name
    assert stage.index(home, small_config(), workspace) == toy.manifest


OPENS = """
import os, sys
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        name = os.fsdecode(arguments[0])
        if name.endswith((".mp4", ".jpg")):
            with_os = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(with_os, f"{{name}}\\n".encode())
            os.close(with_os)
        for part, do in (("crash", os.abort), ("hang", lambda: __import__("ctypes").CDLL(None).pause())):
            if os.path.basename(name).startswith(part) and os.path.exists({log!r} + ".armed"):
                do()
sys.addaudithook(hook)
"""


@pytest.fixture
def opens(tmp_path, monkeypatch):
    """A function with the names of the files that worker processes have opened since it was last called.

    The workers import it at their start, as they would a debugger.  A file called crash… crashes and one called
    hang… hangs the process that opens it, while `armed` is there: one that does so by itself is hard to come by.
    """
    log = tmp_path / "opens.log"
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(OPENS.format(log=str(log)))
    path = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))

    def opened():
        names = [Path(line).name for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    return opened


class Watch:
    """Counts the opening of files, by whatever library, in some folders: the kernel says so."""

    def __init__(self, folders):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.inotify_init1(os.O_NONBLOCK)
        for folder in folders:
            assert self.libc.inotify_add_watch(self.descriptor, os.fsencode(folder), 0x20) > 0  # IN_OPEN

    def opened(self):
        names = []
        with contextlib.suppress(BlockingIOError):
            while events := os.read(self.descriptor, 1 << 16):
                while events:
                    _, mask, _, length = struct.unpack_from("iIII", events)
                    if not mask & 0x40000000:  # a folder
                        names.append(events[16 : 16 + length].rstrip(b"\0").decode())
                    events = events[16 + length :]
        return names


def test_a_second_index_of_three_thousand_files_opens_none(toy, workspace, tmp_path):
    videos_dir = tmp_path / "videos"
    good = [path.read_bytes() for path in sorted(toy.videos_dir.glob("*/*.mp4"))[:2]]
    for number in range(3000):
        path = videos_dir / f"label{number % 5}" / f"{number:04d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(good[number % 2] + b"%d" % number if number < 40 else b"broken %d" % number)
    watch = Watch(videos_dir.iterdir())
    config = small_config(runtime__max_unreadable=1.0)
    first = stage.index(videos_dir, config, workspace)
    assert (first.num_videos, first.num_ok) == (3000, 40)
    assert len(set(watch.opened())) == 3000
    assert stage.index(videos_dir, config, workspace) == first
    assert watch.opened() == []
    other = small_config(runtime__max_unreadable=1.0, index__split_seed=9)
    assert stage.index(videos_dir, other, workspace).num_ok == 40
    assert watch.opened() == [], "another setting is no reason to look"
    for number in range(7):
        (videos_dir / f"label0/new{number}.mp4").write_bytes(good[0] + b"new %d" % number)
    (videos_dir / "label1/0001.mp4").write_bytes(good[1] + b"changed")
    (videos_dir / "label2/0002.mp4").rename(videos_dir / "label2/renamed.mp4")
    (videos_dir / "label3/0003.mp4").unlink()
    watch.opened()
    planned = stage.plan(videos_dir, config, workspace)
    assert len(planned.shards) == 1
    again = stage.index(videos_dir, config, workspace)
    assert (again.num_videos, again.num_ok) == (3006, 46)
    assert set(watch.opened()) == {*(f"new{number}.mp4" for number in range(7)), "0001.mp4", "renamed.mp4"}


def test_a_file_that_crashes_or_hangs_the_decoder_is_left_out_and_tried_again(
    toy, workspace, tmp_path, opens, caplog
):
    videos_dir = tmp_path / "videos"
    shutil.copytree(toy.videos_dir, videos_dir)
    for name in ("crash.mp4", "hang.mp4"):
        shutil.copy(videos_dir / "falls/toy-0000.mp4", videos_dir / "falls" / name)
        with (videos_dir / "falls" / name).open("ab") as stream:
            stream.write(name.encode())
    (tmp_path / "opens.log.armed").touch()
    config = small_config(runtime__video_timeout_s=2, runtime__max_unreadable=0.2)
    made = stage.index(videos_dir, config, workspace)
    rows = rows_of(workspace, made)
    assert (made.num_videos, made.num_ok) == (14, 12)
    assert rows.loc[["falls/crash.mp4", "falls/hang.mp4"], "reason"].tolist() == [
        "crashes the decoder (SIGABRT)", "hangs the decoder: no result for 2 s"
    ]  # fmt: skip
    assert "hang.mp4 is left out: hangs the decoder: no result for 2 s; the next run tries it again" in caplog.text
    opens()
    again = stage.index(videos_dir, config, workspace)
    assert set(opens()) == {"crash.mp4", "hang.mp4"}
    assert (again.key != made.key, again.digest) == (True, made.digest)
    (tmp_path / "opens.log.armed").unlink()
    healed = stage.index(videos_dir, config, workspace)
    assert set(opens()) == {"crash.mp4", "hang.mp4"}
    assert healed.num_ok == 14
    assert stage.index(videos_dir, config, workspace) == healed
    assert opens() == []


def test_a_pipe_is_left_out_and_nobody_waits_for_it(toy, workspace, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    os.mkfifo(tmp_path / "videos/falls/pipe.mp4")
    made = stage.index(tmp_path / "videos", small_config(), workspace)
    assert rows_of(workspace, made).loc["falls/pipe.mp4", ["status", "reason"]].tolist() == [
        "unreadable", "not a file"
    ]  # fmt: skip


def test_lists_with_numbers_missing_files_and_parts_of_videos(toy, workspace, tmp_path):
    videos_dir = tmp_path / "videos"
    shutil.copytree(toy.videos_dir, videos_dir)
    paths = sorted(str(path.relative_to(videos_dir)) for path in videos_dir.glob("*/*.mp4"))
    lines = [f"{path} {3 if path < 'g' else 1}" for path in paths]
    (videos_dir / "train.txt").write_text("\n".join([*lines[2:], "gone 1.mp4 1", "gone2.mp4 1", "gone3.mp4 1"]))
    (videos_dir / "val.txt").write_text(f"{lines[0]} 0.25 0.75\n{lines[1]}\n")
    made = stage.index(videos_dir, small_config(runtime__max_unreadable=0.0), workspace)
    rows = rows_of(workspace, made)
    assert (made.num_videos, made.num_ok, made.num_labels) == (15, 12, 4)
    assert set(zip(rows["label"], rows["label_id"], strict=True)) == {("1", 1), ("3", 3)}
    assert rows.loc["gone 1.mp4", ["status", "size_bytes"]].tolist() == ["missing", -1]
    assert rows.loc[paths[0], ["split", "start_fraction", "end_fraction"]].tolist() == ["val", 0.25, 0.75]
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"still": 0, "other": 1, "none": 2, "falls": 3}))
    named = rows_of(workspace, stage.index(videos_dir, small_config(), workspace, labels))
    assert set(zip(named["label"], named["label_id"], strict=True)) == {("other", 1), ("falls", 3)}


def test_a_copy_in_val_is_not_trained_on(toy, workspace, tmp_path, caplog):
    shutil.copytree(toy.videos_dir, tmp_path / "videos/train")
    shutil.copytree(toy.videos_dir / "falls", tmp_path / "videos/val/falls")
    made = stage.index(tmp_path / "videos", small_config(), workspace)
    rows = rows_of(workspace, made)
    assert (made.num_videos, made.num_ok) == (15, 12)
    dropped = rows[rows["status"] == "duplicate"]
    assert dropped["split"].eq("train").all()
    assert (
        dropped.loc["train/falls/toy-0000.mp4", "reason"] == "same content as val/falls/toy-0000.mp4 (val, falls)"
    )
    assert "3 contents are in two splits: 3 files are left out of train" in caplog.text
    kept = stage.index(tmp_path / "videos", small_config(index__duplicates="keep"), workspace)
    assert kept.num_ok == 15


def test_folders_of_pictures_are_videos(toy, workspace, tmp_path):
    for number, path in enumerate(sorted(toy.videos_dir.glob("*/*.mp4"))):
        folder = tmp_path / "videos" / path.parent.name / path.stem
        folder.mkdir(parents=True)
        for shot, frame in enumerate(decoding.read_frames(path)):
            if shot < 3 + number:
                assert cv2.imwrite(str(folder / f"img_{shot:05d}.jpg"), frame)
    made = stage.index(
        tmp_path / "videos", small_config(index__min_frames=4, runtime__max_unreadable=0.1), workspace
    )
    rows = rows_of(workspace, made)
    assert (made.num_videos, made.num_ok) == (12, 11)
    assert rows["num_frames"].tolist() == list(range(3, 15))
    assert set(rows["codec"]) == {"pictures"}
    assert rows.loc["falls/toy-0000", ["status", "reason"]].tolist() == [
        "too_short", "3 of at least 4 frames (index.min_frames)"
    ]  # fmt: skip


def test_an_index_that_takes_days_stays_young(toy, workspace):
    """What is old may go, and a plan is written at the start alone."""
    config = small_config(runtime__index_shard_videos=4)
    planned = stage.plan(toy.videos_dir, config, workspace)
    partial = workspace.partial(Manifest, planned.key)
    for path in (*partial.iterdir(), partial):
        os.utime(path, (0, 0))
    stage.build_shard(planned.shards[0], config, workspace)
    assert folders._last_written_s(partial) > time.time() - 60
