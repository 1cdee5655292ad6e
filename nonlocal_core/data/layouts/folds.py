"""The layout of UCF101 and HMDB51: class folders, and official lists of three folds.

    UCF101   trainlist01.txt   lines `LABEL/VIDEO id`;  testlist01.txt   lines `LABEL/VIDEO`;  classInd.txt
    HMDB51   LABEL_test_split1.txt   lines `VIDEO 0|1|2`: neither, train, test

The lists lie beside the class folders or in a folder of their own; the class folders may lie one folder deeper.
A listed LABEL/VIDEO.avi may be there with another ending, or as a folder of pictures.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from nonlocal_core.artifacts import label_ids
from nonlocal_core.data.layouts import endings
from nonlocal_core.data.layouts.inventory import Inventory, is_junk, unlisted
from nonlocal_core.data.layouts.list_places import renamed_in_words
from nonlocal_core.data.layouts.listing import File, Folder, Source, entries, relative, walk
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

_UCF = re.compile(r"(train|test)list0?(\d+)\.txt", re.IGNORECASE)
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt", re.IGNORECASE)
_HMDB_SPLITS = {"1": "train", "2": "test"}
CLASSES = "classInd.txt"


class _Row(NamedTuple):
    """A line of an official list."""

    place: str
    """file:line"""
    name: str
    """LABEL/VIDEO"""
    split: str
    label_id: int = -1
    """as the line has it; -1 for none"""


def find_lists(videos_dir: Folder) -> dict[Folder, int]:
    """The official lists of a folder, or of a folder directly in it, with their folds."""
    fold_of = {}
    for path in _texts(videos_dir):
        if match := _UCF.fullmatch(path.name) or _HMDB.fullmatch(path.name):
            fold_of[path] = int(match[2])
    return fold_of


def find_videos(
    videos_dir: Folder, fold: int, names: Sequence[str] | None, seen: Inventory
) -> tuple[list[Source], list[str], list[str], Sequence[str] | None]:
    """Every video of a fold, on disk or not; the names of its lists; what is worth saying of them; the labels.

    The labels are in the order of classInd.txt, where it is there.

    Raises: InputError if there is no such fold, or a line cannot be understood, or is listed twice.
    """
    lists = find_lists(videos_dir)
    of_fold = sorted((path for path, number in lists.items() if number == fold), key=str)
    if not of_fold:
        fold_numbers = ", ".join(str(number) for number in sorted(set(lists.values()))) or "none"
        raise InputError(f"{videos_dir} has no official lists of index.fold={fold}: it has {fold_numbers}")
    files = list(walk(videos_dir, seen=seen))
    listed: dict[str, _Row] = {}
    for table in of_fold:
        for row in _rows(table):
            earlier = listed.setdefault(row.name, row)
            if earlier is not row:
                raise InputError(
                    f"{row.place}: {row.name} is listed in {earlier.place} already: remove one of them"
                )
    file_of = _locate(listed, files, videos_dir, seen)
    base = _base(seen.video(next(iter(file_of.values())).path))
    name_on_disk = {name: _label_and_name(seen.video(file.path)) for name, file in file_of.items()}
    exact = {name.split("/")[0] for name, where in name_on_disk.items() if where == endings.without(name)}
    sources, renamed = [], dict[str, str]()
    for name, row in listed.items():
        file = file_of.get(name) or File(f"{base}{name}", -1, 0)
        label = name.split("/")[0]
        if name in file_of and name_on_disk[name] != endings.without(name):
            renamed[name] = file.path
            label = label if label in exact else name_on_disk[name].split("/")[0]
        sources.append(Source(composed(file.path), file.path, label, row.split, file.size_bytes, file.stamp))
    used = [relative(videos_dir, path) for path in lists]
    for path in _texts(videos_dir):
        if path.name.lower() == CLASSES.lower():
            used.append(relative(videos_dir, path))
            classes = label_ids.parse(_text(path), str(path))
            _check_ids(listed.values(), classes, path)
            names = names or classes.names
    notes = unlisted((file.path for file in files), (source.path for source in sources))
    notes += renamed_in_words(renamed)
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


def _check_ids(rows: Iterable[_Row], classes: label_ids.Names, table: Folder) -> None:
    """Raise InputError if a list has another id for a label than classInd.txt."""
    ids = {label: number for number, label in enumerate(classes.names, classes.first_id)}
    for row in rows:
        expected = ids.get(row.name.split("/")[0], row.label_id)
        if row.label_id >= 0 and expected != row.label_id:
            raise InputError(
                f"{row.place}: {row.name} has the id {row.label_id}, and {expected} in {table}: correct one"
            )


def _text(table: Folder) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} cannot be read: it is no UTF-8 text, so save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{table} cannot be read: {error}") from None


def _rows(table: Folder) -> Iterator[_Row]:
    ucf, hmdb = _UCF.fullmatch(table.name), _HMDB.fullmatch(table.name)
    for number, line in enumerate(_text(table).splitlines(), 1):
        place, text = f"{table}:{number}", composed(line.strip().replace("\\", "/"))
        if not text:
            continue
        if ucf:
            match = re.fullmatch(r"(.*\S)\s+(\d{1,9})", text)
            name = match[1] if match else text
            if name.count("/") != 1:
                raise InputError(f"{place}: {line!r} cannot be understood: expected `LABEL/VIDEO`")
            yield _Row(place, name, ucf[1].lower(), int(match[2]) if match else -1)
        elif hmdb:
            name, mark = text.rsplit(None, 1) if " " in text or "\t" in text else ("", text)
            if mark not in ("0", *_HMDB_SPLITS):
                raise InputError(f"{place}: {line!r} cannot be understood: expected `VIDEO 0|1|2`")
            if mark != "0":
                yield _Row(place, f"{composed(hmdb[1])}/{name.strip()}", _HMDB_SPLITS[mark])


def _label_and_name(path: str) -> str:
    """LABEL/VIDEO of a path, without the folders before it and the ending."""
    return "/".join(endings.without(composed(path)).split("/")[-2:])


def _base(path: str) -> str:
    """What comes before LABEL/VIDEO."""
    folder = "/".join(path.split("/")[:-2])
    return f"{folder}/" if folder else ""


def _locate(
    listed: Collection[str], files: Sequence[File], videos_dir: Folder, seen: Inventory
) -> dict[str, File]:
    """Where each listed LABEL/VIDEO is: below any folder, with any ending, and in other capitals if need be.

    Raises: InputError if none is there, or one is there twice.
    """
    by_name: dict[str, list[File]] = defaultdict(list)
    alike: dict[str, list[File]] = defaultdict(list)
    for file in files:
        name = _label_and_name(seen.video(file.path))
        by_name[name].append(file)
        alike[name.casefold()].append(file)
    file_of = {}
    for name in listed:
        short = endings.without(name)
        same = by_name.get(short) or alike.get(short.casefold(), [])
        same = [file for file in same if endings.is_video(file.path)] or same  # before folders of its pictures
        if len(same) > 1:
            both = few(sorted(file.path for file in same), 2)
            raise InputError(f"{videos_dir} has {name} of the official lists twice, {both}: remove one of them")
        if same:
            file_of[name] = same[0]
    if not file_of:
        raise InputError(
            f"none of the {len(listed)} videos of the official lists is in {videos_dir}, e.g. {few(listed, 1)}:"
            " give the folder that the class folders lie in, with the lists beside them"
        )
    return file_of
