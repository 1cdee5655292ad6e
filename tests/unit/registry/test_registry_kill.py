"""A registry whose processes are killed: at each operation on files, and at random moments."""

from __future__ import annotations

import os
import random
import time

import pytest
from registered import add, scored
from small import python

from nonlocal_core import registry
from nonlocal_core.artifacts.workspace import Workspace

NAMES = {"a": 0.5, "b": 0.4, "c": 0.7, "d": 0.6}


def check_whole(workspace, names):
    """Every name registered and decided on once, all numbers used, nothing left lying about."""
    entries, state = registry.entries(workspace), registry.read(workspace)
    assert sorted(entry.key for entry in entries.values()) == sorted(names)
    assert list(entries) == [f"v{number + 1:04d}" for number in range(len(names))]
    assert sorted(decision.version for decision in state.decisions) == list(entries)
    assert [line for version in entries for line in registry.verify(workspace, version, state)] == []
    assert sorted(os.listdir(workspace.root / "registry")) == ["registry.json", *entries]
    best = max(names, key=lambda name: NAMES[name])
    assert entries[str(state.champion)].key == best


AT_EACH_OPERATION = """
import os, signal, sys
from pathlib import Path
from nonlocal_core import registry
from nonlocal_core.artifacts.workspace import Workspace
from registered import add
import scipy.stats, nonlocal_core.artifacts.tables, nonlocal_core.evaluation.comparison
root, what = Path(sys.argv[1]), sys.argv[2]
kinds = ("open", "os.", "shutil.")
number = 0
while True:
    workspace = Workspace(root / str(number))
    add(workspace, "a", 0.5)
    if what == "promote":
        add(workspace, "b", 0.4)
    child = os.fork()
    if not child:
        left = number
        def count(event, arguments):
            global left
            if event.startswith(kinds):
                left -= 1
                if left == -1:  # os.kill is an event too
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        if what == "promote":
            registry.promote(workspace, "v0002")
        else:
            add(workspace, "c", 0.7)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    registry.entries(workspace), registry.read(workspace)  # can be read at any time
    number += 1
print(number)
"""


def killed_at_each_operation(folder, what, at_least):
    """A workspace for each operation on files before which a process was killed."""
    killed, said = python(AT_EACH_OPERATION, str(folder), what).communicate(timeout=120)
    assert killed.strip().isdigit(), said
    assert int(killed) > at_least, "the walk kills nothing"
    return [Workspace(folder / str(number)) for number in range(int(killed))]


def test_killed_at_each_operation_on_files_the_next_call_finishes(tmp_path):
    states = set()
    for workspace in killed_at_each_operation(tmp_path, "add", at_least=30):
        states.add((len(registry.entries(workspace)), len(registry.read(workspace).decisions)))
        add(workspace, "c", NAMES["c"])
        check_whole(workspace, ["a", "c"])
    assert states == {(1, 1), (2, 1), (2, 2)}  # nothing yet; an entry that is not decided on; all


def test_a_promotion_that_is_killed_is_done_or_not(tmp_path):
    found = set()
    for workspace in killed_at_each_operation(tmp_path, "promote", at_least=10):
        found.add(tuple(registry.read(workspace).aliases.items()))
        registry.promote(workspace, "v0002")
        state = registry.read(workspace)
        assert state.aliases == {"champion": "v0002", "previous": "v0001"}
        assert [move.alias for move in state.moves] == ["champion", "champion", "previous"]
    assert found == {(("champion", "v0001"),), (("champion", "v0002"), ("previous", "v0001"))}


REGISTER = """
import sys
from nonlocal_core.artifacts.workspace import Workspace
from registered import add
workspace = Workspace(sys.argv[1])
print("ready", flush=True)
for word in sys.argv[2:]:
    name, top1 = word.split("=")
    add(workspace, name, float(top1))
print("done", flush=True)
"""


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.campaign("kill"))])
def test_two_processes_that_are_killed_register_everything_once(workspace, rounds):
    drawn = random.Random(0)
    for name, top1 in NAMES.items():
        scored(workspace, name, top1)
    words = [f"{name}={top1}" for name, top1 in NAMES.items()]
    for _ in range(rounds):
        processes = [python(REGISTER, str(workspace.root), *order) for order in (words, words[::-1])]
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        time.sleep(drawn.uniform(0, 0.04))
        for process in processes:
            process.kill()
            process.communicate()
        registry.entries(workspace), registry.read(workspace)
    processes = [python(REGISTER, str(workspace.root), *order) for order in (words, words[::-1])]
    for process in processes:
        said = process.communicate(timeout=60)
        assert said[0] == "ready\ndone\n", said
    check_whole(workspace, list(NAMES))
