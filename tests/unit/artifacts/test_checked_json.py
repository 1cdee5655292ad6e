from __future__ import annotations

import pytest

from nonlocal_core.artifacts import files


@pytest.mark.parametrize("change", [("0.5", "0.9"), ('"a"', '"b"'), ("true", "false"), ("[", "[[],")])
def test_a_json_file_that_was_edited_is_no_longer_what_was_written(tmp_path, change):
    path = tmp_path / "a.json"
    value = {"top1": 0.5, "a": "ü", "list": [1, 2], "path": tmp_path, "whole": True}
    files.write_checked_json(path, value)
    assert files.read_checked_json(path) == {**value, "path": str(tmp_path)}
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match="checksum"):
        files.read_checked_json(path)


def test_a_json_file_of_before_has_no_checksum(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": 1})
    assert files.read_checked_json(path) == {"a": 1}
    for text in ("[1]", "[" * 100_000, "{", ""):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"JSON|Expecting"):
            files.read_checked_json(path)
