"""The layout of UCF101 and HMDB51: class folders, and official lists of three folds.

    UCF101   trainlist01.txt   lines `LABEL/VIDEO id`;  testlist01.txt   lines `LABEL/VIDEO`;  classInd.txt
    HMDB51   LABEL_test_split1.txt   lines `VIDEO 0|1|2`: neither, train, test

The lists lie beside the class folders or in a folder of their own; the class folders may lie one folder deeper.
A listed LABEL/VIDEO.avi may be there with another ending, or as a folder of pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nonlocal_core.artifacts import label_ids
from nonlocal_core.data.layouts import endings
from nonlocal_core.data.layouts.inventory import Seen, is_junk, unlisted
from nonlocal_core.data.layouts.listing import File, Folder, Source, entries, relative, walk
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

_UCF = re.compile(r"(train|test)list0?(\d+)\.txt", re.IGNORECASE)
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt", re.IGNORECASE)
_HMDB_SPLITS = {"1": "train", "2": "test"}
CLASSES = "classInd.txt"


def find_lists(videos_dir: Folder) -> dict[Folder, int]:
    """The official lists of a folder, or of a folder directly in it, with their folds."""
    found = {}
    for path in _texts(videos_dir):
        if match := _UCF.fullmatch(path.name) or _HMDB.fullmatch(path.name):
            found[path] = int(match[2])
    return found


def find_videos(
    videos_dir: Folder, fold: int, names: Sequence[str] | None, seen: Seen
) -> tuple[list[Source], list[str], list[str], Sequence[str] | None]:
    """Every video of a fold, on disk or not; the names of its lists; what is worth saying of them; the labels.

    The labels are in the order of classInd.txt, where it is there.

    Raises: InputError if there is no such fold, or a line cannot be understood, or is listed twice.
    """
    lists = find_lists(videos_dir)
    of_fold = sorted((path for path, number in lists.items() if number == fold), key=str)
    if not of_fold:
        known = ", ".join(str(number) for number in sorted(set(lists.values()))) or "none"
        raise InputError(f"{videos_dir} has no official lists of index.fold={fold}: it has {known}")
    files = {endings.without(composed(file.path)): file for file in walk(videos_dir, seen=seen)}
    listed: dict[str, tuple[str, str]] = {}
    for table in of_fold:
        for place, name, split in _rows(table):
            earlier = listed.setdefault(name, (split, place))
            if earlier[1] != place:
                raise InputError(f"{place}: {name} is listed in {earlier[1]} already: remove one of them")
    base = _base(videos_dir, listed, files)
    sources = []
    for name, (split, _) in listed.items():
        file = files.get(endings.without(f"{base}{name}")) or File(f"{base}{name}", -1, 0)
        video_id, label = composed(file.path), name.split("/")[0]
        sources.append(Source(video_id, file.path, label, split, file.size_bytes, file.stamp))
    used = [relative(videos_dir, path) for path in lists]
    for path in _texts(videos_dir):
        if path.name.lower() == CLASSES.lower():
            used.append(relative(videos_dir, path))
            names = names or label_ids.parse(path.read_text(encoding="utf-8-sig"), str(path)).names
    notes = unlisted((file.path for file in files.values()), (source.path for source in sources))
    return sources, used, notes, names


def _texts(videos_dir: Folder) -> Iterator[Folder]:
    """The text files directly in a folder, and directly in its folders."""
    for path in entries(videos_dir):
        if is_junk(path.name):
            continue
        if path.is_dir():
            yield from (child for child in entries(path) if child.suffix.lower() == ".txt")
        elif path.suffix.lower() == ".txt":
            yield path


def _rows(table: Folder) -> Iterator[tuple[str, str, str]]:
    """(place, LABEL/VIDEO, split) of each line."""
    ucf, hmdb = _UCF.fullmatch(table.name), _HMDB.fullmatch(table.name)
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{table} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        place, text = f"{table}:{number}", composed(line.strip().replace("\\", "/"))
        if not text:
            continue
        if ucf:
            name = text.rpartition(" ")[0].strip() if re.search(r"\s\d+$", text) else text
            if name.count("/") != 1:
                raise InputError(f"{place}: {line!r} cannot be understood: expected `LABEL/VIDEO`")
            yield place, name, ucf[1].lower()
        elif hmdb:
            name, _, mark = text.rpartition(" ")
            if mark not in ("0", *_HMDB_SPLITS):
                raise InputError(f"{place}: {line!r} cannot be understood: expected `VIDEO 0|1|2`")
            if mark != "0":
                yield place, f"{composed(hmdb[1])}/{name.strip()}", _HMDB_SPLITS[mark]


def _base(videos_dir: Folder, listed: dict[str, tuple[str, str]], files: dict[str, File]) -> str:
    """What comes before LABEL/VIDEO: nothing, or the folder that the class folders lie in."""
    folders = ["", *sorted({path.split("/")[0] + "/" for path in files})]
    for folder in folders:
        if any(endings.without(f"{folder}{name}") in files for name in listed):
            return folder
    raise InputError(
        f"none of the {len(listed)} videos of the official lists is in {videos_dir}, e.g. {few(listed, 1)}: give"
        " the folder that the class folders lie in, with the lists beside them"
    )
