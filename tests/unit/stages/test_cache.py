from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from keys import settings_in, settings_of
from small import files_of, python, small_config, small_disk

from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.manifest import manifest_table as manifests
from nonlocal_core.data.records import cache_plan, cache_table, store
from nonlocal_core.errors import DamagedError, InputError, WorkspaceError
from nonlocal_core.process import workers
from nonlocal_core.retention import folders
from nonlocal_core.stages import cache as stage
from nonlocal_core.stages.index import index
from tests import leftovers


@pytest.fixture
def workspace(toy, tmp_path):
    """Has the manifest, not the cache."""
    workspace = toy.workspace(tmp_path / "workspace")
    for folder in ("cache", store.FOLDER):
        shutil.rmtree(workspace.root / folder)
    return workspace


def rows_of(workspace, made):
    return cache_table.read(workspace.path(made) / RecordCache.VIDEOS)


def shards_of(workspace, made):
    """The files of a store with their times of change."""
    return files_of(workspace.root / made.records)


def test_a_first_shard_that_another_run_has_just_made_is_no_trouble(toy, tmp_path, workspace):
    """Two runs may lack the same videos: the second waits for the shard of the first, and has no figures of it."""
    config = small_config(runtime__cache_shard_videos=4)
    other = toy.workspace(tmp_path / "other")
    for folder in ("cache", store.FOLDER):
        shutil.rmtree(other.root / folder)
    made = stage.cache(toy.manifest, config, other)
    (folder,) = (other.root / store.FOLDER).iterdir()
    planned, problems = [], list[Exception]()

    def plan():
        try:
            planned.append(stage.plan(toy.manifest, config, workspace))
        except Exception as error:
            problems.append(error)

    names = sorted(file.stem.removeprefix("shard-") for file in folder.glob("*.parquet"))
    with contextlib.ExitStack() as locks:
        for name in names:
            locks.enter_context(workspace.locked(f"records-{folder.name}-{name}"))
        thread = threading.Thread(target=plan)
        thread.start()
        plan_file = workspace.partial(RecordCache, made.key) / cache_plan.FILE
        until = time.monotonic() + 60
        while not plan_file.exists() and time.monotonic() < until:
            time.sleep(0.01)
        first_shard = cache_plan.read(plan_file)["shard"].iloc[0]
        for suffix in (".bin", ".parquet"):
            shutil.copy(folder / f"shard-{first_shard}{suffix}", workspace.root / store.FOLDER / folder.name)
    thread.join()
    assert problems == []
    assert len(planned[0].shards) == len(names) > 1
    assert stage.cache(toy.manifest, config, workspace) == made


def test_a_cache_that_takes_days_stays_young(toy, workspace):
    """What is old may go, and a plan is written at the start alone."""
    planned = stage.plan(toy.manifest, small_config(runtime__cache_shard_videos=4), workspace)
    partial = workspace.partial(RecordCache, planned.key)
    for path in (*partial.iterdir(), partial):
        os.utime(path, (0, 0))
    stage.build_shard(planned.shards[1], toy.manifest, small_config(), workspace)
    assert folders._last_written_s(partial) > time.time() - 60


def test_the_key_holds_the_settings_of_cache_and_what_came_in(toy, workspace):
    stage.cache(toy.manifest, small_config(), workspace)

    def key(config, manifest=toy.manifest):
        return stage.key(manifest, config)

    assert settings_in(key) == settings_of("cache")
    keys = {
        key(small_config(), toy.manifest.model_copy(update=update))
        for update in ({}, {"key": "other", "path": "index/other", "videos_dir": "elsewhere"}, {"digest": "other"})
    }
    assert len(keys) == 2


def test_the_table_has_every_video_and_the_store_every_frame(toy):
    workspace = Workspace(toy.root)
    rows, manifest = rows_of(workspace, toy.cache), manifests.read(workspace.path(toy.manifest) / Manifest.ROWS)
    assert (toy.cache.num_videos, toy.cache.num_ok) == (12, 12)
    assert toy.cache.num_frames == rows["num_frames"].sum() == manifest["num_frames"].sum()
    assert (rows[["height", "width"]].min(axis=1) == 36).all()
    stored = list((toy.root / toy.cache.records).glob("*.bin"))
    assert toy.cache.num_bytes == sum(file.stat().st_size for file in stored) == rows["num_bytes"].sum()
    assert toy.cache.manifest_digest == toy.manifest.digest
    assert toy.cache.split_digests.keys() == {"train", "val"}
    columns = ["video_id", "path", "label", "label_id", "split", "sha256", "size_bytes"]
    assert rows[columns].to_numpy().tolist() == manifest[columns].to_numpy().tolist()
    assert set(zip(rows["start_fraction"], rows["end_fraction"], strict=True)) == {(0.0, 1.0)}
    assert set(store.scan(toy.root / toy.cache.records)["sha256"]) == set(rows["sha256"])
    for name in pq.read_schema(next((toy.root / toy.cache.records).glob("*.parquet"))).names:
        assert name not in ("label", "label_id", "split", "video_id", "path"), "the store knows contents only"


def test_frames_are_resized_as_asked(toy, workspace):
    made = {
        name: stage.cache(toy.manifest, small_config(cache__interpolation=name), workspace)
        for name in ("nearest", "bilinear", "bicubic", "area")
    }
    assert len({one.digest for one in made.values()}) == len({one.records for one in made.values()}) == 4
    assert made["area"].digest == toy.cache.digest, "toy videos are larger than what is kept: auto takes area"


def test_a_second_call_touches_nothing(toy, tmp_path):
    workspace = toy.workspace(tmp_path)
    before = [files_of(tmp_path / name) for name in ("cache", store.FOLDER)]
    assert stage.cache(toy.manifest, small_config(), workspace) == toy.cache
    assert [files_of(tmp_path / name) for name in ("cache", store.FOLDER)] == before
    moved = toy.manifest.model_copy(update={"videos_dir": "/elsewhere"})
    made = stage.cache(moved, small_config(), workspace)
    assert made == toy.cache.model_copy(update={"videos_dir": "/elsewhere"})


@pytest.mark.parametrize("size", [1, 3])
def test_the_digests_do_not_depend_on_the_shards(toy, workspace, size):
    made = stage.cache(toy.manifest, small_config(runtime__cache_shard_videos=size), workspace)
    assert made == toy.cache
    assert len(list((workspace.root / made.records).glob("shard-*.bin"))) == 1 + -(-(12 - 8) // size)


def test_new_videos_are_all_that_is_decoded(tmp_path, caplog):
    """The nightly run: new videos, a label renamed, a video moved to another split, one that is gone."""
    caplog.set_level(logging.INFO)
    workspace, config = Workspace(tmp_path / "w"), small_config(runtime__cache_shard_videos=3)
    videos = make_toy_videos(tmp_path / "all", 14)
    tonight = [path for path in sorted(videos.rglob("*.mp4")) if path.name < "toy-0010"]
    for path in tonight:
        (tmp_path / "now" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "now" / path.parent.name)
    first = stage.cache(index(tmp_path / "now", config, workspace), config, workspace)
    before = shards_of(workspace, first)
    for path in set(videos.rglob("*.mp4")) - set(tonight):
        shutil.copy(path, tmp_path / "now" / path.parent.name)
    (tmp_path / "now/falls").rename(tmp_path / "now/tumbles")
    tonight[0].unlink()
    (tmp_path / "now/tumbles" / tonight[0].name).unlink()
    second = stage.cache(index(tmp_path / "now", config, workspace), config, workspace)
    after = shards_of(workspace, second)
    assert second.records == first.records
    assert after.items() >= before.items(), "what was there is as it was"
    new = store.scan(workspace.root / second.records)
    new = new[[f"shard-{name}.bin" not in before for name in new["shard"]]]
    assert len(new) == 4
    assert second.num_videos == 13
    assert set(rows_of(workspace, second)["label"]) == {"tumbles", "grows", "rises", "shrinks"}
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("cache, shard")]
    assert sum(int(line.split(": ")[1].split()[0]) for line in said) == 14, said


def test_copies_share_a_record(toy, tmp_path):
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    for name in ("a", "b"):
        shutil.copy(tmp_path / "videos/falls/toy-0000.mp4", tmp_path / f"videos/falls/copy-{name}.mp4")
    workspace, config = Workspace(tmp_path / "w"), small_config()
    made = stage.cache(index(tmp_path / "videos", config, workspace), config, workspace)
    assert (made.num_videos, made.num_ok) == (14, 14)
    assert len(store.scan(workspace.root / made.records)) == 12


def test_a_killed_run_goes_on_with_its_finished_shards(toy, workspace):
    process = python(f"""
import logging, os, signal
from pathlib import Path
from small import files_of, small_config
from nonlocal_core.process import progress
from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.stages.cache import cache

class Cut(logging.Handler):
    def emit(self, record):
        if (record.progress["what"], record.progress["done"]) == ("shard 1", 2):
            os.kill(os.getpid(), signal.SIGKILL)

progress.TICK_EVERY_S = 0.0
logging.getLogger(progress.TICKS).addHandler(Cut())
manifest = Manifest.model_validate_json({toy.manifest.model_dump_json()!r})
cache(manifest, small_config(runtime__cache_shard_videos=3), Workspace(Path({str(workspace.root)!r})))
""")
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, said
    assert sorted(files_of(workspace.root / f"{toy.cache.path}.partial")) == ["plan.parquet", "sample.json"]
    before = shards_of(workspace, toy.cache)
    finished = [name for name in before if ".tmp" not in name]
    assert len(finished) == 2
    made = stage.cache(toy.manifest, small_config(runtime__cache_shard_videos=100), workspace)
    assert made == toy.cache
    after = shards_of(workspace, made)
    assert {name: after[name] for name in finished} == {name: before[name] for name in finished}
    assert len(after) == 6, "cut as the first time"
    assert not [name for name in after if ".tmp" in name]
    assert sorted(files_of(workspace.path(made))) == ["artifact.json", "labels.json", "videos.parquet"]


def test_two_runs_at_once_make_one_cache(toy, workspace):
    code = f"""
from pathlib import Path
from small import small_config
from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.stages.cache import cache
manifest = Manifest.model_validate_json({toy.manifest.model_dump_json()!r})
config = small_config(runtime__cache_shard_videos=2)
print(cache(manifest, config, Workspace(Path({str(workspace.root)!r}))).model_dump_json())
"""
    said = [process.communicate(timeout=60) for process in [python(code), python(code)]]
    assert [RecordCache.model_validate_json(made) for made, _ in said] == [toy.cache] * 2, said
    assert len(shards_of(workspace, toy.cache)) == 2 * 3
    assert len(store.scan(workspace.root / toy.cache.records)) == 12, "nothing was decoded twice"


@pytest.mark.parametrize("loss", ["bin", "parquet", "truncated", "all"])
def test_what_is_lost_is_built_again_and_nothing_else(toy, tmp_path, loss, caplog):
    workspace = toy.workspace(tmp_path)
    folder = workspace.root / toy.cache.records
    shard = str(store.scan(folder).groupby("shard").size().idxmin())
    bin_path, table_path = store.paths(folder, shard)
    if loss == "truncated":
        bin_path.write_bytes(bin_path.read_bytes()[:-10])
    for path in {"bin": [bin_path], "parquet": [table_path], "all": list(folder.iterdir())}.get(loss, []):
        path.unlink()
    before = {name: time for name, time in shards_of(workspace, toy.cache).items() if shard not in name}
    assert stage.cache(toy.manifest, small_config(), workspace) == toy.cache
    assert f"has lost {12 if loss == 'all' else 4} of the videos" in caplog.text
    assert shards_of(workspace, toy.cache).items() >= before.items()
    assert set(store.scan(folder)["sha256"]) == set(rows_of(workspace, toy.cache)["sha256"])


@pytest.mark.parametrize("flip", [0x01, 0xFF], ids=["another letter", "no text"])
def test_damaged_label_ids_are_made_again_or_refused(toy, tmp_path, flip, caplog):
    workspace = toy.workspace(tmp_path)
    for reference in (toy.cache, toy.manifest):
        labels = workspace.path(reference) / "labels.json"
        content = bytearray(labels.read_bytes())
        content[content.index(b'"') + 1] ^= flip
        labels.write_bytes(content)
        if reference == toy.cache:
            assert stage.cache(toy.manifest, small_config(), workspace) == toy.cache
            assert "has changed since it was made: it is made again" in caplog.text
    with pytest.raises(DamagedError, match=r"labels\.json is damaged: delete its folder and run index again"):
        stage.cache(toy.manifest, small_config(cache__jpeg_quality=50), workspace)


def test_its_time_is_that_of_the_shards_too(toy, workspace):
    planned = stage.plan(toy.manifest, small_config(), workspace)
    for shard in planned.shards:
        stage.build_shard(shard, toy.manifest, small_config(), workspace)
    earlier = planned.model_copy(update={"began": planned.began - 100})
    made = stage.seal(earlier, toy.manifest, small_config(), workspace)
    assert 100 <= workspace.provenance(made)["seconds"] < 200


def test_a_shard_that_is_late_finds_the_cache_finished(toy, workspace):
    planned = stage.plan(toy.manifest, small_config(), workspace)
    made = stage.cache(toy.manifest, small_config(), workspace)
    before = shards_of(workspace, made)
    for shard in planned.shards:
        stage.build_shard(shard, toy.manifest, small_config(), workspace)
    assert shards_of(workspace, made) == before
    assert not (workspace.root / f"{made.path}.partial").exists()
    assert stage.seal(planned, toy.manifest, small_config(), workspace) == made


def test_bad_videos_are_records_with_a_reason_and_count(broken_videos, tmp_path):
    workspace, config = Workspace(tmp_path), small_config(runtime__max_unreadable=0.25)
    made = stage.cache(index(broken_videos, config, workspace), config, workspace)
    rows = rows_of(workspace, made).set_index("video_id")
    assert (made.num_videos, made.num_ok) == (16, 12)
    bad = rows[rows["status"] != "ok"]
    assert sorted(bad.index) == ["falls/text.mp4", "grows/empty.mp4", "rises/cut.mp4", "shrinks/damaged.mp4"]
    assert bad.loc["shrinks/damaged.mp4", "status"] == "unreadable"
    assert bad.loc["shrinks/damaged.mp4", "reason"].startswith("damaged")
    assert (bad["num_frames"] == 0).all()
    assert (bad["reason"] != "").all()


def test_too_many_bad_videos_stop_the_stage_and_allowing_them_costs_nothing(broken_videos, tmp_path):
    workspace = Workspace(tmp_path)
    strict, generous = (small_config(runtime__max_unreadable=share) for share in (0.2, 0.25))
    manifest = index(broken_videos, strict, workspace)
    with pytest.raises(InputError, match=r"4 of 16 videos cannot be decoded .*runtime.max_unreadable=0.25$"):
        stage.cache(manifest, strict, workspace)
    before = files_of(tmp_path / store.FOLDER)
    made = stage.cache(manifest, generous, workspace)
    assert before
    assert files_of(tmp_path / store.FOLDER) == before
    assert made.num_ok == 12


def test_videos_that_are_gone_or_changed_are_not_kept_as_broken_ones(toy, workspace, tmp_path):
    """A disk that is not mounted for a while must not cost its videos for ever."""
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    manifest = toy.manifest.model_copy(update={"videos_dir": str(tmp_path / "videos")})
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"falls/toy-0000.mp4 is gone: run again, and index looks at it again"):
        stage.cache(manifest, small_config(), workspace)
    (tmp_path / "elsewhere").rename(tmp_path / "videos")
    changed = tmp_path / "videos/falls/toy-0000.mp4"
    content = changed.read_bytes()
    changed.write_bytes((tmp_path / "videos/grows/toy-0001.mp4").read_bytes())
    with pytest.raises(InputError, match=rf"{changed} has changed since it was indexed: run again"):
        stage.cache(manifest, small_config(), workspace)
    changed.write_bytes(content)
    made = stage.cache(manifest, small_config(), workspace)
    assert made == toy.cache.model_copy(update={"videos_dir": str(tmp_path / "videos")})


def test_what_makes_a_split_does_not_change_with_the_cache(toy, workspace):
    other = stage.cache(toy.manifest, small_config(cache__jpeg_quality=50), workspace)
    assert other.split_digests == toy.cache.split_digests
    assert other.digest != toy.cache.digest


def test_without_frames_the_digest_depends_on_the_settings(toy, workspace):
    first, second = (
        stage.cache(toy.manifest, small_config(cache__codec="none", cache__short_side=side), workspace)
        for side in (36, 40)
    )
    assert (first.num_bytes, first.num_frames) == (0, toy.cache.num_frames)
    assert len({first.digest, second.digest, toy.cache.digest}) == 3


@contextlib.contextmanager
def leased(path: Path) -> Iterator[None]:
    """Whoever opens the file hangs inside the kernel, for as long as a lease is broken (45 s)."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with path.open("rb+") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            yield
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)


def decoding_processes() -> list[int]:
    """The processes of this test that decode."""
    return [process for process, command in leftovers.processes_here().items() if workers.__name__ in command]


@pytest.fixture
def videos(toy, tmp_path):
    """A folder of the toy videos, and their manifest there."""
    shutil.copytree(toy.videos_dir, tmp_path / "videos")
    return tmp_path / "videos", toy.manifest.model_copy(update={"videos_dir": str(tmp_path / "videos")})


def test_a_video_that_hangs_the_decoder_is_given_up_alone(videos, workspace):
    folder, manifest = videos
    config = small_config(runtime__video_timeout_s=1.5)
    with leased(folder / "grows/toy-0001.mp4"):
        made = stage.cache(manifest, config, workspace)
        assert stage.cache(manifest, config, workspace) == made, "it is not tried again by itself"
    rows = rows_of(workspace, made).set_index("video_id")
    assert (rows["status"] == "ok").sum() == made.num_ok == 11
    assert rows.loc["grows/toy-0001.mp4", ["status", "reason", "num_frames"]].tolist() == [
        store.GIVEN_UP, "hangs the decoder: no frame for 1.5 s", 0
    ]  # fmt: skip
    assert decoding_processes() == []


def test_a_video_that_crashes_the_decoder_is_given_up_alone(videos, workspace):
    folder, manifest = videos
    finished = threading.Event()

    def crash_whoever_opens_it() -> None:
        while not finished.wait(0.05):
            for process in decoding_processes():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if "lease" in Path(f"/proc/{process}/wchan").read_text():
                        os.kill(process, signal.SIGSEGV)

    thread = threading.Thread(target=crash_whoever_opens_it)
    thread.start()
    with leased(folder / "grows/toy-0001.mp4"):
        made = stage.cache(manifest, small_config(), workspace)
        finished.set()
    thread.join()
    rows = rows_of(workspace, made).set_index("video_id")
    assert made.num_ok == 11
    assert rows.loc["grows/toy-0001.mp4", ["status", "reason"]].tolist() == [
        store.GIVEN_UP, "crashes the decoder (SIGSEGV)"
    ]  # fmt: skip


def test_it_says_what_it_takes_before_it_starts(toy, workspace, caplog):
    caplog.set_level(logging.INFO)
    made = stage.cache(toy.manifest, small_config(runtime__cache_shard_videos=2), workspace)
    (said,) = [record.getMessage() for record in caplog.records if "to cache: about" in record.getMessage()]
    assert said.startswith("4 more videos to cache: about ")
    assert " s on 1 core, 0.000" in said
    assert said.endswith(" GB free")
    said_bytes = float(said.split("core, ")[1].split(" GB")[0]) * 1e9
    rest = store.scan(workspace.root / made.records).groupby("shard")["num_bytes"].agg(["size", "sum"])
    assert said_bytes == pytest.approx(rest.loc[rest["size"] <= 2, "sum"].sum(), rel=0.4)


@pytest.fixture
def disk(toy, tmp_path):
    """A disk with room for the sample of the toy videos and little more."""
    with small_disk(tmp_path / "small", int(0.85 * toy.cache.num_bytes) + 100_000) as folder:
        yield folder


def test_a_disk_that_is_too_small_is_refused_before_it_is_full(toy, disk):
    shutil.copytree(toy.root / "index", disk / "index")
    workspace = Workspace(disk)
    with pytest.raises(WorkspaceError) as caught:
        stage.cache(toy.manifest, small_config(), workspace)
    for part in (
        "the cache takes about ",
        " more and ",
        "cache.jpeg_quality",
        "cache.codec=none",
        "workspace_dir",
    ):
        assert part in str(caught.value)
    assert len(list(disk.glob("records/*/*.parquet"))) == 1, "only the sample was decoded"
    assert stage.cache(toy.manifest, small_config(cache__codec="none"), workspace).num_ok == 12


def test_a_disk_that_is_full_is_one_line(toy, disk):
    shutil.copytree(toy.root / "index", disk / "index")
    workspace = Workspace(disk)
    with pytest.raises(WorkspaceError, match="the disk is full: free some space and run again"):
        stage.cache(toy.manifest, small_config(cache__jpeg_quality=100, cache__short_side=96), workspace)
    assert decoding_processes() == []
