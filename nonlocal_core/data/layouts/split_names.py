"""The names that people give to the splits train, val and test."""

from __future__ import annotations

import re

SPLITS = ("train", "val", "test")

_WORDS = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validate", "validation", "valset", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "testset"),
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words}


def split_of(name: str) -> str:
    """The split that a name stands for, whatever its case; "" if it stands for none."""
    return _SPLIT_OF.get(name.lower(), "")


def splits_in(name: str) -> set[str]:
    """The splits that the words of a name stand for: val of `hmdb51_val_split_1_videos`."""
    return {split_of(word) for word in re.split(r"[^a-z]+", name.lower())} - {""}
