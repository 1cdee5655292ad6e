"""Text of others, such as names of files and labels: compared, and made harmless where it is printed or shown.

What a person can read comes out as it is, in any script.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST = 1000
"""characters of the longest text in a line"""

_JOINERS = r"(?<![^\0-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\0-\x7f])"  # those of emoji, Persian, … stay
_INVISIBLE = re.compile(
    r"[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
    rf"|{_JOINERS}"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_MARKUP = re.compile(
    r"[\\`*\[\]<|~]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # between letters it is none
    r"|&(?=#|\w+;)"
    r"|^(?:[#>=]|[-+](?!\d))|(?:(?<=^\d)|(?<=^\d\d))[.)](?=\s|$)"  # headings, quotes, lists
    r"|:(?=//)|(?<=www)\."  # which some programs make links
)


def composed(name: str) -> str:
    """A name in the Unicode form NFC, to compare it: macOS writes é as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """What is left of a name without capitals, blanks, and characters that nobody sees."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in plain if unicodedata.category(character)[0] not in "CZ")


def escaped(text: object) -> str:
    """A text without line ends, and with escapes for all that is invisible or moves a terminal's cursor."""
    return _INVISIBLE.sub(lambda match: _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}", str(text))


def one_line(text: object, longest: int = LONGEST) -> str:
    """A text as `escaped` gives it; the middle of a long one is left out, and its length is said."""
    line = escaped(text)
    if len(line) <= longest:
        return line
    return f"{line[: longest // 2]} … ({len(line)} characters) … {line[-(longest // 2) :]}"


def several_lines(text: object) -> str:
    """The lines of a text that has several on purpose, each as `one_line` gives it."""
    return "\n".join(map(one_line, str(text).split("\n")))


def in_markdown(text: object) -> str:
    """A text as one line of Markdown, or as a part of one, that is shown as it is."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))
