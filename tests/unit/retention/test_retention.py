"""Nights of a folder that changes each night, and a prune each week: the disk stays flat."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import manifest_rows
import numpy as np
import pandas as pd
import pytest
import registered

from nonlocal_core import prune, registry
from nonlocal_core.artifacts import locks
from nonlocal_core.artifacts.files import write_json
from nonlocal_core.artifacts.references import Checkpoint, Entry, Evaluation, Features, Manifest, RecordCache
from nonlocal_core.artifacts.workspace import LOCKS, Workspace
from nonlocal_core.config.sections import CacheConfig, ClipConfig, FeaturesConfig, RegistryConfig
from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.data.records import cache_table, kept_features, store
from nonlocal_core.data.records.shard_writer import Record, write_shard
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.retention import folders
from nonlocal_core.retention.needed import Age

VIDEOS, NEW, FRAME, WEIGHTS = 24, 4, 2000, 20_000  # videos of a night, new ones among them, bytes
WEEK, KEPT = 7, 10  # nights between prunes, and those that stay
DAY_S = 86400


class Nights:
    """A workspace, in which each night has some new videos, and as many old ones are gone."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder)
        self.number = 0

    def age(self, days: float = 1) -> None:
        """Let days pass: all that is there was written so much earlier."""
        for path in sorted(self.workspace.root.rglob("*"), reverse=True):
            stat = path.stat()
            os.utime(path, (stat.st_atime, stat.st_mtime - days * DAY_S))

    def night(self, top1: float, started_from: str | None = None) -> Entry:
        """What a night writes, by the functions that stages write with."""
        self.age()
        self.number += 1
        name = f"{self.number:08x}"
        manifest = self._index(name)
        cache = self._cache(name, manifest)
        features = self._features(name, cache)
        checkpoint = self._train(name, cache, features)
        evaluation = self._evaluate(name, checkpoint, cache, top1)
        write_json(self.workspace.partial(Evaluation, f"{name}0") / "views.json", "x" * 500)  # of a run that died
        shared = self.workspace.root / f"predict/{name}.partial"
        shared.mkdir(parents=True)
        write_json(shared / "chunk-000000.json", "x")
        entry = self._register(checkpoint, evaluation, cache, top1, started_from)
        report = self.workspace.root / "reports" / f"{entry.version}.html"
        report.parent.mkdir(exist_ok=True)
        report.write_text("x" * 2000)
        return entry

    def _index(self, name: str) -> Manifest:
        first = self.number * NEW
        rows = [manifest_rows.row(f"v/{first + number}.mp4", "falls") for number in range(VIDEOS)]
        table = manifest_rows.completed(rows)

        def make(folder: Path) -> Manifest:
            manifest_table.write(table, folder / Manifest.ROWS)
            return Manifest(
                key=name, digest=name, path=f"index/{name}", videos_dir="v", num_videos=VIDEOS, num_ok=VIDEOS,
                num_labels=1,
            )  # fmt: skip

        self.rows = table
        return self.workspace.build(Manifest, name, make, {})

    def _cache(self, name: str, manifest: Manifest) -> RecordCache:
        folder = self.workspace.root / store.FOLDER / "settings"
        folder.mkdir(parents=True, exist_ok=True)
        missing = self.rows[~self.rows["sha256"].isin(store.contents(folder).index)]
        random = np.random.default_rng(self.number)
        frames = [[random.bytes(FRAME)] for _ in range(len(missing))]
        records = [
            Record(sha256, "ok", "", 1, 64, 64, jpegs)
            for sha256, jpegs in zip(missing["sha256"], frames, strict=True)
        ]
        write_shard(folder, store.shard_id(missing["sha256"]), records)
        table = cache_table.join(self.rows, store.contents(folder), CacheConfig())

        def make(partial: Path) -> RecordCache:
            cache_table.write(table, partial / RecordCache.VIDEOS)
            return RecordCache(
                key=name, digest=name, path=f"cache/{name}", records=f"{store.FOLDER}/settings",
                settings=CacheConfig(), videos_dir="v", manifest_digest=name, split_digests={"val": "videos"},
                num_videos=VIDEOS, num_ok=VIDEOS, num_frames=VIDEOS, num_bytes=VIDEOS * FRAME,
            )  # fmt: skip

        return self.workspace.build(RecordCache, name, make, {"manifest": manifest.model_dump(mode="json")})

    def _features(self, name: str, cache: RecordCache) -> Features:
        folder = self.workspace.root / kept_features.FOLDER / "trunk"
        folder.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame({"video_id": self.rows["video_id"], "content": self.rows["sha256"], "digest": "d"})
        records = [Record(sha256, "ok", "", 1, 1, 1, [b"x" * 50]) for sha256 in self.rows["sha256"]]
        write_shard(folder, store.shard_id(self.rows["sha256"]), records, f"engine {self.number}")

        def make(partial: Path) -> Features:
            kept_features.write_table(table, partial / Features.VIDEOS)
            return Features(
                key=name, digest=name, path=f"features/{name}", activations=f"{kept_features.FOLDER}/trunk",
                trunk_digest="t", last="res5", settings=FeaturesConfig(), clip=ClipConfig(), shape=(1,),
                num_videos=VIDEOS, num_views=1, num_bytes=50 * VIDEOS,
            )  # fmt: skip

        return self.workspace.build(Features, name, make, {"cache": cache.model_dump(mode="json")})

    def _train(self, name: str, cache: RecordCache, features: Features) -> Checkpoint:
        def make(folder: Path) -> Checkpoint:
            (folder / Checkpoint.WEIGHTS).write_bytes(np.random.default_rng(self.number).bytes(WEIGHTS))
            return Checkpoint(
                key=name, digest=name, path=f"train/{name}", file=Checkpoint.WEIGHTS, num_steps=1, num_clips=1,
                final_loss=0.5,
            )  # fmt: skip

        inputs = {"cache": cache.model_dump(mode="json"), "features": features.model_dump(mode="json")}
        return self.workspace.build(Checkpoint, name, make, inputs)

    def _evaluate(self, name: str, checkpoint: Checkpoint, cache: RecordCache, top1: float) -> Evaluation:
        def make(folder: Path) -> Evaluation:
            (folder / Evaluation.VIEWS).write_bytes(b"x" * 3000)
            return Evaluation(
                key=name, digest=name, path=f"evaluate/{name}", split="val", protocol="val, 30 views",
                split_digest="videos", top1=top1, top5=1.0, num_scored=100, num_videos=100,
            )  # fmt: skip

        made_of = {"checkpoint": checkpoint.model_dump(mode="json"), "cache": cache.model_dump(mode="json")}
        return self.workspace.build(Evaluation, name, make, made_of)

    def _register(
        self, checkpoint: Checkpoint, scored: Evaluation, cache: RecordCache, top1: float, parent: str | None
    ) -> Entry:
        facts = registered.facts(checkpoint, scored).model_copy(update={"cache": cache})
        if parent:
            facts = facts.model_copy(update={"parent": registry.Parent(file="", digest="", version=parent)})
        right = [number < round(100 * top1) for number in range(100)]
        return registry.add(self.workspace, facts, registered.ranks(right), RegistryConfig())

    def disk(self) -> int:
        """The bytes of all files; one with two names counts once."""
        stats = {path.stat().st_ino: path.stat() for path in self.workspace.root.rglob("*") if path.is_file()}
        return sum(stat.st_size for stat in stats.values())

    def prune(self, *, really: bool = True, weights: bool = True, nights: int = KEPT) -> list[str]:
        return list(prune.prune(self.workspace.root, Age(nights), weights=weights, really=really))


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nights:
    monkeypatch.setenv("PATH", "")  # to ask git for the version takes longer than the rest of a night
    return Nights(tmp_path)


def stages(workspace: Workspace, stage: str) -> list[str]:
    return sorted(folder.name for folder in (workspace.root / stage).iterdir())


@pytest.mark.parametrize("count", [28, pytest.param(60, marks=pytest.mark.campaign("long"))])
def test_the_disk_stays_flat_over_nights(nights: Nights, count: int) -> None:
    """Every ninth night has a new champion, which starts from the one before."""
    after, champion = [], None
    for number in range(count):
        better = number % 9 == 0
        entry = nights.night(0.2 + 0.01 * number if better else 0.1, champion)
        champion = entry.version if better else champion
        if number % WEEK == WEEK - 1:
            said = nights.prune(really=False)
            before, would = nights.disk(), [line for line in said if "would free" in line]
            done = nights.prune()
            assert [line.replace("would free", "freed") for line in would] == [
                line for line in done if "freed" in line
            ]
            assert nights.disk() < before or number < 2 * WEEK
            after.append(nights.disk())
    root = nights.workspace.root
    entries = [file for file in (root / registry.FOLDER).rglob("*") if file.suffix in (".json", ".parquet")]
    texts = sum(file.stat().st_size for file in entries) / count
    growth = (after[-1] - after[2]) / (WEEK * (len(after) - 3))
    assert growth < 2 * texts, "all that grows is what is written of each entry, and the tables of champions"
    assert after[-1] < 3 * KEPT * (WEIGHTS + VIDEOS * FRAME)
    state = registry.read(nights.workspace)
    assert (state.champion, len(registry.entries(nights.workspace))) == (champion, count)
    assert registry.verify(nights.workspace, str(state.champion), state) == []
    most = KEPT + 2 * WEEK + count // 9  # a table goes a week after the weights that were trained on it
    trunk = root / kept_features.FOLDER / "trunk"
    shards = [file.stem.removeprefix("shard-") for file in trunk.glob("shard-*.parquet")]
    assert {store.engine_of(trunk, shard)[:7] for shard in shards} == {"engine "}, "also of copies"
    for stage in ("index", "cache", "features", "train", "evaluate"):
        finished = [name for name in stages(nights.workspace, stage) if not name.endswith(".partial")]
        assert len(finished) <= most, stage
    assert len(list((root / "evaluate").glob("*.partial"))) <= most
    assert len(list((root / "reports").iterdir())) <= most
    assert len(list((root / LOCKS).iterdir())) < 10 * most


def test_the_champion_and_what_made_it_stay_whole(nights: Nights) -> None:
    best = nights.night(0.9)
    for _ in range(4):
        nights.night(0.1, best.version)
    nights.prune(nights=2)
    for stage in ("index", "cache", "features", "train", "evaluate"):
        assert stages(nights.workspace, stage)[0] == "00000001", stage
    contents = store.contents(nights.workspace.root / store.FOLDER / "settings").index
    first = cache_table.read(nights.workspace.root / "cache" / "00000001" / RecordCache.VIDEOS)
    assert set(first["sha256"]) <= set(contents), "its frames can still be shown"
    assert (nights.workspace.root / "reports" / "v0001.html").exists()
    assert not (nights.workspace.root / "reports" / "v0002.html").exists()


def test_of_other_entries_the_table_stays_and_its_frames_go(nights: Nights) -> None:
    nights.night(0.9)
    nights.night(0.1)
    for _ in range(8):
        nights.night(0.1)
    said = nights.prune(nights=1, weights=False)
    assert "  kept of cache/00000002: its table, for the lineage of an entry" in said
    old = cache_table.read(nights.workspace.root / "cache" / "00000003" / RecordCache.VIDEOS)
    contents = store.contents(nights.workspace.root / store.FOLDER / "settings").index
    assert set(old["sha256"]) - set(contents), "frames that only old nights used are gone"
    assert stages(nights.workspace, "train") == ["00000001", "0000000a"]
    assert len(registry.entries(nights.workspace)) == 10
    state = registry.read(nights.workspace)
    assert all(registry.verify(nights.workspace, version, state) == [] for version in ("v0001", "v0002", "v0010"))
    again = nights.prune(nights=1, weights=False)
    assert not [line for line in again if "freed" in line], "nothing is left to do"


def test_weights_that_were_dropped(nights: Nights) -> None:
    for top1 in (0.9, 0.1, 0.1):
        nights.night(top1)
    said = nights.prune(nights=1)
    assert "registry: freed 0.0000 GB: the weights of 1 entries" in said
    workspace, state = nights.workspace, registry.read(nights.workspace)
    assert list(state.dropped) == ["v0002"]
    assert registry.verify(workspace, "v0002", state) == []
    with pytest.raises(
        InputError, match=r"train.init=v0002: the weights of v0002 were dropped on \d{4}-\d\d-\d\d"
    ):
        registry.find_weights(workspace, "v0002", "train.init")
    with pytest.raises(InputError, match="the weights of v0002 were dropped"):
        registry.promote(workspace, "v0002")
    assert registry.find_weights(workspace, "champion", "train.init").name == "v0001"
    assert registry.find(workspace, "00000002"), "registering it again changes nothing"


def test_quiet_nights_use_what_is_there(nights: Nights) -> None:
    nights.night(0.9)
    cache = nights.workspace.find(RecordCache, "00000001")
    nights.night(0.1)
    nights.age(20)
    assert cache
    nights.workspace.find(RecordCache, cache.key)
    assert any("evaluate: would free" in line for line in nights.prune(nights=1, really=False))
    assert not any(
        "cache: would free" in line and "index" in line for line in nights.prune(nights=1, really=False)
    )
    before = nights.workspace.path(cache).stat().st_mtime
    nights.age(1)
    Workspace(nights.workspace.root, only_read=True).path(cache)
    assert nights.workspace.root.joinpath(cache.path).stat().st_mtime == pytest.approx(before - DAY_S)


def test_the_last_night_stays_whatever_its_age(nights: Nights) -> None:
    nights.night(0.9)
    nights.night(0.1)
    nights.age(400)
    said = list(prune.prune(nights.workspace.root, Age(days=30), really=True))
    assert not [line for line in said if "00000002" in line and "table" in line]
    assert stages(nights.workspace, "cache") == ["00000001", "00000002"]
    assert stages(nights.workspace, "evaluate")[-1] == "000000020.partial"
    assert stages(nights.workspace, "predict") == ["00000002.partial"]
    assert next(prune.prune(nights.workspace.root, Age(nights=5, days=0), really=True)) == "nothing is old"


def test_what_a_running_process_may_use_stays(nights: Nights) -> None:
    for _ in range(4):
        nights.night(0.9)
    code = (
        "import sys; from pathlib import Path; from nonlocal_core.artifacts import locks\n"
        "with locks.hold(Path(sys.argv[1]), 'train-00000001'): print('held', flush=True); sys.stdin.read()"
    )
    before = nights.workspace.root / LOCKS
    command = [sys.executable, "-c", code, str(before)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "held\n"
        began_s = time.time() - 3 * DAY_S
        os.utime(before / "train-00000001.lock", (began_s, began_s))
        assert not any("not used since" in line for line in nights.prune(nights=1, really=False))
        assert len(locks.held_since(before)) == 1
        holder.stdin.close()
    assert any("not used since" in line for line in nights.prune(nights=1, really=False))


def test_a_folder_from_which_a_file_goes_meanwhile_stays(nights: Nights) -> None:
    """A link to nowhere is listed, and gone when it is looked at: as a file that gets its name in between."""
    for _ in range(4):
        nights.night(0.1)
    old = folders.find(nights.workspace, Age(1), weights=False).partial
    used = nights.workspace.root / "evaluate" / "000000020.partial"
    assert used in old
    (used / "views.json.tmp1").symlink_to("nowhere")
    os.utime(used, (0, 0))
    assert set(folders.find(nights.workspace, Age(1), weights=False).partial) == set(old) - {used}


def test_what_is_found_meanwhile_stays(nights: Nights) -> None:
    for _ in range(4):
        nights.night(0.1)
    workspace = nights.workspace
    old = folders.find(workspace, Age(1), weights=False)
    assert workspace.root / "evaluate" / "00000003" in old.finished
    workspace.find(Evaluation, "00000003")
    list(folders.lines(workspace, old, really=True))
    assert "00000003" in stages(workspace, "evaluate")
    assert "00000002" not in stages(workspace, "evaluate")


def test_an_entry_and_its_training_are_one_file(nights: Nights) -> None:
    entry = nights.night(0.9)
    trained = nights.workspace.root / "train" / "00000001" / Checkpoint.WEIGHTS
    assert trained.samefile(nights.workspace.root / entry.path / registry.WEIGHTS_FILE)


def test_what_cannot_be_asked_for(nights: Nights) -> None:
    nights.night(0.9)
    root = nights.workspace.root
    for age, weights, said in (
        (Age(0), False, "keep at least 1"),
        (Age(None, -1), False, "days"),
        (None, True, "how old"),
    ):
        with pytest.raises(ConfigError, match=said):
            list(prune.prune(root, age, weights=weights, really=True))
    command = [sys.executable, "-m", "nonlocal_core.prune", str(root), "--keep-nights", "3", "--older-than", "9"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing is old\n")
    assert done.stdout.endswith("nothing was changed: add --yes\n")
