from __future__ import annotations

import logging

from nonlocal_core.models.compiling import compiling


def said(caplog, *identity):
    caplog.clear()
    with compiling("the network", *identity):
        pass
    return [record.getMessage() for record in caplog.records]


def test_the_second_time_says_how_long_the_first_one_took(caplog, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    caplog.set_level(logging.INFO)
    assert said(caplog, 1, (2, 3)) == ["compiling the network"]
    assert said(caplog, 1, (2, 3)) == ["compiling the network: 0 s last time"]
    assert said(caplog, 1, (2, 4)) == ["compiling the network"]


def test_a_home_that_cannot_be_written_or_a_damaged_file_costs_only_the_figure(caplog, monkeypatch, tmp_path):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no")
    assert said(caplog) == ["compiling the network"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said(caplog)
    for content in ("[1]", "{", '{"a": "b"}'):
        next(tmp_path.rglob("compile_seconds.json")).write_text(content)
        assert said(caplog) == ["compiling the network"]
