"""What the pages of the docs quote: commands, Python, settings, files, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
COMMANDS = ("python", "prefect", "make", "pip", "dask", "source", "export")
SEEDS_OWN = {"tools/classification/infer.py", "tools/export.py"}
"""files of the seed, which its page names"""


class Quote(NamedTuple):
    """Something that a page quotes, and where."""

    text: str
    place: str
    """PAGE:LINE"""


def pages() -> list[Path]:
    """Every page for a reader."""
    top = sorted(page for page in REPOSITORY.glob("*.md") if page.name != "CHANGELOG.md")
    return [*top, *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[str, int, list[str]]]:
    """The blocks of code: language (empty if none is named), number of the first line, lines."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        first = number + 1
        if fence := re.match(r"( *)```(\w*)", lines[number]):
            end = next(n for n in range(first, len(lines)) if lines[n].strip() == "```")
            yield fence[2], first + 1, [line.removeprefix(fence[1]) for line in lines[first:end]]
            number = end + 1
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = next((n for n in range(number, len(lines)) if not re.match(r" {4}|$", lines[n])), len(lines))
            yield "", first, [line[4:] for line in lines[number:end]]
            number = end
        else:
            number += 1


def commands(page: Path) -> Iterator[Quote]:
    """Every command that a page gives in a block, and those in a line that begin with `python` and an option."""
    for language, first, lines in blocks(page):
        if language in ("", "bash", "sh"):
            yield from _commands(page, first, lines)
    for span in spans(page):
        if re.match(r"(python (-m |flows/|benchmarks/|docs/)|make \w+$|prefect deployment run \S+ )", span.text):
            yield span


def _commands(page: Path, first: int, lines: list[str]) -> Iterator[Quote]:
    number = 0
    while number < len(lines):
        place, text = first + number, lines[number]
        while text.endswith("\\"):
            number += 1
            text = text[:-1] + lines[number].strip()
        number += 1
        for part in re.sub(r"(^|\s)#.*", "", re.split(r"\s{3,}", text.strip())[0]).split("; "):
            if part.split(" ")[0] in COMMANDS or part.startswith(".venv/"):
                yield Quote(part.strip(), f"{page.name}:{place}")


def words(command: str) -> list[str]:
    """The words of a command; a synopsis is taken with all that it may have."""
    return shlex.split(re.sub(r"[\[\]]", "", command) if re.search(r" \[", command) else command)


def spans(page: Path) -> Iterator[Quote]:
    """What a page has between backticks, outside of blocks."""
    inside = {number for _, first, lines in blocks(page) for number in range(first - 1, first + len(lines) + 1)}
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if number not in inside:
            for text in re.findall(r"`([^`]+)`", line):
                yield Quote(text, f"{page.name}:{number}")


def links(page: Path) -> Iterator[Quote]:
    """The targets of a page's links into the repository."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if not re.match(r"\w+:", target):
                yield Quote(target, f"{page.name}:{number}")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.strip().lower()) for heading in headings)
    return {re.sub(r"[\s]+", "-", heading) for heading in plain}
