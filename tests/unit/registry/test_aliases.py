from __future__ import annotations

import pytest
from registered import add
from small import files_of, python

from nonlocal_core import registry
from nonlocal_core.errors import DamagedError, InputError, WorkspaceError


@pytest.fixture
def three(workspace):
    for name, top1 in (("a", 0.5), ("b", 0.6), ("c", 0.4)):
        add(workspace, name, top1)
    return workspace


def aliases(workspace):
    return registry.read(workspace).aliases


def test_previous_follows_the_champion_with_a_history(three):
    assert aliases(three) == {"champion": "v0002", "previous": "v0001"}
    registry.promote(three, "v0003", reason="the customer wants it")
    assert aliases(three) == {"champion": "v0003", "previous": "v0002"}
    registry.rollback(three)
    registry.rollback(three)
    assert aliases(three) == {"champion": "v0003", "previous": "v0002"}
    moves = [
        (move.before, move.after, move.reason) for move in registry.read(three).moves if move.alias == "champion"
    ]
    assert moves == [
        (None, "v0001", "the first entry"),
        ("v0001", "v0002", "better: top-1 60.00% against 50.00% of v0001, 100 videos"),
        ("v0002", "v0003", "the customer wants it"),
        ("v0003", "v0002", "rolled back"),
        ("v0002", "v0003", "rolled back"),
    ]


def test_names_of_ones_own(three):
    registry.move(three, "demo", "champion")
    registry.promote(three, "v0001")
    assert aliases(three)["demo"] == "v0002"
    registry.move(three, "demo", "v0003", expected="v0002")
    registry.promote(three, "demo")
    assert aliases(three)["champion"] == "v0003"
    registry.drop(three, "demo")
    assert "demo" not in aliases(three)
    with pytest.raises(InputError, match="nothing is called 'demo'"):
        registry.drop(three, "demo")


def test_what_is_there_already_is_not_written_again(three):
    before = files_of(three.root / "registry")
    registry.promote(three, "champion", expected="v0002")
    assert files_of(three.root / "registry") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda workspace, expected: registry.promote(workspace, "v0003", expected),
        lambda workspace, expected: registry.rollback(workspace, expected),
    ],
)
def test_a_champion_that_somebody_else_moved_is_left_alone(three, change):
    before = registry.read(three)
    with pytest.raises(WorkspaceError, match="champion points to v0002, not to v0001: it was moved meanwhile"):
        change(three, "v0001")
    assert registry.read(three) == before
    change(three, "v0002")
    assert aliases(three)["champion"] != "v0002"


def test_an_own_name_is_expected_to_point_somewhere_or_nowhere(three):
    registry.move(three, "demo", "v0001", expected="none")
    with pytest.raises(WorkspaceError, match="demo points to v0001, not to none"):
        registry.move(three, "demo", "v0002", expected="none")
    with pytest.raises(WorkspaceError, match="demo points to v0001, not to v0002"):
        registry.drop(three, "demo", expected="v0002")
    assert aliases(three)["demo"] == "v0001"


@pytest.mark.parametrize("alias", ["champion", "previous"])
def test_the_two_names_of_the_registry_are_not_set_by_hand(three, alias):
    with pytest.raises(InputError, match=f"{alias} is moved by promote and rollback only"):
        registry.move(three, alias, "v0001")


@pytest.mark.parametrize(
    "alias",
    [
        "v0001",
        "v1",
        "none",
        "latest",
        "champion_if_any",
        "Demo",
        "a b",
        "",
        "../x",
        "-a",
        "a" * 65,
        "i3d_r50_imagenet",
    ],
)
def test_names_that_cannot_be_had(three, alias):
    with pytest.raises(InputError, match="cannot be an alias"):
        registry.move(three, alias, "v0001")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v0009", "there is no entry v0009: there are v0001, v0002, v0003"),
        ("best", r"nothing is called 'best'.*\(champion, previous\)"),
    ],
)
def test_entries_that_are_not_there(three, name, said):
    with pytest.raises(InputError, match=said):
        registry.promote(three, name)


def test_there_is_nothing_to_go_back_to(workspace):
    add(workspace, "a", 0.5)
    with pytest.raises(InputError, match="there is no previous champion"):
        registry.rollback(workspace)


def test_a_damaged_entry_is_not_promoted(three):
    (three.root / "registry/v0003/checkpoint.safetensors").write_text("other weights")
    before = registry.read(three)
    with pytest.raises(DamagedError, match=r"v0003/checkpoint.safetensors differs from its digest: restore"):
        registry.promote(three, "v0003")
    assert registry.read(three) == before


def test_of_processes_that_expect_the_same_one_wins(three):
    code = f"""
import sys
from nonlocal_core import registry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.errors import WorkspaceError
workspace = Workspace({str(three.root)!r})
print("ready", flush=True)
sys.stdin.readline()
won = 0
for turn in range(20):
    try:
        registry.move(workspace, f"turn{{turn}}", sys.argv[1], expected="none")
        won += 1
    except WorkspaceError:
        pass
print(won)
"""
    processes = [python(code, version) for version in ("v0001", "v0002", "v0003")]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    won = [int(process.communicate(timeout=60)[0]) for process in processes]
    state = registry.read(three)
    assert sum(won) == 20
    assert [list(state.aliases.values())[2:].count(f"v000{number}") for number in (1, 2, 3)] == won
    assert sum(move.alias.startswith("turn") for move in state.moves) == 20
