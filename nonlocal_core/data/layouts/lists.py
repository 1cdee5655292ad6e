"""The layout of list files: one line a video, as mmaction2, PySlowFast and pandas write them.

    DIR/*train*.txt|csv|tsv, *val*, *test*    lines as `list_lines.py` reads them
    DIR/*.csv|tsv|txt                         the same with names of columns, where index.layout=lists asks for it

A path is relative to DIR or to its folder SPLIT, videos_SPLIT, rawframes_SPLIT, videos or rawframes, or else to
the only folder that has its videos; or it is absolute and inside DIR.  A label is a number or a name.  A folder of
pictures is a video too.  Parts of one video that are listed with begin and end are videos of their own.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from nonlocal_core.artifacts.label_ids import Names
from nonlocal_core.data.layouts import endings, kinetics, list_checks, list_labels, list_lines
from nonlocal_core.data.layouts.inventory import Inventory, unlisted
from nonlocal_core.data.layouts.list_lines import FORMAT, Columns, Line, Reading
from nonlocal_core.data.layouts.list_places import Table, based, by_likeness, renamed_in_words
from nonlocal_core.data.layouts.listing import Folder, Source, entries, walk
from nonlocal_core.data.layouts.split_names import split_of, splits_in, word_of
from nonlocal_core.data.video import pictures
from nonlocal_core.errors import InputError, few
from nonlocal_core.escaping import composed

_SUFFIXES = (".txt", ".csv", ".tsv")
_FOLD = re.compile(r"(?:split|fold)[ _-]?0*(\d+)", re.IGNORECASE)

log = logging.getLogger(__name__)


def find_lists(videos_dir: Folder) -> dict[Folder, str]:
    """The list files of a folder with their splits; a file's name has the split as one of its words."""
    lists = {}
    for path in _texts(videos_dir):
        splits = splits_in(path.stem)
        if len(splits) == 1:
            lists[path] = splits.pop()
        elif splits:
            log.warning("%s is not taken for a list: it names the splits %s", path, ", ".join(sorted(splits)))
    return lists


def of_fold(lists: Mapping[Folder, str], fold: int) -> dict[Folder, str]:
    """The lists of one fold, where names such as ucf101_train_split_2_videos.txt have several; else all.

    Raises: InputError if there is no such fold, or lists with two words for one split, as dev and eval for val.
    """
    matches = {path: match for path in lists if (match := _FOLD.search(path.stem))}
    numbers = {path: int(match[1]) for path, match in matches.items()}
    if len(fold_numbers := sorted(set(numbers.values()))) > 1:
        lists = {path: split for path, split in lists.items() if numbers.get(path, fold) == fold}
        if fold not in fold_numbers:
            numbers_in_words = ", ".join(map(str, fold_numbers))
            raise InputError(f"there are no lists of index.fold={fold}: there are {numbers_in_words}")
    words: dict[str, dict[str, Folder]] = defaultdict(dict)
    for path, split in lists.items():
        words[split][word_of(path.stem)] = path
        if len(words[split]) > 1:
            both = " and ".join(path.name for path in words[split].values())
            raise InputError(f"{both} are both lists of {split}: keep one, or name it after the split that it is")
    return dict(lists)


def find_tables(videos_dir: Folder) -> list[Folder]:
    """The files of a folder that are named like no split, and begin with names of the columns of a list."""
    return [path for path in _texts(videos_dir) if not splits_in(path.stem) and list_lines.has_header(path)]


def _texts(videos_dir: Folder) -> Iterator[Folder]:
    for path in entries(videos_dir):
        if path.suffix.lower() in _SUFFIXES and path.is_file() and not kinetics.is_table(path):
            yield path


def find_videos(
    videos_dir: Folder,
    names: Names | None = None,
    columns: Columns = "auto",
    seen: Inventory | None = None,
    lists: Mapping[Folder, str] | None = None,
) -> tuple[list[Source], list[str], list[str]]:
    """Every video of the lists, on disk or not; the names of the lists; what is worth saying of them.

    `names` of labels, in the order of their ids, replace numbers.  `lists` are those to read, each with its split;
    without them, those of the folder are.

    Raises: InputError with file and line, if a line cannot be understood or can be in two ways, a path leads
            outside of the folder, a video is listed twice, or labels are numbers here and names there.
    """
    if lists is None:
        lists = find_lists(videos_dir) or dict.fromkeys(find_tables(videos_dir), "")
    if not lists:
        raise InputError(f"{videos_dir} has no list such as train.txt: add one with lines `path label`")
    seen = seen or Inventory()
    on_disk = {seen.video(file.path): file for file in walk(videos_dir, seen=seen)}
    files = {composed(path): file for path, file in on_disk.items()}
    table = Table(videos_dir, files, seen, by_likeness(files), {})
    lines, notes = _without_copies({path: list_lines.read(path, columns) for path in lists}, lists)
    sources: list[Source] = []
    places: list[str] = []
    for path, listed in lines.items():
        rooted = based(table, listed, lists[path])
        if rooted.base:
            log.info("%s: its paths are relative to %s", path, videos_dir / rooted.base)
        list_checks.refuse_unclear(rooted, listed)
        for line in listed:
            sources.append(_source(rooted, line, lists[path], splits_in(path.stem)))
            places.append(line.place)
    sources = _with_parts(sources, places)
    paths = (file.path for file in table.files.values())
    notes += unlisted(paths, (source.path for source in sources))
    notes += [*renamed_in_words(table.renamed), *_unread(lines)]
    sources = list_labels.with_names(sources, places, names)
    return sources, [path.name for path in lists], notes


def _without_copies(
    lines: dict[Folder, list[Line]], lists: Mapping[Folder, str]
) -> tuple[dict[Folder, list[Line]], list[str]]:
    """The lists without those of test that list the same as one of val: PySlowFast wants the same twice."""
    texts = {path: sorted(" ".join(line.text.split()) for line in listed) for path, listed in lines.items()}
    distinct, notes = {}, []
    for path, listed in lines.items():
        val = [other for other in lines if lists[other] == "val" and texts[other] == texts[path]]
        if lists[path] == "test" and val:
            notes.append(f"{path.name} is not used: it lists the same as {val[0].name}")
        else:
            distinct[path] = listed
    return distinct, notes


def _unread(lists: Iterable[Folder]) -> list[str]:
    """A line on the columns that lists name and nobody reads; none if there are none."""
    names = dict.fromkeys(name for path in lists for name in list_lines.unread(path))
    return [f"columns of lists that are not read: {few(names, 8)}"] if names else []


def _source(table: Table, line: Line, of_list: str, of_name: set[str]) -> Source:
    """The source of a line in a list that is taken for a split and named like some; empty where it is neither."""
    chosen = _chosen(table, line)
    path = table.where(chosen.path) or table.inside(chosen.path.replace("\\", "/"))
    if path is None:
        raise InputError(
            f"{line.place}: {chosen.path} is not inside of {table.videos_dir}: list paths relative to it"
        )
    start, end = chosen.start or "0", chosen.end or "1"
    if not list_lines.is_part(start, end):
        raise InputError(f"{line.place}: from {start} to {end} is no part of a video: 0 <= start < end <= 1")
    if path not in table.files and path.lower().endswith(pictures.SUFFIXES):
        raise InputError(f"{line.place}: {path} is a picture: list the folder that its frames lie in")
    file, label = table.file(path), list_labels.written(chosen.label, line.place)
    split = split_of(chosen.split)
    if chosen.split and not split:
        raise InputError(f"{line.place}: there is no split {chosen.split!r}: write train, val or test")
    if split and of_list and split not in (of_list, *of_name):
        raise InputError(
            f"{line.place}: its column says {split}, and the name of the file says {', '.join(of_name)}: remove"
            " the column, or give the file a name without a split and say index.layout=lists"
        )
    split = of_list or split
    return Source(
        path, file.path, label, split, file.size_bytes, file.stamp, float(start), float(end), chosen.group
    )


def _chosen(table: Table, line: Line) -> Reading:
    """The reading of a line whose video is there; else the likeliest.

    Raises: InputError if there is none, or the videos of two are there.
    """
    existing = {where: reading for reading in line.readings if (where := table.where(reading.path))}
    if len(existing) > 1:
        first, second, *_ = existing.values()
        raise InputError(
            f"{line.place}: {line.text!r} can be read as {first}, or as {second}, and both are there: say which"
            f" with index.list_columns={first.columns} or {second.columns}"
        )
    likely = [reading for reading in line.readings if endings.is_video(reading.path)]
    without_spaces = [reading for reading in line.readings if not re.search(r"[\s,]", reading.path)]
    chosen = next(iter([*existing.values(), *likely, *without_spaces]), None)
    if chosen is None:
        raise InputError(
            f"{line.place}: {line.text!r} cannot be understood: {FORMAT}, with a space, a tab or a comma between"
            " them; if this is no list, say how the videos lie with index.layout=class_folders"
        )
    return chosen


def _with_parts(sources: list[Source], places: list[str]) -> list[Source]:
    """The sources; the parts of a video that is listed more than once have their part in the name.

    Raises: InputError if one part is listed twice.
    """
    counts = Counter(source.path for source in sources)
    named, earlier = [], dict[str, str]()
    for source, place in zip(sources, places, strict=True):
        if counts[source.path] > 1 and (source.start_fraction, source.end_fraction) != (0.0, 1.0):
            part = f"#{source.start_fraction:g}-{source.end_fraction:g}"
            source = source._replace(video_id=f"{source.video_id}{part}")
        if source.video_id in earlier:
            raise InputError(
                f"{place}: {source.path} is listed in {earlier[source.video_id]} already: remove one of them"
            )
        earlier[source.video_id] = place
        named.append(source)
    return named
