"""A training that starts from weights which learned from its val videos: counted, marked, not called better."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from registered import add, facts, ranks, scored
from registered_run import Registered

from nonlocal_core import registry
from nonlocal_core.artifacts.references import Manifest, RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.data.manifest import manifest_table
from nonlocal_core.registry import trained_network
from nonlocal_core.registry.facts import Leak, Parent
from nonlocal_core.registry.lineage import lineage
from nonlocal_core.stages import cache as cache_stage
from nonlocal_core.stages import index
from nonlocal_core.stages import train as train_stage


def contents(run, manifest: Manifest, split: str) -> set[str]:
    """The hashes of the files of a split, taken from the files themselves."""
    rows = manifest_table.read(run.workspace.path(manifest) / Manifest.ROWS)
    rows = rows[(rows["split"] == split) & (rows["status"] == "ok")]
    return {hashlib.sha256((Path(run.videos_dir) / path).read_bytes()).hexdigest() for path in rows["path"]}


@pytest.fixture
def run(registered, tmp_path) -> Registered:
    """The registered run in a workspace that may be changed."""
    root = shutil.copytree(registered.workspace.root, tmp_path / "workspace")
    return Registered(*registered)._replace(workspace=Workspace(root))


@pytest.fixture
def drawn_anew(run) -> tuple[Manifest, RecordCache]:
    """The same videos with another draw of val."""
    config = run.config.model_copy(update={"index": run.config.index.model_copy(update={"split_seed": 5})})
    manifest = index.index(run.videos_dir, config, run.workspace)
    return manifest, cache_stage.cache(manifest, config, run.workspace)


@pytest.mark.parametrize("kind", ["entry", "file"])
def test_videos_that_an_ancestor_learned_from_are_counted(run, drawn_anew, tmp_path, kind):
    manifest, cache = drawn_anew
    weights = run.workspace.root / "registry/v0001/checkpoint.safetensors"
    if kind == "file":
        weights = Path(shutil.copyfile(weights, tmp_path / "mine.safetensors"))
    version = "v0001" if kind == "entry" else None
    parent = Parent(file=str(weights), digest="", version=version)
    expected = contents(run, run.manifest, "train") & contents(run, manifest, "val")
    assert len(expected) > 0
    found = registry.leak(run.workspace, parent, cache, "val")
    assert found is not None
    assert found.num_videos == len(expected)
    assert found.of == len(contents(run, manifest, "val"))
    assert found.by == ("v0001",)
    assert registry.leak(run.workspace, parent, run.cache, "val") is None, "its own val"
    assert registry.leak(run.workspace, None, cache, "val") is None


def test_a_grandparent_counts_too_and_a_cache_that_is_gone_is_said(run, drawn_anew):
    _, cache = drawn_anew
    first = registry.entries(run.workspace)["v0001"]
    checkpoint, evaluation = scored(run.workspace, "second", 0.5)
    second = facts(checkpoint, evaluation).model_copy(
        update={"parent": Parent(file="registry/v0001", digest="", version="v0001"), "cache": run.cache}
    )
    registry.add(run.workspace, second, ranks([True]), RegistryConfig())
    parent = Parent(file="registry/v0002", digest="", version="v0002")
    found = registry.leak(run.workspace, parent, cache, "val")
    assert found is not None
    assert found.by == ("v0002", "v0001")
    shutil.rmtree(run.workspace.path(first.cache))
    found = registry.leak(run.workspace, parent, cache, "val")
    assert found == Leak(num_videos=0, of=found.of if found else 0, split="val", by=(), unknown=("v0002", "v0001"))


def test_an_ancestor_that_somebody_has_deleted_is_said(run, drawn_anew):
    _, cache = drawn_anew
    checkpoint, evaluation = scored(run.workspace, "second", 0.5)
    parent = Parent(file="registry/v0001", digest="", version="v0001")
    second = facts(checkpoint, evaluation).model_copy(update={"parent": parent, "cache": run.cache})
    registry.add(run.workspace, second, ranks([True]), RegistryConfig())
    shutil.rmtree(run.workspace.root / "registry/v0001")
    leak = registry.leak(run.workspace, Parent(file="registry/v0002", digest="", version="v0002"), cache, "val")
    assert leak is not None
    assert (leak.by, leak.unknown) == (("v0002",), ("v0001",))


def test_an_entry_of_another_workspace_counts_and_a_file_of_nobody_knows_where_is_said(run, drawn_anew, tmp_path):
    manifest, cache = drawn_anew
    other = Path(shutil.copytree(run.workspace.root, tmp_path / "other"))
    for folder in (run.workspace.root / "registry/v0001", run.workspace.path(run.cache)):
        shutil.rmtree(folder)
    weights = other / "registry/v0001/checkpoint.safetensors"
    found = registry.leak(run.workspace, registry.parent_of(weights, "", run.workspace), cache, "val")
    assert found is not None
    assert found.num_videos == len(contents(run, run.manifest, "train") & contents(run, manifest, "val"))
    copied = Path(shutil.copyfile(weights, tmp_path / "mine.safetensors"))
    found = registry.leak(run.workspace, registry.parent_of(copied, "", run.workspace), cache, "val")
    assert found is not None
    assert str(found) == "what mine.safetensors learned from is not known"


def test_a_score_on_videos_that_a_network_learned_from_is_said(run, drawn_anew, caplog):
    manifest, cache = drawn_anew
    index = run.config.index.model_copy(update={"split_seed": 5})
    taken = trained_network.take("v0001", run.workspace)
    trained_network.warn_of_leak(taken, cache, run.config.model_copy(update={"index": index}), run.workspace)
    num_videos = len(contents(run, run.manifest, "train") & contents(run, manifest, "val"))
    (text,) = [record.getMessage() for record in caplog.records if "too well" in record.getMessage()]
    assert text.startswith(
        f"{num_videos} of {len(contents(run, manifest, 'val'))} val videos were in the train split"
    )
    assert text.endswith("they are scored too well; it was made with index.split_seed=0")
    caplog.clear()
    trained_network.warn_of_leak(taken, run.cache, run.config, run.workspace)
    assert "too well" not in caplog.text


def test_a_relative_path_of_another_workspace_counts_too(run, drawn_anew, tmp_path, monkeypatch):
    manifest, cache = drawn_anew
    shutil.copytree(run.workspace.root, tmp_path / "other")
    for folder in (run.workspace.root / "registry/v0001", run.workspace.path(run.cache)):
        shutil.rmtree(folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    weights = registry.find_weights(run.workspace, "../other/registry/v0001/checkpoint.safetensors", "train.init")
    leak = registry.leak(run.workspace, registry.parent_of(weights.path, "", run.workspace), cache, "val")
    assert leak is not None
    assert leak.num_videos == len(contents(run, run.manifest, "train") & contents(run, manifest, "val"))
    assert leak.by == ("v0001",)


def test_what_learned_from_the_videos_of_its_score_is_not_called_better(workspace):
    add(workspace, "first", 0.5)
    checkpoint, evaluation = scored(workspace, "second", 0.9)
    leak = Leak(num_videos=3, of=8, split="val", by=("v0001",))
    leaked = facts(checkpoint, evaluation).model_copy(update={"leak": leak})
    entry = registry.add(workspace, leaked, ranks([number < 90 for number in range(100)]), RegistryConfig())
    assert (entry.is_champion, entry.is_open) == (False, True)
    told = "3 of 8 val videos were in the train split of v0001"
    assert entry.reason == (
        f"not called better, since {told}, which this training started from: `promote v0002` changes the champion"
        " (better: top-1 90.00% against 50.00% of v0001, 100 videos)"
    )
    (step,) = (step for step in lineage(workspace, "v0002") if step.name == "parent weights")
    assert step.facts["leak"] == told
    assert registry.read(workspace).champion == "v0001"
    assert add(workspace, "third", 0.6).is_champion, "it is compared with the champion, not with what leaked"


def test_a_training_says_so(run, drawn_anew, caplog):
    _, cache = drawn_anew
    config = run.config.model_copy(update={"train": run.config.train.model_copy(update={"init": "v0001"})})
    train_stage.warn_of_leak(run.workspace, cache, train_stage.first_weights(config, run.workspace))
    assert "val videos were in the train split of v0001: they will be scored too well" in caplog.text
    caplog.clear()
    train_stage.warn_of_leak(run.workspace, run.cache, None)
    assert not caplog.records
