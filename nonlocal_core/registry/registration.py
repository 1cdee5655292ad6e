"""A scored checkpoint becomes an entry, and is decided on, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nonlocal_core.artifacts.files import sha256_of
from nonlocal_core.artifacts.references import Entry
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.registry.decision import judge, rule_text
from nonlocal_core.registry.entries import ENTRY_FILE, check, entries, keep, line_of, number
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import CHAMPION, FOLDER, Decision, State, now, read, write

if TYPE_CHECKING:
    import pyarrow as pa


def find(workspace: Workspace, key: str) -> Entry | None:
    """The decided entry of this key, if there is one.

    Raises: DamagedError if the registry cannot be read, or a file of the entry differs from its digest.
    """
    state = read(workspace)
    for version, facts in entries(workspace).items():
        if facts.key == key and (decision := state.decision(version)):
            check(workspace, version, state)
            return _reference(version, facts, decision, state)
    return None


def add(workspace: Workspace, facts: Facts, ranks: pa.Table, rule: RegistryConfig) -> Entry:
    """The entry of a scored checkpoint, registered and decided on once, however often this is called.

    Raises: DamagedError if the registry or an entry cannot be read, or the weights are gone.
    """
    with workspace.locked(FOLDER):
        by_version, state = entries(workspace), read(workspace)
        version = next((version for version, entry in by_version.items() if entry.key == facts.key), None)
        if version is None:
            used = [*by_version, *(decision.version for decision in state.decisions)]
            version = f"v{max(map(number, used), default=0) + 1:04d}"
            weights = workspace.path(facts.checkpoint) / facts.checkpoint.file
            keep(workspace.root / FOLDER / version, weights, ranks, facts)
            by_version = entries(workspace)
        decision = state.decision(version)
        if decision is None:
            verdict = judge(workspace, version, by_version, state, rule)
            decision = Decision(
                **verdict._asdict(),
                version=version,
                line=line_of(by_version[version]),
                champion_before=state.champion,
                rule=rule_text(rule),
                decided_at=now(),
            )
            digest = sha256_of(workspace.root / FOLDER / version / ENTRY_FILE)
            state = _after(state, decision, digest)
            write(workspace, state)
        return _reference(version, by_version[version], decision, state)


def _after(state: State, decision: Decision, digest: str) -> State:
    """The state once a decision stands."""
    lines = {**state.lines, decision.line: decision.version} if decision.leads else state.lines
    digests = {**state.digests, decision.version: digest}
    decided = {"lines": lines, "digests": digests, "decisions": (*state.decisions, decision)}
    state = state.model_copy(update=decided)
    return state.moved(CHAMPION, decision.version, decision.reason) if decision.promoted else state


def _reference(version: str, facts: Facts, decision: Decision, state: State) -> Entry:
    is_champion = state.champion == version
    replaced = "" if is_champion or not decision.promoted else f"; since then replaced by {state.champion}"
    return Entry(
        key=facts.key,
        digest=facts.evaluation.digest,
        path=f"{FOLDER}/{version}",
        version=version,
        is_champion=is_champion,
        reason=decision.reason + replaced,
        is_open=decision.is_open and not is_champion,
    )
