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


@pytest.mark.parametrize(
    ("name", "text", "labels", "first_id"),
    [
        ("label_map.txt", "run\nride a bike\nwave\n", ["run", "ride a bike", "wave"], 0),
        ("classInd.txt", "1 run\n2 jump\n3 wave\n", ["run", "jump", "wave"], 1),
        ("classes.txt", "2 ride a bike\n0 run\n1 jump\n", ["run", "jump", "ride a bike"], 0),
        ("labels.csv", "id,name\n0,run\n1,jump\n", ["run", "jump"], 0),
        ("labels.csv", '"run, fast",1\njump,0\n', ["jump", "run, fast"], 0),
        ("labels.csv", "\ufeffname\nu\u0308bung\nrun\n", ["übung", "run"], 0),
        ("map.json", '{"cafe\u0301": 0, "run": 1}', ["café", "run"], 0),
        ("map.json", '{"1": "run", "0": "jump"}', ["jump", "run"], 0),
        ("labels.csv", "id;name\n1;run\n0;jump\n", ["jump", "run"], 0),
        ("labels.csv", ",name,videos,id\n0,run,7,1\n1,jump,9,0\n", ["jump", "run"], 0),
        ("labels.txt", "run 1\nride a bike 2\n", ["run", "ride a bike"], 1),
        ("labels.txt", "class 1\nclass 2\n", ["class 1", "class 2"], 0),
        ("labels.txt", "# two\n0: run\n1: jump\n", ["run", "jump"], 0),
        ("labels.txt", "run=1\njump=0\n", ["jump", "run"], 0),
    ],
)
def test_the_files_that_people_have(
    tmp_path: Path, name: str, text: str, labels: list[str], first_id: int
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert label_ids.read_names(tmp_path / name)[:2] == (labels, first_id)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 run\n1 jump\n3 wave\n", r"the 3 ids must be 0 to 2, each once; 2 are left out"),
        ("run\nrun\n", "run occur twice"),
        ("1,2\n2,1\n", "both columns are numbers, so which one is the id cannot be told"),
        ("a,b\nc,d\n", "neither column is numbers"),
        ("a,b,c\n", "must hold lines `label`, `id label`"),
        ("\n", "must hold lines"),
    ],
)
def test_files_of_lines_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(InputError, match=said):
        label_ids.read_names(tmp_path / "labels.txt")


def test_an_order_that_is_not_that_of_the_ids_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (tmp_path / "classInd.txt").write_text("2 jump\n1 run\n")
    label_ids.read_names(tmp_path / "classInd.txt")
    assert "classInd.txt counts from 1: its id 1 is 0 here" in caplog.text
    assert "classInd.txt is not in the order of its ids, which are what counts" in caplog.text


def test_labels_in_quotes_lose_them(tmp_path: Path) -> None:
    path = tmp_path / "kinetics_classnames.json"
    path.write_text(json.dumps({'"riding a bike"': 1, "run": 0, '"': 2}))
    assert label_ids.read_names(path).names == ["run", "riding a bike", '"']
