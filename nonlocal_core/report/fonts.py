"""The choice of a font for a text: labels and paths may be in any script, and most fonts cover only a few."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import matplotlib
from matplotlib import font_manager

from nonlocal_core.escaping import one_line

matplotlib.rcParams["text.parse_math"] = False  # a label with two dollar signs is no formula
LONGEST = 80
"""characters of the longest text in a picture"""
UNKNOWN = "□"
"""replacement of a character that the font lacks"""


class Lettering(NamedTuple):
    """A text in which characters that the font lacks are replaced, and the file of the font."""

    text: str
    font: str

    def properties(self, size: float, *, bold: bool = False) -> font_manager.FontProperties:
        """The font for matplotlib; the size is in points."""
        is_default = self.font == _default()
        return font_manager.FontProperties(
            family="DejaVu Sans" if is_default else None,
            fname=None if is_default else self.font,
            size=size,
            weight="bold" if bold else "normal",
        )


def letter(text: str) -> Lettering:
    """One line of text in DejaVu Sans if that has all its characters, else in the font that has most of them."""
    text = one_line(text, LONGEST)
    font = _font(frozenset(text))
    available = _characters(font)
    return Lettering("".join(sign if ord(sign) in available else UNKNOWN for sign in text), font)


@lru_cache(maxsize=1)
def _default() -> str:
    return font_manager.findfont("DejaVu Sans")


@lru_cache(maxsize=256)
def _font(signs: frozenset[str]) -> str:
    wanted = {ord(sign) for sign in signs}
    if wanted <= _characters(_default()):
        return _default()
    names = sorted({font.fname for font in font_manager.fontManager.ttflist})
    return min([_default(), *names], key=lambda name: len(wanted - _characters(name)))


@lru_cache(maxsize=512)
def _characters(font: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font).get_charmap())
