"""Whether an entry becomes the best of its line, and the champion.

docs/guides/registry.md has the same rules in a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RegistryConfig
from nonlocal_core.registry.entries import RANKS_FILE, line_of
from nonlocal_core.registry.facts import Facts
from nonlocal_core.registry.state_file import FOLDER, State

if TYPE_CHECKING:
    import pandas as pd

    from nonlocal_core.evaluation.comparison import Paired


class Verdict(NamedTuple):
    """What becomes of an entry."""

    leads: bool
    promoted: bool
    reason: str


def named(rule: RegistryConfig) -> str:
    """The settings that decide, as text."""
    significant = f", and McNemar's p at most {rule.max_p:g}" if rule.rule == "mcnemar" else ""
    return f"{rule.rule}: a gain in top-1 above {rule.min_gain:.2%}{significant}"


def judge(
    workspace: Workspace, version: str, known: dict[str, Facts], state: State, rule: RegistryConfig
) -> Verdict:
    """What becomes of an entry that is not decided on yet."""
    mine, champion = known[version], state.champion
    if mine.evaluation.split != "val":
        return Verdict(False, False, f"scored on {mine.evaluation.split}: only val decides")
    if champion is None:
        return Verdict(True, True, "the first entry")
    if champion not in known:
        return Verdict(True, True, f"the champion {champion} is gone")
    if line_of(known[champion]) == line_of(mine):
        better, told = _better(workspace, version, champion, rule)
        return Verdict(better, better, told)
    best = state.lines.get(line_of(mine))
    if mine.checkpoint.digest == known[champion].checkpoint.digest:
        return _of_the_champion(workspace, version, known, champion, best, rule)
    stand_in = _stand_in(line_of(mine), known, champion)
    best = best if best in known else stand_in
    if best is None:
        how = "; ".join(differences(known[champion], mine))
        return _beside(workspace, version, known, champion, f"starts the new line {line_of(mine)} ({how})")
    better, told = _better(workspace, version, best, rule)
    if not better:
        return Verdict(False, False, f"{told}, the best of line {line_of(mine)}")
    if stand_in is None:
        return _beside(workspace, version, known, champion, told)
    if best != stand_in:
        better, told = _better(workspace, version, stand_in, rule)
    return Verdict(True, better, f"{told}, which has the weights of the champion {champion}")


def _stand_in(line: str, known: dict[str, Facts], champion: str) -> str | None:
    """The newest entry of a line that has the weights of the champion, if there is one."""
    weights = known[champion].checkpoint.digest
    found = [one for one, facts in known.items() if facts.checkpoint.digest == weights and line_of(facts) == line]
    return found[-1] if found else None


def _of_the_champion(
    workspace: Workspace,
    version: str,
    known: dict[str, Facts],
    champion: str,
    best: str | None,
    rule: RegistryConfig,
) -> Verdict:
    """What becomes of the champion's weights in another line: they stand for it there."""
    line, how = line_of(known[version]), "; ".join(differences(known[champion], known[version]))
    told = f"the weights of the champion {champion} in line {line} ({how})"
    if best in known:
        better, figures = _better(workspace, str(best), version, rule)
        if better:
            return Verdict(False, False, f"{told}; {best} is {figures}: `promote {best}` changes the champion")
    return Verdict(True, False, f"{told}: later entries of the line are compared with it")


def _beside(workspace: Workspace, version: str, known: dict[str, Facts], champion: str, told: str) -> Verdict:
    """What becomes of the best entry of a line in which the champion was not scored."""
    stays = f"{told}; the champion {champion} stays"
    if not _can_replace(known[version], known[champion]):
        return Verdict(True, False, f"{stays}, as the two cannot be compared: `promote {version}` changes it")
    found = compared(workspace, champion, version)
    figures = _figures(found, champion)
    if found.second_only < found.first_only:
        return Verdict(True, False, f"{stays}, as it is better: {figures}; `promote {version}` changes it")
    return Verdict(
        True, True, f"{told}; knows all labels of the champion, and is as good on its videos: {figures}"
    )


def _better(workspace: Workspace, version: str, other: str, rule: RegistryConfig) -> tuple[bool, str]:
    """Whether an entry is better than another one of its line, and why."""
    found = compared(workspace, other, version)
    if not found.num_videos:
        return False, f"not compared: no video was scored for both it and {other}"
    figures = _figures(found, other)
    gain = found.second_only - found.first_only
    if gain <= 0:
        return False, f"not better: {figures}"
    if gain / found.num_videos <= rule.min_gain + 1e-9:  # 0.29 is no binary number
        return False, f"not better: {figures}, which needs a gain above {rule.min_gain:.2%}"
    if rule.rule == "mcnemar":
        test = (
            f"{found.second_only} videos won, {found.first_only} lost, p = {found.p_value:.2g} by McNemar's test"
        )
        if found.p_value > rule.max_p:
            return False, f"not better: {figures}, but {test}, which needs at most {rule.max_p:g}"
        return True, f"better: {figures}; {test}"
    return True, f"better: {figures}"


def _figures(found: Paired, other: str) -> str:
    return f"top-1 {found.second_top1:.2%} against {found.first_top1:.2%} of {other}, {found.num_videos} videos"


def compared(workspace: Workspace, first: str, second: str) -> Paired:
    """Two entries on the videos that were scored for both.

    Raises: DamagedError if their ranks cannot be read.
    """
    from nonlocal_core.evaluation import comparison

    return comparison.paired(ranks(workspace, first), ranks(workspace, second))


def ranks(workspace: Workspace, version: str) -> pd.DataFrame:
    """The rank of the right class of each video of an entry.

    Raises: DamagedError if the table is not there or damaged.
    """
    from nonlocal_core.artifacts import tables
    from nonlocal_core.evaluation import comparison

    file = workspace.root / FOLDER / version / RANKS_FILE
    return tables.read_rows(file, comparison.RANKS, f"restore it, or delete {file.parent}")


def differences(old: Facts, new: Facts) -> list[str]:
    """Why two entries are in different lines; nothing if they are in one."""
    found = []
    added, lost = _few(new.labels.keys() - old.labels.keys()), _few(old.labels.keys() - new.labels.keys())
    if added:
        found.append(f"labels added: {added}")
    if lost:
        found.append(f"labels gone: {lost}")
    if not found and old.labels != new.labels:
        found.append("labels numbered anew")
    before, after = old.evaluation, new.evaluation
    if before.split_digest != after.split_digest:
        found.append("other val videos")
    if before.protocol != after.protocol:
        found.append(f"another protocol: {after.protocol}, not {before.protocol}")
    return found


def _few(labels: set[str]) -> str:
    return ", ".join(sorted(labels)[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")


def _can_replace(mine: Facts, theirs: Facts) -> bool:
    """Whether an entry of another line can be weighed against the champion: labels were added, nothing else."""
    its, other = mine.evaluation, theirs.evaluation
    same = (its.split_digest, its.protocol) == (other.split_digest, other.protocol)
    return same and mine.labels.keys() >= theirs.labels.keys()
