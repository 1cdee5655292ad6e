from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from video_files import encode_audio, encode_video, painted

from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.manifest.file_probe import Facts, Job, probe_file
from nonlocal_core.data.video import decoding


def test_the_facts_of_a_good_video(good_mp4: Path) -> None:
    sha256 = hashlib.sha256(good_mp4.read_bytes()).hexdigest()
    assert probe_file(Job(str(good_mp4))) == Facts(sha256, "ok", "", decoding.probe(good_mp4), True)
    assert probe_file(Job(str(good_mp4), "given")).sha256 == "given"


def test_bad_files_have_a_status_and_a_reason(good_mp4: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "cut.mp4").write_bytes(good_mp4.read_bytes()[:-300])
    encode_audio(tmp_path / "sound.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "thumbnails").mkdir()
    names = ["cut.mp4", "empty.mp4", "gone.mp4", "pipe.mp4", "sound.mp4", "text.mp4", "thumbnails"]
    found = {name: probe_file(Job(str(tmp_path / name))) for name in names}
    no_container = ("unreadable", "not a video or damaged: no container that can be read")
    assert {name: (facts.status, facts.reason) for name, facts in found.items()} == {
        "cut.mp4": ("unreadable", "damaged: cut short"),
        "empty.mp4": ("empty", "empty file"),
        "gone.mp4": ("missing", "it was there a moment ago"),
        "pipe.mp4": ("unreadable", "not a file"),
        "sound.mp4": ("audio_only", "no video stream"),
        "text.mp4": no_container,
        "thumbnails": ("empty", "a folder without pictures"),
    }
    assert [name for name, facts in found.items() if facts.sha256] == ["cut.mp4", "sound.mp4", "text.mp4"]
    assert [name for name, facts in found.items() if not facts.is_settled] == ["gone.mp4"]
    assert all(facts.probe is None for facts in found.values())


def test_the_hash_is_of_the_content(good_mp4: Path, tmp_path: Path) -> None:
    shutil.copy(good_mp4, tmp_path / "copy.mp4")
    encode_video(tmp_path / "other.mp4", num_frames=5)
    a, b, c = (file_probe.hash_of(str(path)) for path in (good_mp4, tmp_path / "copy.mp4", tmp_path / "other.mp4"))
    assert a == b != c
    assert file_probe.hash_of(str(tmp_path / "gone.mp4")) == file_probe.hash_of(os.devnull) == ""


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), painted(number))
    return folder


def test_the_facts_of_a_folder_of_pictures(tmp_path: Path) -> None:
    facts = probe_file(Job(str(pictures(tmp_path / "a", "1.jpg", "2.jpg", "3.jpg"))))
    assert (facts.status, facts.is_settled) == ("ok", True)
    assert facts.probe is not None
    assert (facts.probe.num_frames, facts.probe.codec) == (3, "pictures")
    assert (facts.probe.height, facts.probe.width) == (64, 128)
    (tmp_path / "a/2.jpg").write_bytes(b"")
    assert probe_file(Job(str(tmp_path / "a"))).sha256 != facts.sha256
    (tmp_path / "a/1.jpg").write_bytes(b"")
    assert probe_file(Job(str(tmp_path / "a"))).status == "unreadable"


def test_the_hash_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    hashes = [file_probe.hash_of(str(pictures(tmp_path / "a", "1.jpg", "2.jpg")))]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert file_probe.hash_of(str(tmp_path / "b")) == hashes[0]
    (tmp_path / "b/notes.txt").write_text("no picture")
    assert file_probe.hash_of(str(tmp_path / "b")) == hashes[0]
    (tmp_path / "b/1.jpg").rename(tmp_path / "b/0.jpg")
    hashes.append(file_probe.hash_of(str(tmp_path / "b")))
    (tmp_path / "b/0.jpg").write_bytes((tmp_path / "b/2.jpg").read_bytes())
    hashes.append(file_probe.hash_of(str(tmp_path / "b")))
    (tmp_path / "b/0.jpg").unlink()
    hashes.append(file_probe.hash_of(str(tmp_path / "b")))
    assert len(set(hashes)) == 4


@pytest.mark.parametrize("size", [1, (1 << 20) - 1, 1 << 20, (1 << 21) + 5])
def test_large_files_are_hashed_whole(tmp_path: Path, size: int) -> None:
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "a.mp4").write_bytes(content)
    assert file_probe.hash_of(str(tmp_path / "a.mp4")) == hashlib.sha256(content).hexdigest()
