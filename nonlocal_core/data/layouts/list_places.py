"""Where the paths of a list lead."""

from __future__ import annotations

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nonlocal_core.data.layouts import endings
from nonlocal_core.data.layouts.inventory import Inventory
from nonlocal_core.data.layouts.list_lines import Line, Reading
from nonlocal_core.data.layouts.listing import File, Folder, is_file, stat_file
from nonlocal_core.data.layouts.locations import is_uri
from nonlocal_core.data.layouts.remote import RemotePath
from nonlocal_core.errors import few
from nonlocal_core.escaping import composed

_LOOKED_AT = 20
"""lines of a list that are looked for in every folder"""
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class Table(NamedTuple):
    """The lists' folder with the files in it."""

    videos_dir: Folder
    files: dict[str, File]
    """by their names in NFC"""
    seen: Inventory
    near: dict[str, list[str]]
    """names of files by what is left of them without capitals and endings"""
    renamed: dict[str, str]
    """listed names that are there with another ending or other capitals, and what they are called there"""
    base: str = ""
    """folder that paths are relative to"""

    def where(self, path: str, is_exact: bool = False) -> str:
        """The path, from the videos' folder, of a listed file that is there; "" if not. Windows' \\ is a /.

        Unless `is_exact`, the only file that differs in ending and capitals alone is it, too.
        """
        written = [self.inside(path) for path in dict.fromkeys((path, path.replace("\\", "/")))]
        for inside in written:
            if inside is not None and (inside in self.files or self._is_behind_no_link(inside)):
                return inside
        for inside in () if is_exact else written:
            if inside is not None and len(similar := self.near.get(alike(inside), [])) == 1:
                self.renamed[inside] = similar[0]
                return similar[0]
        return ""

    def inside(self, path: str) -> str | None:
        """A listed path, relative to the folder of the videos; None if it leads outside."""
        if _OF_WINDOWS.match(path):
            return None
        if not path.startswith("/") and not is_uri(path):
            path = posixpath.normpath(posixpath.join(self.base, path))
            return None if path.startswith("../") or path in ("..", ".") else path
        path = posixpath.normpath(path)
        for folder in _names(self.videos_dir):
            if path.startswith(f"{folder}/"):
                return path[len(folder) + 1 :]
        return None

    def file(self, path: str) -> File:
        """The file of a path that is inside; its size is -1 if it is not there."""
        return self.files.get(path) or stat_file(self.videos_dir, path, self.seen)

    def exists(self, reading: Reading, is_exact: bool = False) -> bool:
        """Whether the video of a reading is there."""
        return bool(self.where(reading.path, is_exact))

    def holds(self, lines: list[Line], is_exact: bool) -> bool:
        """Whether a video of a list is there."""
        return any(self.exists(reading, is_exact) for line in lines for reading in line.readings)

    def _is_behind_no_link(self, path: str) -> bool:
        """Whether a file of any ending is there, and not behind a link that is not followed."""
        return is_file(self.videos_dir, path) and stat_file(self.videos_dir, path, self.seen).size_bytes >= 0


def based(table: Table, lines: list[Line], split: str) -> Table:
    """The table with the folder that paths are relative to.

    It is the first of the usual ones in which there is a video of the list, or the only folder in which the first
    videos are.
    """
    bases = ["", split, f"videos_{split}", f"rawframes_{split}", "videos", "rawframes"]
    candidates = [table._replace(base=base) for base in bases if not base or (table.videos_dir / base).is_dir()]
    others = [table._replace(base=base) for base in sorted({path.partition("/")[0] for path in table.files})]
    for is_exact in (True, False):
        for candidate in candidates:
            if candidate.holds(lines, is_exact):
                return candidate
        if (
            len(holding := [candidate for candidate in others if candidate.holds(lines[:_LOOKED_AT], is_exact)])
            == 1
        ):
            return holding[0]
    return table


def alike(path: str) -> str:
    """What is left of a path without the ending of a video and without capitals."""
    return endings.without(path).casefold()


def by_likeness(paths: Iterable[str]) -> dict[str, list[str]]:
    """Paths by what `alike` leaves of them."""
    near: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        near[alike(path)].append(path)
    return dict(near)


def renamed_in_words(renamed: Mapping[str, str]) -> list[str]:
    """A line on the listed names that are there under others; none if there are none."""
    names = few([f"{listed} is {on_disk}" for listed, on_disk in renamed.items()], 1)
    return [f"{len(renamed)} listed names are there with another ending or other capitals: {names}"][
        : len(renamed)
    ]


def _names(videos_dir: Folder) -> tuple[str, ...]:
    """The ways in which an absolute path into the folder may begin."""
    if isinstance(videos_dir, RemotePath):
        return (posixpath.normpath(str(videos_dir).partition("?")[0]),)
    return composed(str(videos_dir)), composed(os.path.realpath(videos_dir))
