"""The login of a server: made once, kept from others, and never empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.server import login


def test_a_login_is_made_once_and_only_its_user_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "login"
    made = login.kept_in(file)
    user, _, password = made.partition(":")
    assert user
    assert len(password) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert login.kept_in(file) == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert login.new() != made


def test_an_empty_file_lets_nobody_in(tmp_path: Path) -> None:
    """As a process leaves it that was killed before it had written."""
    file = tmp_path / "login"
    file.write_text("\n")
    made = login.kept_in(file)
    assert len(made) > 32
    assert login.kept_in(file) == made


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "login").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic link"):
        login.kept_in(tmp_path / "login")
