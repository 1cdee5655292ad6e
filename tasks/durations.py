"""How long each stage of a run takes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """The seconds of each stage, in the order of their first use; a stage may be timed several times."""

    def __init__(self) -> None:
        self.started_s = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time that the context takes to the seconds of a stage."""
        started_s = time.monotonic()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.monotonic() - started_s, 1)

    def total(self) -> dict[str, float]:
        """The seconds of each stage, and of all since this clock was made."""
        return {**self.seconds, "total": round(time.monotonic() - self.started_s, 1)}


def text(seconds: dict[str, float]) -> str:
    """Seconds of stages as text, without the stages that had nothing to do."""
    return ", ".join(f"{stage} {duration:.1f} s" for stage, duration in seconds.items() if duration >= 0.05)
