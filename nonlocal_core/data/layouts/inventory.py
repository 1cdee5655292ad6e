"""What lies below a folder of videos: what is taken, and what is not and why.

Every file that a walk meets is counted once, so that nothing is left out without a word.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from nonlocal_core.errors import few

FollowLinks = Literal["inside", "all"]

MOST_LINKS = 3
"""links, one inside of another, that are followed: folders that link to each other would be walked without end"""
EXAMPLES = 3
"""names that are kept of each kind"""

JUNK = frozenset({
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", "@synoresource", "@sharebin", "@sharesnap", "@__thumb",
    "@upload_cache", "@transcode", "#recycle", "#snapshot", "~snapshot", "__macosx", "$recycle.bin", "recycler",
    "recycled", "lost+found", "system volume information", "network trash folder", "temporary items",
    "__pycache__", "_gsdata_", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "thumbnails",
    "@database", "@docker", "@download", "@quarantine", "@qsync", "@img_bkp_cache", "@userpreference",
})  # fmt: skip
"""names of file systems and network storage, in lower case; thumbnails in such folders are named like videos"""
_JUNK = re.compile(r"found\.\d{3}|.*@syno(eastream|resource)|@(syno|app|__).*|~\$.*", re.IGNORECASE)
_TABLES = (
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".pkl", ".pickle", ".xlsx", ".xml", ".yaml", ".yml", ".lst",
    ".list",
)  # fmt: skip
_LIST = re.compile(r"train|val|test|dev|split|fold|class|label|annot|(?<![a-z])list", re.IGNORECASE)


def is_junk(name: str) -> bool:
    """Whether a name is hidden, or belongs to a file system or to network storage."""
    return name.startswith(".") or name.lower() in JUNK or _JUNK.fullmatch(name) is not None


@dataclass
class Inventory:
    """The files that a walk has met, and how far it follows links."""

    follow_links: FollowLinks = "inside"
    frame_name: str = ""
    """the series of pictures that is taken where a folder holds it, such as img_{:05d}; "" if none is named"""
    left_out: list[str] = field(default_factory=list)
    """links that lead out of the folder and are not followed, each with where it leads"""
    num_videos: int = 0
    """video files and folders of pictures"""
    num_files: int = 0
    """files that are not junk; each picture of a folder counts"""
    too_deep: Counter[str] = field(default_factory=Counter)
    """links behind others that are not followed, by the first folder of their paths"""
    passed_over: Counter[str] = field(default_factory=Counter)
    """files that are no video by their name, by ending; "" for names without one"""
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """a few names of each ending"""
    lists: list[str] = field(default_factory=list)
    """files that may be lists of splits or labels by their names"""
    junk: Counter[str] = field(default_factory=Counter)
    """hidden names and those of file systems, by name; all of `._*` together"""

    def video(self, path: str) -> str:
        """The path of a video, without the series of pictures that is taken of a folder."""
        return path.removesuffix(f"/{self.frame_name}") if self.frame_name else path

    def pass_over(self, path: str) -> None:
        """Count a file that is no video by its name."""
        name = path.rpartition("/")[2]
        ending = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
        self.num_files += 1
        self.passed_over[ending] += 1
        if len(self.names[ending]) < EXAMPLES:
            self.names[ending].append(path)
        if ending in (".csv", ".tsv") or (ending in _TABLES and _LIST.search(name)):
            self.lists.append(path)

    def add_junk(self, name: str) -> None:
        """Count a hidden file or folder, or one of a file system."""
        self.junk["._*" if name.startswith("._") else name] += 1

    def lines(self, used: Iterable[str] = ()) -> list[str]:
        """What was seen, for a person; `used` are files that were read for labels and splits."""
        used = set(used)
        self.lists = sorted(set(self.lists) - used)
        used_endings = Counter(f".{name.rpartition('.')[2].lower()}" for name in used)
        left = +(self.passed_over - used_endings)
        lines = [f"files seen: {self.num_files}; videos, also as folders of pictures: {self.num_videos}"]
        if left:
            kinds = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in _most(left))
            names = few(
                [name for ending, _ in _most(left) for name in self.names[ending] if name not in used], EXAMPLES
            )
            lines.append(f"not taken, since they are no video by their name: {kinds}; e.g. {names}")
        lines += self.unused()
        if self.left_out:
            lines.append(
                f"{len(self.left_out)} links lead out of the folder and are not followed: {few(self.left_out)};"
                " runtime.follow_links=all follows them"
            )
        if self.too_deep:
            kinds = few([f"{count} in {name}" for name, count in _most(self.too_deep)])
            lines.append(f"links behind more than {MOST_LINKS} others, not followed: {kinds}")
        if self.junk:
            kinds = few([f"{count} {name}" for name, count in _most(self.junk)], 8)
            lines.append(f"hidden names and those of file systems, passed over: {kinds}")
        return lines

    def unused(self) -> list[str]:
        """A line on the lists that were found and not read; none if there are none."""
        return [f"lists that are found and not used: {few(self.lists, EXAMPLES)}"] if self.lists else []


def unlisted(paths: Iterable[str], listed: Iterable[str]) -> list[str]:
    """A line on the videos, by their paths, that are in no list; none if all are."""
    left = sorted(set(paths) - set(listed))
    return [f"{len(left)} videos are in no list and left out: {few(left, EXAMPLES)}"] if left else []


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    """The names with their counts, the greatest first, in an order that does not depend on the walk."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
