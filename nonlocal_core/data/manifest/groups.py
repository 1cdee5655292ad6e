"""Groups of videos that belong on one side of a split: clips of one recording are nearly copies of each other."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

import pandas as pd

from nonlocal_core.data.layouts.listing import Source
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

log = logging.getLogger(__name__)

_UCF = re.compile(r"(v_[^/]+_g\d+)_c\d+(?=[./]|$)")
"""UCF101: v_LABEL_gNN_cMM, where gNN is one recording; a file, or a folder of its pictures"""


def of_ucf(paths: Iterable[str]) -> bool:
    """Whether some videos are named as those of UCF101 are."""
    return any(_UCF.search(path) for path in paths)


def groups(rows: pd.DataFrame, group_by: str) -> pd.Series[str]:
    """The group of each row: as its list names it, else what `group_by` matches in its path; "" for none.

    Without `group_by`, videos that are named as UCF101's are grouped by recording.
    """
    pattern = re.compile(composed(group_by)) if group_by else _UCF

    def matched(path: str) -> str:
        match = pattern.search(composed(path))
        return "\0".join(part or "" for part in match.groups() or (match[0],)) if match else ""

    named = rows["group"] if "group" in rows else pd.Series("", index=rows.index)
    all_groups: pd.Series[str] = named.where(named != "", rows["path"].map(matched))
    return all_groups


def in_words(sources: Sequence[Source], group_by: str) -> list[str]:
    """A line on the groups of the videos; none if there are none.

    Raises: InputError if `group_by` matches no path.
    """
    group_by_row = groups(pd.DataFrame(sources, columns=pd.Index(Source._fields)), group_by)
    named = group_by_row[group_by_row != ""]
    if not len(named) and group_by:
        raise InputError(f"index.group_by={group_by} matches none of {len(sources)} paths, e.g. {sources[0].path}")
    words = f"groups that stay on one side of a drawn split: {named.nunique()}, with {len(named)} videos"
    return [f"{words} of {len(group_by_row)}"] if len(named) else []


def warn_of_divided(rows: pd.DataFrame, group: pd.Series[str]) -> None:
    """Log which groups are in train as well as in val or test: a score then rewards memory.

    Parts of one video are a group, too.
    """
    group = group.where(group != "", rows["path"].where(rows["path"].duplicated(keep=False), ""))
    ok = rows.assign(group=group)[(rows["status"] == "ok") & (group != "")]
    in_train = set(ok.loc[ok["split"] == "train", "group"])
    divided = ok[(ok["split"] != "train") & ok["group"].isin(in_train)]
    if len(divided):
        log.warning(
            "%d groups are in train as well as in val or test, so that scores reward memory; %d videos of val and"
            " test, e.g. %s",
            *(divided["group"].nunique(), len(divided), few(divided["path"], 3)),
        )


def components(contents: pd.DataFrame) -> dict[str, str]:
    """The name of what each content is drawn with: its group, or itself; groups that share a content are one.

    `contents` has the columns sha256 and group, one row a file.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for sha256, group in contents[["sha256", "group"]].to_numpy():
        for other in [f"group {group}"] if group else []:
            first, second = sorted((root(str(sha256)), root(other)))
            # "group …" comes after every hash, so a group keeps its name with other contents.
            parent[first] = second
    return {str(sha256): root(str(sha256)) for sha256 in contents["sha256"]}
