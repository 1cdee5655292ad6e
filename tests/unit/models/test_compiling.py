from __future__ import annotations

import logging

from nonlocal_core.config.tree import resolve
from nonlocal_core.models.compiling import compiling, pays_for_steps, pays_for_views


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


def test_only_what_is_soon_computed_is_not_compiled():
    """A real network costs seconds a view, so that even a few are worth it; a tiny one only if there are many."""
    large, tiny, shape = resolve("nl_i3d_r50_8x8", {}), resolve("tiny", {}), (3, 8, 64, 64)
    assert pays_for_steps(large, "", 1)
    assert pays_for_views(large.model, (3, 8, 224, 224), 1)
    assert not pays_for_steps(tiny, "", 4)
    assert pays_for_steps(tiny, "", 12)
    assert [pays_for_views(tiny.model, shape, number) for number in (10, 100)] == [False, True]
    frozen = resolve("tiny", {"train.init": "w.safetensors", "train.freeze": "res4"})
    assert not pays_for_steps(frozen, "res4", 12), "most of it is not computed"
