"""The names that people give to the splits train, val and test."""

from __future__ import annotations

import re

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validating", "validation", "vld", "dev", "develop", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}
_BESIDE = re.compile(r"(set|list|split|data|videos?|clips?|files?)$")
"""what people write behind the word without a gap, as in TrainSet or trainlist01"""


def split_of(name: str) -> str:
    """The split that a name stands for, whatever its case; "" if it stands for none."""
    name = name.lower()
    return _SPLIT_OF.get(name) or _SPLIT_OF.get(_BESIDE.sub("", name), "")


def word_of(name: str) -> str:
    """The first word of a name that stands for a split; "" if there is none."""
    return next((word for word in re.split(r"[^a-z]+", name.lower()) if split_of(word)), "")


def splits_in(name: str) -> set[str]:
    """The splits that the words of a name stand for: val of `hmdb51_val_split_1_videos`."""
    return {split_of(word) for word in re.split(r"[^a-z]+", name.lower())} - {""}
