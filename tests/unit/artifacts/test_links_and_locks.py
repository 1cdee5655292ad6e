from __future__ import annotations

import os

import pytest

from nonlocal_core.artifacts import locks
from nonlocal_core.artifacts.files import link_or_copy


@pytest.mark.parametrize("has_links", [True, False])
def test_a_second_name_or_a_copy(tmp_path, monkeypatch, has_links):
    def refused(*_: object) -> None:
        raise OSError("no links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refused)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"weights")
    target.write_bytes(b"damaged")
    link_or_copy(source, target)
    assert target.read_bytes() == b"weights"
    assert target.samefile(source) == has_links
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "gone", target)
    assert target.read_bytes() == b"weights"


def test_a_lock_that_is_free_is_held_and_one_that_is_not_is_left(tmp_path):
    with locks.hold(tmp_path, "a"):
        (held_s,) = locks.held_since(tmp_path)
        assert held_s == (tmp_path / "a.lock").stat().st_mtime
        with locks.hold_if_free(tmp_path, "a") as is_free:
            assert not is_free
    assert locks.held_since(tmp_path) == []
    with locks.hold_if_free(tmp_path, "a") as is_free:
        assert is_free
        (tmp_path / "a.lock").unlink()
    with locks.hold(tmp_path, "a"):
        assert (tmp_path / "a.lock").exists()
