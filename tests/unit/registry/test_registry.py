from __future__ import annotations

import json
import logging
import os
import shutil

import pytest
from registered import add, scored
from small import python

from nonlocal_core import registry
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.errors import DamagedError


def test_the_first_entry_is_the_champion(workspace):
    entry = add(workspace, "a", 0.1)
    assert (entry.version, entry.is_champion, entry.reason) == ("v0001", True, "the first entry")
    assert (entry.key, entry.path, entry.digest) == ("a", "registry/v0001", "a-scores")
    folder = workspace.path(entry)
    assert sorted(os.listdir(folder)) == ["checkpoint.safetensors", "entry.json", "ranks.parquet"]
    assert (folder / "checkpoint.safetensors").read_text() == "weights of a"
    kept = json.loads((folder / "entry.json").read_text())
    assert (kept["key"], kept["code"], kept["evaluation"]["top1"]) == ("a", "abc", 0.1)
    assert registry.read(workspace).champion == "v0001"


@pytest.mark.parametrize(
    ("top1", "settings", "promoted", "reason"),
    [
        (0.51, {}, True, "better: top-1 51.00% against 50.00% of v0001, 100 videos"),
        (0.5, {}, False, "not better: top-1 50.00% against 50.00% of v0001"),
        (0.4, {}, False, "not better: top-1 40.00% against 50.00% of v0001"),
        (0.51, {"rule": RegistryConfig(min_gain=0.02)}, False, "not better: .*, which needs a gain above 2.00%"),
        (0.53, {"rule": RegistryConfig(min_gain=0.02)}, True, "better: "),
    ],
)
def test_a_challenger_must_be_better_on_the_same_videos_and_views(workspace, top1, settings, promoted, reason):
    add(workspace, "a", 0.5)
    entry = add(workspace, "b", top1, **settings)
    assert (entry.version, entry.is_champion) == ("v0002", promoted)
    assert entry.reason.startswith(reason) or reason.split(".*")[1] in entry.reason
    state = registry.read(workspace)
    assert state.champion == ("v0002" if promoted else "v0001")
    assert [decision.champion_before for decision in state.decisions] == [None, "v0001"]
    assert registry.find(workspace, "a").is_champion != promoted


def test_adding_again_changes_nothing(workspace):
    first, second = add(workspace, "a", 0.5), add(workspace, "b", 0.6)
    files = {path: path.stat().st_mtime_ns for path in (workspace.root / "registry").rglob("*")}
    assert add(workspace, "b", 0.6) == second
    replaced = {"is_champion": False, "reason": "the first entry; since then replaced by v0002"}
    assert add(workspace, "a", 0.5) == first.model_copy(update=replaced)
    assert {path: path.stat().st_mtime_ns for path in (workspace.root / "registry").rglob("*")} == files
    assert registry.find(workspace, "b") == second
    assert registry.find(workspace, "c") is None


def test_only_val_decides(workspace):
    entry = add(workspace, "a", 0.9, split="test", protocol="test, 30 views")
    assert not entry.is_champion
    assert entry.reason == "scored on test: only val decides"
    assert add(workspace, "b", 0.5).is_champion


def test_an_entry_whose_process_died_before_the_decision_is_decided_on_by_the_next_call(workspace):
    add(workspace, "a", 0.5)
    state = (workspace.root / "registry/registry.json").read_bytes()
    expected = add(workspace, "b", 0.6)
    (workspace.root / "registry/registry.json").write_bytes(state)
    assert registry.find(workspace, "b") is None
    assert add(workspace, "b", 0.6) == expected
    assert len(registry.read(workspace).decisions) == 2


def test_a_half_copied_entry_is_copied_anew(workspace):
    partial = workspace.root / "registry/v0001.partial"
    partial.mkdir(parents=True)
    (partial / "checkpoint.safetensors").write_text("wei")
    (partial / "old").write_text("")
    entry = add(workspace, "a", 0.5)
    assert entry.version == "v0001"
    assert sorted(os.listdir(workspace.root / "registry")) == ["registry.json", "v0001"]
    assert sorted(os.listdir(workspace.path(entry))) == ["checkpoint.safetensors", "entry.json", "ranks.parquet"]


def test_a_number_is_never_given_twice(workspace):
    for name, top1 in (("a", 0.5), ("b", 0.4), ("c", 0.3)):
        add(workspace, name, top1)
    for version in ("v0001", "v0003"):
        shutil.rmtree(workspace.root / "registry" / version)
    entry = add(workspace, "d", 0.2)
    assert (entry.version, entry.is_champion, entry.reason) == ("v0004", True, "the champion v0001 is gone")


def test_two_processes_that_add_at_once_give_two_versions_and_one_decision_each(workspace):
    names = {"a": 0.5, "b": 0.6, "c": 0.7}
    for name, top1 in names.items():
        scored(workspace, name, top1)
    processes = [
        python(f"""
from pathlib import Path
from nonlocal_core.artifacts.workspace import Workspace
from registered import add
add(Workspace(Path({str(workspace.root)!r})), {name!r}, {top1})
""")
        for name, top1 in names.items()
    ]
    for process in processes:
        assert process.wait(60) == 0, process.communicate()[1]
        process.communicate()
    entries = registry.entries(workspace)
    assert list(entries) == ["v0001", "v0002", "v0003"]
    assert sorted(entry.key for entry in entries.values()) == ["a", "b", "c"]
    state = registry.read(workspace)
    assert [decision.version for decision in state.decisions] == ["v0001", "v0002", "v0003"]
    assert entries[str(state.champion)].key == "c"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"champion": 3}', b'{"winner": "v0001"}'])
def test_a_damaged_registry_is_said_and_left_alone(workspace, content):
    add(workspace, "a", 0.5)
    file = workspace.root / "registry/registry.json"
    file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"registry.json is damaged: restore it, or delete it"):
        add(workspace, "b", 0.6)
    assert file.read_bytes() == content
    file.unlink()
    assert list(registry.entries(workspace)) == ["v0001"]
    assert add(workspace, "b", 0.4).is_champion


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"key": "a"}', b'{"key": "a", "evaluation": {}}'])
def test_a_damaged_entry_is_said(workspace, content):
    entry = add(workspace, "a", 0.5)
    (workspace.path(entry) / "entry.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"v0001/entry.json is damaged"):
        add(workspace, "b", 0.6)


def test_waiting_for_another_run_is_said(workspace, caplog):
    process = python(f"""
import time
from pathlib import Path
from nonlocal_core.artifacts.workspace import Workspace
with Workspace(Path({str(workspace.root)!r})).locked("registry"):
    print("held", flush=True)
    time.sleep(0.5)
""")
    assert process.stdout.readline() == "held\n"
    caplog.set_level(logging.INFO)
    add(workspace, "a", 0.5)
    process.communicate()
    assert f"waiting for process {process.pid}" in caplog.text
