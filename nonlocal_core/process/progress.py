"""The progress of a stage, reported through logging.

For progress bars, every change is a record with a `progress` attribute in the logger `TICKS`, which only handlers
attached to it see.  For people, a line is logged every `LINE_EVERY_S` seconds and at the end.
"""

from __future__ import annotations

import logging
import os
import time

from nonlocal_core.escaping import one_line

TICKS = "nonlocal_core.ticks"

log = logging.getLogger(__name__)
ticks = logging.getLogger(TICKS)
ticks.setLevel(logging.DEBUG)
ticks.propagate = False

LINE_EVERY_S = 10.0
TICK_EVERY_S = 0.2


class Within:
    """The progress within one item whose end is not known: a line now and then, none of a short item."""

    def __init__(self, stage: str, unit: str) -> None:
        self.stage, self.unit, self.what = stage, unit, ""
        self.line_s = 0.0

    def __call__(self, what: str, done: int) -> None:
        """Say how much of an item is done; the time begins with the first call for it."""
        now_s = time.monotonic()
        if what != self.what:
            self.what, self.line_s = what, now_s
        if done and now_s - self.line_s >= LINE_EVERY_S:
            self.line_s = now_s
            log.info("%s, %s: %d %s so far", self.stage, what, done, self.unit)


class Progress:
    """A count towards a total, which is reported now and then."""

    def __init__(self, stage: str, what: str, total: int, unit: str, done: int = 0):
        self.stage, self.what, self.total, self.unit = stage, one_line(what), total, unit
        self.done = self.first = done
        self.started_s = self.line_s = time.monotonic()
        self.tick_s = 0.0

    def advance(self, count: int = 1, figures: str = "") -> None:
        """Add to the count; `figures` is a text to show beside it."""
        self.done += count
        now_s = time.monotonic()
        ended = self.done >= self.total
        if ended or now_s - self.tick_s >= TICK_EVERY_S:
            self.tick_s = now_s
            ticks.debug("%s", figures, extra={"progress": self._state(now_s, figures)})
        if ended or now_s - self.line_s >= LINE_EVERY_S:
            self.line_s = now_s
            state = self._state(now_s, figures)
            rate, eta = f"{state['per_s']:.1f} {self.unit}/s", f"{state['eta_s']:.0f} s left"
            parts = [f"{self.done} of {self.total} {self.unit}", rate, figures, "" if ended else eta]
            log.info("%s, %s: %s", self.stage, self.what, ", ".join(part for part in parts if part))

    def _state(self, now_s: float, figures: str) -> dict[str, str | int | float]:
        rate = (self.done - self.first) / max(now_s - self.started_s, 1e-6)
        return {
            "process": os.getpid(),
            "stage": self.stage,
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "per_s": rate,
            "eta_s": (self.total - self.done) / rate if rate else 0.0,
            "figures": figures,
        }
