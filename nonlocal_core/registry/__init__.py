"""The registry: numbered entries that never change, and names that point to them.

    WORKSPACE/registry/v0001/         weights, ranks and entry.json, written before the folder is renamed once
    WORKSPACE/registry/registry.json  names, lines, every decision and every move; the only file that changes

An entry counts once its decision stands in registry.json.  A process that is killed anywhere before leaves an
entry that the next call finds by its key and decides on.  docs/guides/registry.md explains it to a person.
"""

from nonlocal_core.registry.aliases import drop, move, promote, rollback
from nonlocal_core.registry.entries import ENTRY_FILE, WEIGHTS_FILE, checkpoint_of, entries, number, verify
from nonlocal_core.registry.facts import Facts, Leak, Parent, Training
from nonlocal_core.registry.generations import leak, parent_of
from nonlocal_core.registry.lookup import check_folder, find_entry, find_weights, first_weights
from nonlocal_core.registry.registration import add, find
from nonlocal_core.registry.state_file import CHAMPION, FOLDER, REGISTRY_FILE, State, read

__all__ = [
    "CHAMPION",
    "ENTRY_FILE",
    "FOLDER",
    "REGISTRY_FILE",
    "WEIGHTS_FILE",
    "Facts",
    "Leak",
    "Parent",
    "State",
    "Training",
    "add",
    "check_folder",
    "checkpoint_of",
    "drop",
    "entries",
    "find",
    "find_entry",
    "find_weights",
    "first_weights",
    "leak",
    "move",
    "number",
    "parent_of",
    "promote",
    "read",
    "rollback",
    "verify",
]
