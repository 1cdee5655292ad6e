"""A workspace and its mirror in object storage: what is copied, in which order, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from registered import facts, ranks
from s3_server import S3, Door
from small import Toy, files_of, small_config

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Checkpoint, Evaluation, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.manifest import frozen_split, manifest_table
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.errors import RemoteError, WorkspaceError
from nonlocal_core.mirror import main, mirror
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index

WEIGHTS = bytes(range(256)) * 400


def trained(workspace: Workspace, name: str, top1: float = 0.5, weights: bytes = WEIGHTS) -> None:
    """A checkpoint, its evaluation and its entry."""

    def make_checkpoint(folder: Path) -> Checkpoint:
        (folder / "w.safetensors").write_bytes(weights)
        return Checkpoint(
            key=name, digest=name, path=f"train/{name}", file="w.safetensors", num_steps=1, num_clips=1,
            final_loss=0.5,
        )  # fmt: skip

    def make_evaluation(folder: Path) -> Evaluation:
        (folder / "report.md").write_text(f"{top1:.2%}")
        return Evaluation(
            key=name, digest=name, path=f"evaluate/{name}", split="val", protocol="val, 1 view", split_digest="x",
            top1=top1, top5=1.0, num_scored=4, num_videos=4,
        )  # fmt: skip

    checkpoint = workspace.build(Checkpoint, name, make_checkpoint, {})
    evaluation = workspace.build(Evaluation, name, make_evaluation, {})
    right = ranks([number < 100 * top1 for number in range(100)])
    registry.add(workspace, facts(checkpoint, evaluation), right, RegistryConfig())


def finished(workspace: Workspace) -> dict[str, bytes]:
    """Every file that counts, without locks and what is unfinished."""
    return {
        str(path.relative_to(workspace.root)): path.read_bytes()
        for path in workspace.root.rglob("*")
        if path.is_file() and ".locks" not in path.parts and ".partial" not in str(path)
    }


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, list[str]]:
    """The exit code of the command, and its lines."""
    code = main([str(word) for word in words])
    said = capsys.readouterr()
    return code, (said.out + said.err).splitlines()


def test_what_is_pushed_and_pulled_is_finished_elsewhere(s3: S3, toy: Toy, tmp_path, capsys):
    workspace = toy.workspace(tmp_path / "here")
    trained(workspace, "aa")
    workspace.partial(Checkpoint, "bb").joinpath("step.npz").write_text("unfinished")
    (workspace.root / "train/cc").mkdir()
    (workspace.root / "train/cc/w.safetensors").write_text("without artifact.json")
    (workspace.root / "notes.txt").write_text("of a person")
    shutil.copytree(workspace.root / "registry/v0001", workspace.root / "registry/v0002")  # not decided on
    code, lines = run(capsys, workspace.root, s3.uri("mirror"))
    assert code == 0
    assert [line.split()[0] for line in lines] == [
        kind for kind in ("records", "known", "index", "cache", "train", "evaluate", "registry") for _ in "12"
    ]
    assert lines[8].startswith("train     1 of 1 to copy, 0.0001 GB")
    assert lines[9].startswith("train     1 copied and compared in ")
    here = finished(workspace)
    not_copied = ("checkpoint.safetensors", "ranks.parquet", "entry.json")
    for path in ("train/cc/w.safetensors", "notes.txt", *(f"registry/v0002/{name}" for name in not_copied)):
        del here[path]
    assert s3.files("mirror") == {f"mirror/{path}": len(content) for path, content in here.items()}

    code, lines = run(capsys, tmp_path / "there", s3.uri("mirror"), "--pull")
    assert code == 0
    there = Workspace(tmp_path / "there")
    assert finished(there) == here
    before = files_of(there.root)
    manifest = index(toy.videos_dir, small_config(), there)
    cached = cache(manifest, small_config(), there)
    assert (manifest, cached) == (toy.manifest, toy.cache)
    assert there.find(Checkpoint, "aa") == workspace.find(Checkpoint, "aa")
    assert registry.read(there).champion == "v0001"
    assert len(RecordReader(there, cached).rows) == 12
    after = files_of(there.root)
    assert {path: after[path] for path in before if ".locks" not in path} == {
        path: when for path, when in before.items() if ".locks" not in path
    }

    with s3.asked() as requests:
        assert run(capsys, workspace.root, s3.uri("mirror"))[0] == 0
    assert {request for request in requests if request.startswith(("PUT", "POST", "DELETE"))} <= {
        "PUT mirror/registry/registry.json", "POST mirror/registry/registry.json"
    }  # fmt: skip


def test_what_makes_something_count_is_copied_last_and_a_broken_transfer_goes_on(
    s3: S3, toy: Toy, tmp_path, capsys
):
    workspace = toy.workspace(tmp_path / "here")
    trained(workspace, "aa")
    door = Door(s3)
    door.shut_at = b"PUT /bucket/broken/train/aa/w.safetensors"
    code, lines = run(capsys, workspace.root, s3.uri("broken", door.port))
    assert (code, len(lines)) == (7, 10)
    assert lines[-1].startswith("error: train/aa/w.safetensors in s3://bucket/broken")
    assert "cannot be reached now" in lines[-1]
    assert "broken/train/aa/artifact.json" not in s3.files("broken")
    assert not any("registry" in path for path in s3.files("broken"))
    door.shut_at = b"nothing"
    door.open()
    with s3.asked() as requests:
        assert run(capsys, workspace.root, s3.uri("broken", door.port))[0] == 0
    door.shut()
    puts = list(dict.fromkeys(request.split()[1] for request in requests if request.startswith("PUT")))
    assert puts == [
        *("broken/train/aa/w.safetensors", "broken/train/aa/artifact.json"),
        *("broken/evaluate/aa/report.md", "broken/evaluate/aa/artifact.json"),
        *(f"broken/registry/v0001/{name}" for name in ("checkpoint.safetensors", "ranks.parquet", "entry.json")),
        "broken/registry/registry.json",
    ]


def test_a_mirror_that_has_lost_bytes_gets_them_again(s3: S3, tmp_path, capsys):
    workspace = Workspace(tmp_path / "here")
    trained(workspace, "aa")
    assert run(capsys, workspace.root, s3.uri("lost"))[0] == 0
    s3.write("lost/train/aa/w.safetensors", WEIGHTS[:-1])
    code, lines = run(capsys, workspace.root, s3.uri("lost"))
    assert (code, lines[0].split(",")[0]) == (0, "train     1 of 1 to copy")
    assert s3.read("lost/train/aa/w.safetensors") == WEIGHTS


def test_a_copy_of_another_size_does_not_count(s3: S3, tmp_path):
    workspace = Workspace(tmp_path / "here")
    trained(workspace, "aa")
    lines = mirror(workspace, s3.uri("sizes"), pull=False)
    assert next(lines).startswith("train     1 of 1 to copy")
    (workspace.root / "train/aa/w.safetensors").write_bytes(WEIGHTS + b"more")
    size = len(WEIGHTS)
    with pytest.raises(RemoteError, match=rf"w\.safetensors has {size + 4} of {size} bytes in s3://.*: run again"):
        next(lines)
    assert "sizes/train/aa/artifact.json" not in s3.files("sizes")


def test_other_weights_of_the_same_key_stay_as_they_are(s3: S3, tmp_path, capsys):
    mine, theirs = Workspace(tmp_path / "mine"), Workspace(tmp_path / "theirs")
    trained(mine, "aa")
    trained(theirs, "aa", weights=WEIGHTS[1:])
    for workspace in (mine, theirs):
        shutil.rmtree(workspace.root / registry.FOLDER)
        assert run(capsys, workspace.root, s3.uri("other"))[0] == 0
    assert s3.read("other/train/aa/w.safetensors") == WEIGHTS
    assert json.loads(s3.read("other/train/aa/artifact.json"))["files"] == {"w.safetensors": len(WEIGHTS)}


def test_a_registry_is_never_copied_over_decisions_that_it_does_not_have(s3: S3, tmp_path, capsys):
    mine, theirs = Workspace(tmp_path / "mine"), Workspace(tmp_path / "theirs")
    trained(mine, "aa")
    assert run(capsys, mine.root, s3.uri("decided"))[0] == 0
    assert run(capsys, theirs.root, s3.uri("decided"), "--pull")[0] == 0
    trained(theirs, "bb", top1=0.9)
    assert run(capsys, theirs.root, s3.uri("decided"))[0] == 0

    code, lines = run(capsys, mine.root, s3.uri("decided"))  # behind: all else is copied
    assert code == 0
    assert lines[-1].startswith("registry  s3://bucket/decided")
    assert lines[-1].endswith(" has decided on v0002 too, so its registry.json stays")
    assert json.loads(s3.read("decided/registry/registry.json"))["aliases"]["champion"] == "v0002"

    trained(mine, "cc", top1=0.7)  # parted
    before = s3.files("decided")
    for pull in ([], ["--pull"]):
        code, lines = run(capsys, mine.root, s3.uri("decided"), *pull)
        assert (code, len(lines)) == (3, 1)
        assert "have decided on v0002 each by itself: mirror to another URI, or delete registry/" in lines[0]
    assert s3.files("decided") == before
    assert registry.read(mine).decisions[1].reason.startswith("better: top-1 70.00%")


def test_a_registry_is_never_copied_over_an_alias_that_was_moved_elsewhere(s3: S3, tmp_path, capsys):
    mine, theirs = Workspace(tmp_path / "mine"), Workspace(tmp_path / "theirs")
    trained(mine, "aa")
    trained(mine, "bb", top1=0.4)
    assert run(capsys, mine.root, s3.uri("moved"))[0] == 0
    assert run(capsys, theirs.root, s3.uri("moved"), "--pull")[0] == 0
    registry.promote(theirs, "v0002")
    assert run(capsys, theirs.root, s3.uri("moved"))[0] == 0

    code, lines = run(capsys, mine.root, s3.uri("moved"))
    assert (code, lines[-1].endswith(" has moved previous since, so its registry.json stays")) == (0, True)
    assert json.loads(s3.read("moved/registry/registry.json"))["aliases"]["champion"] == "v0002"
    registry.move(mine, "demo", "v0001")
    code, lines = run(capsys, mine.root, s3.uri("moved"))
    assert (code, len(lines)) == (3, 1)
    assert "have moved demo each by itself: mirror to another URI" in lines[0]


def manifest_rows(manifest: Manifest, workspace: Workspace) -> dict[str, str]:
    rows = manifest_table.read(workspace.path(manifest) / Manifest.ROWS)
    return dict(zip(rows["video_id"], rows["split"], strict=True))


def test_a_frozen_split_goes_along_and_val_stays_as_it_is(s3: S3, toy: Toy, tmp_path, capsys):
    videos, nightly = tmp_path / "videos", small_config(index__frozen_val="nightly")
    shutil.copytree(toy.videos_dir, videos)
    here, there = Workspace(tmp_path / "here"), Workspace(tmp_path / "there")
    first = index(videos, nightly, here)
    folder = sorted(videos.glob("*/*.mp4"))[0].parent
    added = sorted(make_toy_videos(tmp_path / "new", 4, seed=7).glob("*/*.mp4"))
    shutil.move(added.pop(), folder / "new.mp4")
    second = index(videos, nightly, here)
    code, lines = run(capsys, here.root, s3.uri("frozen"))
    assert (code, lines[0]) == (0, "frozen    index/frozen/nightly.parquet: 13 of 13 videos are new there")
    code, lines = run(capsys, there.root, s3.uri("frozen"), "--pull")
    assert (code, lines[0]) == (0, "frozen    index/frozen/nightly.parquet: 13 of 13 videos are new there")
    assert finished(there) == finished(here)

    splits = manifest_rows(first, here)
    for path, name in zip(added, "abc", strict=True):
        shutil.move(path, folder / f"{name}.mp4")  # with these, the label would have another video in val
    after = manifest_rows(index(videos, nightly, there), there)
    assert {name: after[name] for name in splits} == splits
    assert {after[name] for name in after.keys() - splits.keys()} == {"train"}
    assert second.digest != first.digest


def test_a_frozen_split_is_never_copied_over_videos_that_it_does_not_have(s3: S3, tmp_path, capsys):
    mine, theirs = Workspace(tmp_path / "mine"), Workspace(tmp_path / "theirs")

    def split(workspace: Workspace, *names: str) -> bytes:
        path = workspace.root / frozen_split.FOLDER / "nightly.parquet"
        rows = pd.DataFrame({"video_id": names, "sha256": names, "label": "a", "split": "train"})
        frozen_split.add(path, frozen_split.read(path), rows)
        return path.read_bytes()

    trained(mine, "aa")
    at_first = split(mine, "x")
    assert run(capsys, mine.root, s3.uri("split"))[0] == 0
    assert run(capsys, theirs.root, s3.uri("split"), "--pull")[0] == 0
    grown = split(theirs, "y")
    code, lines = run(capsys, theirs.root, s3.uri("split"))
    assert (code, lines[0]) == (0, "frozen    index/frozen/nightly.parquet: 1 of 2 videos are new there")
    assert s3.read("split/index/frozen/nightly.parquet") == grown

    code, lines = run(capsys, mine.root, s3.uri("split"))  # behind
    assert code == 0
    assert lines[0].endswith(" has more videos in index/frozen/nightly.parquet, so it stays")
    assert s3.read("split/index/frozen/nightly.parquet") == grown != at_first

    split(mine, "z")  # parted
    for pull in ([], ["--pull"]):
        code, lines = run(capsys, mine.root, s3.uri("split"), *pull)
        assert (code, len(lines)) == (3, 1)
        assert "has drawn videos each by itself: mirror to another URI, or delete it on one side" in lines[0]
    path = mine.root / "index/frozen/nightly.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    code, lines = run(capsys, mine.root, s3.uri("split"))
    assert (code, lines) == (
        3,
        [f"error: index/frozen/nightly.parquet in {mine.root} is damaged: restore it, or delete it"],
    )
    assert s3.read("split/index/frozen/nightly.parquet") == grown


def test_a_person_s_mistakes_are_one_clear_line(s3: S3, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for words, code, said in [
        ((tmp_path / "none", s3.uri("x")), 3, "there is no workspace"),
        ((tmp_path / "empty", s3.uri("x")), 3, "there is nothing finished in"),
        ((tmp_path / "empty", s3.uri("x"), "--pull"), 3, "there is nothing finished in s3://bucket/x"),
        ((tmp_path / "empty", "/mnt/x"), 3, "/mnt/x is no URI: name the mirror as s3://BUCKET/FOLDER"),
        ((s3.uri("x"), s3.uri("x"), "--pull"), 4, "must be a folder, because it is locked"),
    ]:
        found, lines = run(capsys, *words)
        assert (found, len(lines)) == (code, 1)
        assert lines[0].startswith("error: ")
        assert said in lines[0]
    trained(Workspace(tmp_path / "here"), "aa")
    code, lines = run(capsys, tmp_path / "here", s3.uri("x").replace("bucket", "nobucket"))
    assert (code, len(lines)) == (3, 2)
    assert "is refused: check the bucket's name" in lines[1]
    with pytest.raises(WorkspaceError, match=r"s3:/bucket/x must be a folder.*nonlocal_core\.mirror"):
        Workspace(Path("s3://bucket/x"))


def test_it_is_a_command(tmp_path):
    trained(Workspace(tmp_path / "here"), "aa")
    command = [
        sys.executable,
        "-m",
        "nonlocal_core.mirror",
        str(tmp_path / "here"),
        f"file://{tmp_path / 'there'}",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert said.stderr == ""
    assert len(said.stdout.splitlines()) == 6
    there = Workspace(tmp_path / "there")
    assert there.find(Checkpoint, "aa")
    assert there.find(Manifest, "aa") is there.find(RecordCache, "aa") is None
    assert registry.read(there).champion == "v0001"
