"""The registry: numbered entries that never change, and which of them is the champion.

    WORKSPACE/registry/v0001/       the checkpoint and entry.json, which is written before the folder is renamed
    WORKSPACE/registry/registry.json  the champion and every decision; the only file that changes

An entry counts once its decision stands in registry.json.  A process that is killed anywhere before leaves an
entry that the next call finds by its key and decides on.
"""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nonlocal_core.artifacts import Checkpoint, Entry, Evaluation, Frozen, Workspace, write_json
from nonlocal_core.errors import DamagedError

FOLDER = "registry"
ENTRY_FILE = "entry.json"
REGISTRY_FILE = "registry.json"


class Decision(Frozen):
    """Why an entry became the champion, or did not."""

    version: str
    promoted: bool
    reason: str
    champion_before: str | None
    decided_at: str


class State(Frozen):
    """The content of registry.json."""

    champion: str | None = None
    decisions: tuple[Decision, ...] = ()

    def decision(self, version: str) -> Decision | None:
        """The decision on an entry, if there is one."""
        return next((decision for decision in self.decisions if decision.version == version), None)


def find(workspace: Workspace, key: str) -> Entry | None:
    """The decided entry of this key, if there is one."""
    state = read(workspace)
    for version, entry in entries(workspace).items():
        if entry["key"] == key and (decision := state.decision(version)):
            return _reference(version, entry, decision, state)
    return None


def read(workspace: Workspace) -> State:
    """The champion and the decisions.

    Raises: DamagedError if registry.json cannot be read.
    """
    file = workspace.root / FOLDER / REGISTRY_FILE
    if not file.exists():
        return State()
    try:
        return State.model_validate_json(file.read_text())
    except ValueError:
        raise DamagedError(f"{file} is damaged: restore it, or delete it to decide on the entries anew") from None


def entries(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Every entry by its version, oldest first.

    Raises: DamagedError if one cannot be read.
    """
    files = sorted((workspace.root / FOLDER).glob(f"v*[0-9]/{ENTRY_FILE}"))
    return {file.parent.name: _entry(file) for file in files}


def _entry(file: Path) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(file.read_text())
        Evaluation.model_validate(entry["evaluation"])
        str(entry["key"])
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"{file} is damaged: restore it, or delete {file.parent}") from None
    return entry


def add(
    workspace: Workspace,
    key: str,
    checkpoint: Checkpoint,
    evaluation: Evaluation,
    facts: dict[str, Any],
    min_gain: float,
) -> Entry:
    """The entry of a scored checkpoint, registered and decided on once, however often this is called."""
    with workspace.locked(FOLDER):
        known, state = entries(workspace), read(workspace)
        version = next((version for version, entry in known.items() if entry["key"] == key), None)
        if version is None:
            used = [*known, *(decision.version for decision in state.decisions)]
            version = f"v{max((int(old[1:]) for old in used), default=0) + 1:04d}"
            entry = {"key": key, "evaluation": evaluation.model_dump(mode="json"), **facts}
            _keep(workspace.root / FOLDER, version, workspace.path(checkpoint) / checkpoint.file, entry)
            known[version] = entry
        decision = state.decision(version)
        if decision is None:
            decision = _decide(version, known, state.champion, min_gain)
            champion = version if decision.promoted else state.champion
            state = State(champion=champion, decisions=(*state.decisions, decision))
            write_json(workspace.root / FOLDER / REGISTRY_FILE, state.model_dump(mode="json"))
        return _reference(version, known[version], decision, state)


def _keep(folder: Path, version: str, weights: Path, entry: dict[str, Any]) -> None:
    partial = folder / f"{version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    shutil.copyfile(weights, partial / f"checkpoint{weights.suffix}")
    write_json(partial / ENTRY_FILE, entry)
    partial.rename(folder / version)


def _decide(version: str, known: dict[str, dict[str, Any]], champion: str | None, min_gain: float) -> Decision:
    mine = known[version]["evaluation"]
    split = mine["protocol"].split(",")[0]
    if split != "val":
        promoted, reason = False, f"scored on {split}: only val decides"
    elif champion is None:
        promoted, reason = True, "the first entry"
    elif champion not in known:
        promoted, reason = True, f"the champion {champion} is gone"
    else:
        theirs = known[champion]["evaluation"]
        gain = mine["top1"] - theirs["top1"]
        compared = f"top-1 {mine['top1']:.2%} against {theirs['top1']:.2%} of {champion}"
        if mine["split_digest"] != theirs["split_digest"]:
            promoted, reason = False, f"scored on other videos than {champion}, so not compared"
        elif mine["protocol"] != theirs["protocol"]:
            promoted, reason = False, f"scored by another protocol than {champion}, so not compared"
        elif gain > min_gain:
            promoted, reason = True, f"better: {compared}"
        else:
            needed = f", which needs a gain above {min_gain:.2%}" if min_gain else ""
            promoted, reason = False, f"not better: {compared}{needed}"
    return Decision(
        version=version,
        promoted=promoted,
        reason=reason,
        champion_before=champion,
        decided_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _reference(version: str, entry: dict[str, Any], decision: Decision, state: State) -> Entry:
    is_champion = state.champion == version
    replaced = "" if is_champion or not decision.promoted else f"; since then replaced by {state.champion}"
    return Entry(
        key=entry["key"],
        digest=entry["evaluation"]["digest"],
        path=f"{FOLDER}/{version}",
        version=version,
        is_champion=is_champion,
        reason=decision.reason + replaced,
    )
