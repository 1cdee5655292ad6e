"""An entry.json as the version wrote it whose evaluations had no split."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from registered import LABELS, NUM_VIDEOS, add

from nonlocal_core import registry
from nonlocal_core.artifacts.files import sha256_of, write_json
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.registry.__main__ import main
from nonlocal_core.registry.entries import ENTRY_FILE, line_of

INIT = {"file": "/weights/first.safetensors", "digest": "1" * 16}
PACKAGES = {"mindspore": "2.10.0", "numpy": "1.26.4"}


def old_facts(files: dict[str, str]) -> dict[str, Any]:
    """All that it had, in its order."""
    config = resolve("tiny", {}).model_dump(mode="json")
    cache = {
        "key": "c", "digest": "cd", "path": "cache/c", "records": "records/r", "settings": config["cache"],
        "videos_dir": "/videos", "manifest_digest": "m", "split_digests": {"train": "t", "val": "videos"},
        "num_videos": 240, "num_ok": 240, "num_frames": 8718, "num_bytes": 19302934,
    }  # fmt: skip
    return {
        "key": "a",
        "evaluation": {
            "key": "e", "digest": "ed", "path": "evaluate/e", "protocol": "val, 30 views",
            "split_digest": "videos", "top1": 0.5, "top5": 1.0, "num_scored": NUM_VIDEOS, "num_videos": NUM_VIDEOS,
            "coverage": "100 of 100 videos scored, 0 quarantined", "loss": 0.1, "mean_class_accuracy": 0.5,
        },
        "checkpoint": {
            "key": "t", "digest": "a", "path": "train/t", "file": "weights.safetensors", "num_steps": 432,
            "num_clips": 3456, "final_loss": 0.14,
        },
        "labels": LABELS,
        "manifest_digest": "m",
        "cache": cache,
        "config": {**config, "gone": {"setting": 1}},
        "training": {
            "cache": cache, "config": {name: config[name] for name in ("clip", "model", "train")}, "init": INIT,
            "packages": PACKAGES, "device": "CPU", "created_at": "2026-01-01T00:00:00+00:00", "host": "there",
            "python": "3.11.7", "version": "0.1.0", "code": "abc", "seconds": 122.0,
        },
        "parent": {**INIT, "imported_from": "mmaction2 0123"},
        "code": "abc",
        "python": "3.11.7",
        "host": "there",
        "packages": PACKAGES,
        "files": files,
    }  # fmt: skip


@pytest.fixture
def old(workspace: Workspace) -> Path:
    """The file of such an entry, which is whole."""
    file = workspace.path(add(workspace, "a", 0.5)) / ENTRY_FILE
    write_json(file, old_facts(json.loads(file.read_text())["files"]))
    state = workspace.root / "registry/registry.json"
    kept = {name: value for name, value in json.loads(state.read_text()).items() if name != "checksum"}
    write_json(state, {**kept, "digests": {"v0001": sha256_of(file)}})
    return file


def test_it_is_read_whole(workspace: Workspace, old: Path) -> None:
    facts = registry.entries(workspace)["v0001"]
    assert facts.evaluation.split == "val"
    written = facts.model_dump(mode="json", exclude_unset=True)
    assert written["evaluation"].pop("split") == "val"
    assert written == json.loads(old.read_text())
    assert registry.verify(workspace, "v0001", registry.read(workspace)) == []


def test_it_is_in_the_line_of_an_entry_of_today(workspace: Workspace, old: Path) -> None:
    before = old.read_bytes()
    assert add(workspace, "b", 0.6).reason == "better: top-1 60.00% against 50.00% of v0001, 100 videos"
    assert len({line_of(facts) for facts in registry.entries(workspace).values()}) == 1
    assert old.read_bytes() == before


def test_it_is_shown(workspace: Workspace, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(workspace.root), "show", "v0001"]) == 0
    said = capsys.readouterr().out
    for words in ("seconds +122\n", "imported_from +mmaction2 0123\n", "numpy +1.26.4\n", "gone.setting +1\n"):
        assert re.search(words, said), words


@pytest.mark.parametrize("part", sorted({"training", "cache", "config", "files", "labels", "evaluation"}))
def test_without_a_part_it_is_damaged(workspace: Workspace, old: Path, part: str) -> None:
    facts = json.loads(old.read_text())
    del facts[part]
    write_json(old, facts)
    with pytest.raises(DamagedError, match=r"v0001/entry.json is damaged"):
        registry.entries(workspace)


@pytest.mark.parametrize(
    ("evaluate", "name"), [({"gone": 1}, "evaluate.gone"), ({"num_clips": "many"}, "evaluate.num_clips")]
)
def test_settings_that_do_not_fit_any_more_are_one_line(
    workspace: Workspace, old: Path, evaluate: dict[str, Any], name: str
) -> None:
    facts = json.loads(old.read_text())
    facts["config"]["evaluate"] |= evaluate
    write_json(old, facts)
    (workspace.root / "registry/registry.json").unlink()  # whose digest is that of the entry before
    with pytest.raises(InputError, match=rf"^entry v0001 was scored .* {name} does not fit: .*\(abc\)[^\n]*$"):
        registry.entries(workspace)["v0001"].evaluate_config("v0001")


def test_an_entry_without_the_section_is_one_line(workspace: Workspace, old: Path) -> None:
    bare = registry.entries(workspace)["v0001"].model_copy(update={"config": {}})
    with pytest.raises(InputError, match=r"^entry v0001 was scored .* evaluate does not fit: .*\(abc\)[^\n]*$"):
        bare.evaluate_config("v0001")
