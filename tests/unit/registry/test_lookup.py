"""An entry or a checkpoint as a person names it; the same rule wherever one is named."""

from __future__ import annotations

import pytest
from registered import add

from nonlocal_core import registry
from nonlocal_core.errors import DamagedError, InputError


@pytest.fixture
def two(workspace):
    add(workspace, "a", 0.5)
    add(workspace, "b", 0.6)
    registry.move(workspace, "demo", "v0001")
    return workspace


@pytest.mark.parametrize(
    ("name", "version"), [("champion", "v0002"), ("previous", "v0001"), ("demo", "v0001"), ("v0002", "v0002")]
)
def test_an_entry_is_named_by_its_version_or_any_alias(two, name, version):
    found, facts = registry.find_entry(two, name)
    assert (found, facts) == (version, registry.entries(two)[version])
    weights = registry.find_weights(two, name, "train.init")
    assert weights == (version, two.root / "registry" / version / registry.WEIGHTS_FILE, facts)


def test_a_file_has_a_dot_or_a_slash_in_its_name(two, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "mine.safetensors"):
        (tmp_path / name).write_bytes(b"weights")
    assert registry.find_weights(two, "mine.safetensors", "checkpoint").entry is None
    assert registry.find_weights(two, "./demo", "checkpoint").entry is None
    assert registry.find_weights(two, str(tmp_path / "demo"), "checkpoint").name == "demo"
    assert registry.find_weights(two, "demo", "checkpoint").name == "v0001"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v0009", "^entry=v0009: there is no entry v0009: there are v0001, v0002$"),
        ("best", "^entry=best: nothing is called 'best'.*champion, demo, previous"),
        ("./best", "^entry=./best: there is no file best$"),
        ("../demo/", "^entry=../demo/: there is no file"),
    ],
)
def test_what_is_not_there(two, name, said):
    with pytest.raises(InputError, match=said):
        registry.find_weights(two, name, "entry")


def test_a_registry_without_entries_and_an_entry_without_weights(workspace):
    with pytest.raises(InputError, match=r"train\.init=champion: the registry has no entry yet"):
        registry.find_weights(workspace, "champion", "train.init")
    add(workspace, "a", 0.5)
    (workspace.root / "registry/v0001" / registry.WEIGHTS_FILE).unlink()
    with pytest.raises(DamagedError, match=r"v0001/checkpoint\.safetensors is gone"):
        registry.find_weights(workspace, "champion", "train.init")
