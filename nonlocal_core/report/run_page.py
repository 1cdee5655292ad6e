"""What a run came to, as a Markdown page: figures, costs, and how the videos changed since an earlier entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from nonlocal_core import registry
from nonlocal_core.artifacts.references import RecordCache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.data.records import cache_table
from nonlocal_core.errors import DamagedError, few
from nonlocal_core.escaping import in_markdown
from nonlocal_core.report import markdown

MOST_NAMES = 20
"""names of videos in one cell"""
MOST_BROKEN = 200
"""rows of the table of broken videos"""
_COLUMNS = ["video_id", "sha256", "status", "reason"]


class Changes(NamedTuple):
    """How the videos of a cache differ from those that an earlier entry was made of."""

    since: str
    """the entry; empty if there is none, or its table is gone, so that all is new"""
    new: list[str]
    changed: list[str]
    """of other content under the same name"""
    removed: list[str]
    broken: dict[str, str]
    """the reason of each video that cannot be used"""
    newly_broken: list[str]
    """that could be used then, or were not there"""

    def __str__(self) -> str:
        """One line for a person."""
        counts = f"{len(self.new)} new, {len(self.changed)} changed, {len(self.removed)} removed videos"
        broken = f"{len(self.broken)} that cannot be used"
        if not self.since:
            return f"{len(self.new)} videos, {broken}"
        return f"since {self.since}: {counts}; {broken}, {len(self.newly_broken)} of them since then"


def changes(workspace: Workspace, cache: RecordCache, version: str, *, is_made: bool) -> Changes:
    """The changes since the entry before `version`, which the run has made, or since `version`, which was there.

    Raises: DamagedError if the table of the cache is not whole.
    """
    rows = _read(workspace, cache)
    since, before = _earlier(workspace, registry.number(version) - is_made)
    common = rows.index.intersection(before.index)
    broken = rows.loc[rows["status"] != "ok", "reason"]
    was_broken = before.index[before["status"] != "ok"]
    is_other = rows.loc[common, "sha256"] != before.loc[common, "sha256"]
    return Changes(
        since=since,
        new=sorted(rows.index.difference(before.index)),
        changed=sorted(common[is_other.to_numpy(bool)]),
        removed=sorted(before.index.difference(rows.index)),
        broken={str(name): str(reason) for name, reason in broken.items()},
        newly_broken=sorted(broken.index.difference(was_broken)),
    )


def _earlier(workspace: Workspace, last: int) -> tuple[str, pd.DataFrame]:
    """The newest entry up to a number, with its videos."""
    by_version = registry.entries(workspace)
    for name in reversed([name for name in by_version if registry.number(name) <= last]):
        try:
            return name, _read(workspace, by_version[name].cache)
        except (OSError, DamagedError):  # deleted by hand: an older one may be there
            continue
    return "", pd.DataFrame({name: pd.Series(dtype=str) for name in _COLUMNS}).set_index("video_id")


def _read(workspace: Workspace, cache: RecordCache) -> pd.DataFrame:
    table = cache_table.read(workspace.root / cache.path / RecordCache.VIDEOS, _COLUMNS)
    return table.set_index("video_id")


def text(headline: str, facts: Mapping[str, str], changes: Changes) -> str:
    """The page; `facts` has figures, decision and costs by what they are."""
    kinds = {"new": changes.new, "changed": changes.changed, "removed": changes.removed}
    videos = [(kind, len(names), few(names, MOST_NAMES)) for kind, names in kinds.items() if names]
    newly = set(changes.newly_broken)
    broken = sorted(changes.broken.items(), key=lambda item: (item[0] not in newly, item[0]))
    rows = [(name, reason, "new" if name in newly else "as before") for name, reason in broken[:MOST_BROKEN]]
    parts = [
        f"# {in_markdown(headline)}",
        markdown.table(["what", "how much"], facts.items()),
        "## Videos",
        in_markdown(str(changes)),
        *([markdown.table(["what", "videos", "names"], videos)] if videos and changes.since else []),
        "## Videos that cannot be used",
        markdown.table(["video", "reason", f"since {changes.since}" if changes.since else "since"], rows),
        *([f"and {len(broken) - MOST_BROKEN} more"] if len(broken) > MOST_BROKEN else []),
    ]
    return "\n\n".join(parts) + "\n"
