from __future__ import annotations

import json
from pathlib import Path

import pytest

from nonlocal_core.artifacts import label_ids
from nonlocal_core.errors import InputError


def test_labels_come_in_the_order_of_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "cls2index.json"
    path.write_text(json.dumps({"zumba": 0, "archery": 2, "übung": 1}), encoding="utf-8")
    assert label_ids.read(path) == ["zumba", "übung", "archery"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '["a"]',
        '{"a": 0, "b": 0}',
        '{"a": 1}',
        '{"a": "0"}',
        '{"a": 0, "b": 2}',
        '{"a": true}',
        "[" * 200_000,
        '{"\\ud800": 0}',
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cls2index.json"
    path.write_text(text)
    with pytest.raises(InputError, match="labels"):
        label_ids.read(path)


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = ["zumba", 'a "b"', "übung", "太极拳"]
    label_ids.write(tmp_path / "labels.json", written)
    assert label_ids.read(tmp_path / "labels.json") == written
    assert json.loads((tmp_path / "labels.json").read_text()) == {
        "zumba": 0, 'a "b"': 1, "übung": 2, "太极拳": 3,
    }  # fmt: skip
