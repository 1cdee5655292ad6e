"""Whether an entry becomes the best of its line, and the champion.

docs/guides/registry.md has the same rules in a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.errors import few
from nonlocal_core.registry.entries import RANKS_FILE, line_of
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import FOLDER, State

if TYPE_CHECKING:
    import pandas as pd

    from nonlocal_core.evaluation.comparison import Paired


class Verdict(NamedTuple):
    """What is decided on an entry."""

    leads: bool
    """it becomes the best of its line"""
    promoted: bool
    """it becomes the champion"""
    reason: str
    is_open: bool = False
    """whether it becomes the champion is left to a person"""


def rule_text(rule: RegistryConfig) -> str:
    """The rule of the decision in words."""
    significant = f", and McNemar's p at most {rule.max_p:g}" if rule.rule == "mcnemar" else ""
    return f"{rule.rule}: a gain in top-1 above {rule.min_gain:.2%}{significant}"


def judge(
    workspace: Workspace, version: str, entries: dict[str, Facts], state: State, rule: RegistryConfig
) -> Verdict:
    """The verdict on an entry that is not decided on yet; one that learned from its own score is not better."""
    verdict, leak = _judge(workspace, version, entries, state, rule), entries[version].leak
    if leak and leak.num_videos and verdict.leads and state.champion in entries:
        reason = f"not called better, since {leak}, which this training started from"
        return Verdict(
            False, False, f"{reason}: `promote {version}` changes the champion ({verdict.reason})", True
        )
    return verdict


def _judge(
    workspace: Workspace, version: str, entries: dict[str, Facts], state: State, rule: RegistryConfig
) -> Verdict:
    facts, champion = entries[version], state.champion
    line = line_of(facts)
    if facts.evaluation.split != "val":
        return Verdict(False, False, f"scored on {facts.evaluation.split}: only val decides")
    if champion is None:
        return Verdict(True, True, "the first entry")
    if champion not in entries:
        return Verdict(True, True, f"the champion {champion} is gone")
    if line_of(entries[champion]) == line:
        better, reason = _better(workspace, version, champion, rule)
        return Verdict(better, better, reason)
    best = state.lines.get(line)
    if facts.checkpoint.digest == entries[champion].checkpoint.digest:
        return _judge_champions_weights(workspace, version, entries, champion, best, rule)
    # The newest entry of the line that has the weights of the champion.
    weights = entries[champion].checkpoint.digest
    of_line = [name for name, other in entries.items() if line_of(other) == line]
    same = [name for name in of_line if entries[name].checkpoint.digest == weights]
    stand_in = same[-1] if same else None
    best = best if best in entries else stand_in
    if best is None:
        reason = f"starts the new line {line} ({'; '.join(differences(entries[champion], facts))})"
        return _judge_against_other_line(workspace, version, entries, champion, reason)
    better, reason = _better(workspace, version, best, rule)
    if not better:
        return Verdict(False, False, f"{reason}, the best of line {line}")
    if stand_in is None:
        return _judge_against_other_line(workspace, version, entries, champion, reason)
    if best != stand_in:
        better, reason = _better(workspace, version, stand_in, rule)
    return Verdict(True, better, f"{reason}, which has the weights of the champion {champion}")


def _judge_champions_weights(
    workspace: Workspace,
    version: str,
    entries: dict[str, Facts],
    champion: str,
    best: str | None,
    rule: RegistryConfig,
) -> Verdict:
    """The verdict on the weights of the champion in another line: they stand for the champion there."""
    line, how = line_of(entries[version]), "; ".join(differences(entries[champion], entries[version]))
    reason = f"the weights of the champion {champion} in line {line} ({how})"
    if best in entries:
        better, figures = _better(workspace, str(best), version, rule)
        if better:
            return Verdict(
                False, False, f"{reason}; {best} is {figures}: `promote {best}` changes the champion", True
            )
    return Verdict(True, False, f"{reason}: later entries of the line are compared with it")


def _judge_against_other_line(
    workspace: Workspace, version: str, entries: dict[str, Facts], champion: str, reason: str
) -> Verdict:
    """The verdict on the best entry of a line in which the champion was not scored."""
    stays = f"{reason}; the champion {champion} stays"
    same_input = not any(_other_input(entries[champion], entries[version]))
    if not same_input or not entries[version].labels.keys() >= entries[champion].labels.keys():
        return Verdict(
            True, False, f"{stays}, as the two cannot be compared: `promote {version}` changes it", True
        )
    paired = compared(workspace, champion, version)
    figures = _figures(paired, champion)
    if paired.second_only < paired.first_only:
        return Verdict(True, False, f"{stays}, as it is better: {figures}; `promote {version}` changes it", True)
    return Verdict(
        True, True, f"{reason}; knows all labels of the champion, and is as good on its videos: {figures}"
    )


def _better(workspace: Workspace, version: str, other: str, rule: RegistryConfig) -> tuple[bool, str]:
    """Whether an entry is better than another one of its line, and why."""
    paired = compared(workspace, other, version)
    if not paired.num_videos:
        return False, f"not compared: no video was scored for both it and {other}"
    figures = _figures(paired, other)
    gain = paired.second_only - paired.first_only
    if gain <= 0:
        return False, f"not better: {figures}"
    if gain / paired.num_videos <= rule.min_gain + 1e-9:  # 0.29 is no binary number
        return False, f"not better: {figures}, which needs a gain above {rule.min_gain:.2%}"
    if rule.rule != "mcnemar":
        return True, f"better: {figures}"
    counts = f"{paired.second_only} videos won, {paired.first_only} lost"
    test = f"{counts}, p = {paired.p_value:.2g} by McNemar's test"
    if paired.p_value > rule.max_p:
        return False, f"not better: {figures}, but {test}, which needs at most {rule.max_p:g}"
    return True, f"better: {figures}; {test}"


def _figures(paired: Paired, other: str) -> str:
    return f"top-1 {paired.second_top1:.2%} against {paired.first_top1:.2%} of {other}, {paired.num_videos} videos"


def compared(workspace: Workspace, first: str, second: str) -> Paired:
    """Two entries on the videos that were scored for both.

    Raises: DamagedError if their ranks are missing or damaged.
    """
    from nonlocal_core.artifacts import tables
    from nonlocal_core.evaluation import comparison

    def ranks(version: str) -> pd.DataFrame:
        file = workspace.root / FOLDER / version / RANKS_FILE
        return tables.read_rows(file, comparison.RANKS, f"restore it, or delete {file.parent}")

    return comparison.paired(ranks(first), ranks(second))


def differences(old: Facts, new: Facts) -> list[str]:
    """Why two entries are in different lines; empty if they are in one."""
    reasons = []
    if added := sorted(new.labels.keys() - old.labels.keys()):
        reasons.append(f"labels added: {few(added, 3)}")
    if lost := sorted(old.labels.keys() - new.labels.keys()):
        reasons.append(f"labels gone: {few(lost, 3)}")
    if not reasons and old.labels != new.labels:
        reasons.append("labels numbered anew")
    return [*reasons, *_other_input(old, new)]


def _other_input(old: Facts, new: Facts) -> list[str]:
    """How the videos, views and frames differ on which two entries were scored."""
    before, after, reasons = old.evaluation, new.evaluation, []
    if before.split_digest != after.split_digest:
        reasons.append("other val videos")
    if before.protocol != after.protocol:
        reasons.append(f"another protocol: {after.protocol}, not {before.protocol}")
    if old.frames != new.frames:
        reasons.append(f"other frames: {new.frames}, not {old.frames}")
    return reasons
