from __future__ import annotations

import logging
import time

import pytest

from nonlocal_core.process import progress
from nonlocal_core.process.progress import Progress


@pytest.fixture
def said(caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger(progress.TICKS), "handlers", [caplog.handler])

    def split():
        ticks = [record.progress for record in caplog.records if hasattr(record, "progress")]
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
        return ticks, lines

    return split


def test_the_end_is_said_once_to_bars_and_to_people(said):
    counted = Progress("cache", "shard 0", 3, "videos")
    for _ in range(3):
        counted.advance()
    ticks, lines = said()
    assert ticks[-1].items() >= {"stage": "cache", "what": "shard 0", "done": 3, "total": 3, "eta_s": 0.0}.items()
    assert len(lines) == 1
    assert lines[0].startswith("cache, shard 0: 3 of 3 videos, ")
    assert "left" not in lines[0]


def test_bars_move_a_few_times_a_second_at_most(said):
    counted = Progress("train", "2 epochs", 1001, "steps")
    started_s = time.monotonic()
    for _ in range(1000):
        counted.advance(1, "loss 1.0")
    took_s = time.monotonic() - started_s
    ticks, lines = said()
    assert 1 <= len(ticks) <= 1 + took_s / progress.TICK_EVERY_S
    assert lines == []


def test_a_line_comes_now_and_then_with_rate_figures_and_time_left(said, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    counted = Progress("train", "1 epochs", 4, "steps")
    time.sleep(0.1)
    counted.advance(1, "loss 2.5")
    _, lines = said()
    assert len(lines) == 1
    parts = lines[0].split(", ")
    assert parts[:2] == ["train", "1 epochs: 1 of 4 steps"]
    assert 0 < float(parts[2].removesuffix(" steps/s")) <= 10
    assert parts[3] == "loss 2.5"
    assert parts[4].endswith(" s left")


def test_what_an_earlier_process_did_counts_as_done_but_not_as_speed(said):
    counted = Progress("evaluate", "val", 100, "videos", done=90)
    time.sleep(0.1)
    counted.advance()
    ticks, _ = said()
    assert ticks[0]["done"] == 91
    assert 0 < ticks[0]["per_s"] <= 10
    assert ticks[0]["eta_s"] == pytest.approx(9 / ticks[0]["per_s"])


def test_changes_reach_only_those_who_watch_them(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "nonlocal_core")
    records: list[logging.LogRecord] = []
    everywhere = logging.Handler()
    monkeypatch.setattr(everywhere, "emit", records.append)
    monkeypatch.setattr(logging.getLogger(), "handlers", [everywhere])
    Progress("cache", "shard 0", 1, "videos").advance()
    assert [record.levelname for record in records] == ["INFO"]


def test_an_item_that_takes_long_says_how_much_of_it_is_done(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    within = progress.Within("predict", "frames decoded")
    for what, after_s, done in (
        ("a", 0, 1),
        ("a", 9, 90),
        ("b", 9, 1),
        ("b", 10, 100),
        ("b", 1, 110),
        ("b", 10, 250),
    ):
        now_s += after_s
        within(what, done)
    assert [record.getMessage() for record in caplog.records] == [
        "predict, b: 100 frames decoded so far",
        "predict, b: 250 frames decoded so far",
    ]
