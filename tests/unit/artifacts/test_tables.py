from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nonlocal_core.artifacts import tables
from nonlocal_core.errors import DamagedError

FIELDS: list[pa.Field] = [pa.field("name", pa.string()), pa.field("size", pa.int32())]
SCHEMA = pa.schema(FIELDS, {"ours": "1"})
PARTS = [
    pa.table({"name": ["a", "incompressible"], "size": [1, 2]}, SCHEMA),
    pa.table({"name": ["c"], "size": [3]}, SCHEMA),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tables.write_groups(PARTS, SCHEMA, tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def readers(file: Path) -> list[object]:
    return [
        lambda: tables.read(file, SCHEMA, "do this"),
        lambda: tables.read_rows(file, SCHEMA, "do this"),
        lambda: list(tables.read_groups(file, SCHEMA, "do this")),
    ]


def test_what_was_written_is_read(file: Path) -> None:
    assert tables.read(file, SCHEMA, "").equals(pa.concat_tables(PARTS), check_metadata=True)
    assert tables.read_rows(file, SCHEMA, "", ["size"]).to_dict("list") == {"size": [1, 2, 3]}
    assert list(tables.read_groups(file, SCHEMA, "")) == PARTS
    assert list(tables.read_groups(file, SCHEMA, "", [1])) == PARTS[1:]
    assert [path.name for path in file.parent.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("number", range(3))
def test_damage_is_one_line_that_says_what_to_do(file: Path, number: int) -> None:
    content = bytearray(file.read_bytes())
    content[content.index(b"incompress")] ^= 1
    for damaged in (bytes(content), bytes(content[:-10]), b"", bytes(100)):
        file.write_bytes(damaged)
        with pytest.raises(DamagedError, match=rf"^{file} is damaged \(.+\): do this$"):
            readers(file)[number]()  # type: ignore[operator]


@pytest.mark.parametrize("number", range(3))
def test_other_columns_or_another_version_are_one_line(file: Path, number: int) -> None:
    table = pa.concat_tables(PARTS)
    for other in (
        table.drop_columns("size"),
        table.replace_schema_metadata({"ours": "2"}),
        table.rename_columns(["x", "y"]),
    ):
        pq.write_table(other, file)
        with pytest.raises(DamagedError, match=rf"^{file} was written by another version: do this$"):
            readers(file)[number]()  # type: ignore[operator]


def test_a_missing_file_is_damage_only_where_it_should_be_there(tmp_path: Path) -> None:
    read, read_rows, _ = readers(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        read()  # type: ignore[operator]
    with pytest.raises(DamagedError, match=r"none is missing: do this$"):
        read_rows()  # type: ignore[operator]


def test_a_group_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def groups() -> object:
        yield PARTS[0]
        raise KeyError("x")

    with pytest.raises(KeyError):
        tables.write_groups(groups(), SCHEMA, tmp_path / "a.parquet")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_numbers_take_no_more_than_they_are(tmp_path: Path) -> None:
    """A dictionary of logits holds each of them, and a place in it beside each."""
    numbers = np.random.default_rng(0).standard_normal((120, 400), np.float32)
    fields: list[pa.Field] = [pa.field("name", pa.string()), pa.field("logits", pa.list_(pa.float32()))]
    table = pa.table({"name": ["video"] * 120, "logits": numbers.tolist()}, pa.schema(fields))
    tables.write_groups([table], table.schema, tmp_path / "a.parquet", "zstd")
    assert 0.9 * numbers.nbytes < (tmp_path / "a.parquet").stat().st_size < 1.05 * numbers.nbytes
    assert tables.read(tmp_path / "a.parquet", table.schema, "") == table
