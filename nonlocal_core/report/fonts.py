"""Which font can write a text: labels and paths are in any script, and most fonts know a few."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from matplotlib import font_manager

UNKNOWN = "□"
"""for a character that no installed font has"""


class Lettering(NamedTuple):
    """A text as it can be written, and the file of the font that writes it."""

    text: str
    font: str

    def properties(self, size: float, *, bold: bool = False) -> font_manager.FontProperties:
        """The font for matplotlib, in points."""
        usual = self.font == _usual()
        return font_manager.FontProperties(
            family="DejaVu Sans" if usual else None,
            fname=None if usual else self.font,
            size=size,
            weight="bold" if bold else "normal",
        )


def letter(text: str) -> Lettering:
    """The text in DejaVu Sans where that has all of it, else in the installed font that has most of it."""
    font = _font(frozenset(text))
    known = _characters(font)
    return Lettering("".join(sign if ord(sign) in known else UNKNOWN for sign in text), font)


@lru_cache(maxsize=1)
def _usual() -> str:
    return font_manager.findfont("DejaVu Sans")


@lru_cache(maxsize=256)
def _font(signs: frozenset[str]) -> str:
    wanted = {ord(sign) for sign in signs}
    if wanted <= _characters(_usual()):
        return _usual()
    names = sorted({font.fname for font in font_manager.fontManager.ttflist})
    return min([_usual(), *names], key=lambda name: len(wanted - _characters(name)))


@lru_cache(maxsize=512)
def _characters(font: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font).get_charmap())
