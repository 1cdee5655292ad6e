"""The campaigns: which tests belong to which kind, what they have tried, and the table of it in the docs.

A kind is a file tests/chaos/test_KIND.py, or what the marker says: `campaign("kill")`.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

KINDS = ("kill", "faults", "corrupt_input", "corrupt_state", "hostile", "fuzz", "soak", "long")
SAME, NAMED, WRONG = "same", "named", "wrong"
"""outcomes: the result is that of an undisturbed run; one line says what is wrong; anything else"""
PROPERTY = "campaign"
Row = list[Any]
"""what was tried, and how often it came to each outcome"""
SHOWN = 20
"""lines about what went wrong, of each test"""
HEAD = "| what | tried | the same | named | wrong |\n|---|---:|---:|---:|---:|"


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the campaigns."""
    group = parser.getgroup("campaign")
    group.addoption("--only", type=_kinds, help="run these kinds of the campaigns, with commas between them")
    group.addoption("--seed", type=int, help="seed of all random choices; the report names the one that is drawn")
    group.addoption("--table", type=Path, help="page of the docs whose table gets the results of whole kinds")


def _kinds(text: str) -> list[str]:
    if unknown := set(text.split(",")) - set(KINDS):
        raise argparse.ArgumentTypeError(f"no kind is called {min(unknown)}: there are {', '.join(KINDS)}")
    return text.split(",")


def configure(config: pytest.Config) -> None:
    """Draw a seed if none is given: once, also for the processes of xdist."""
    inherited = getattr(config, "workerinput", {}).get("chaos_seed")
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(1_000_000) if inherited is None else inherited
    config.pluginmanager.register(Campaign(config))


def kind_of(item: pytest.Item) -> str | None:
    """The kind of a campaign; None for a test of every change that is no campaign as well."""
    marker = item.get_closest_marker("campaign") or item.get_closest_marker("short_campaign")
    if marker is None:
        return None
    name = item.path.stem.removeprefix("test_")
    return marker.args[0] if marker.args else name if name in KINDS else "long"


class Tally:
    """What a campaign has tried, and how it ended; the seeded source of its random choices; its time."""

    def __init__(self, seed: int, name: str) -> None:
        self.drawn = random.Random(f"{seed} {name}")
        self.counts = Counter[tuple[str, str]]()
        self.wrong: list[str] = []
        self._started_s = time.monotonic()

    def add(self, what: str, outcome: str, note: str = "") -> None:
        """Count one try; the note says which one went wrong, and how."""
        self.counts[what, outcome] += 1
        if outcome == WRONG:
            self.wrong.append(f"{what}: {note}")

    def num_tried(self, what: str | None = None) -> int:
        """The number of tries, of one sort or all."""
        return sum(count for (sort, _), count in self.counts.items() if what in (None, sort))

    def seconds(self) -> float:
        """The time since the campaign began."""
        return time.monotonic() - self._started_s

    def check(self) -> None:
        """Fail if anything went wrong."""
        count = f"{len(self.wrong)} of {self.num_tried()} went wrong:"
        assert not self.wrong, "\n".join([count, *self.wrong[:SHOWN]])

    def rows(self) -> list[Row]:
        """The lines of the table."""
        sorts = dict.fromkeys(what for what, _ in self.counts)
        return [[what, *(self.counts[what, outcome] for outcome in (SAME, NAMED, WRONG))] for what in sorts]


class Campaign:
    """Pytest's hooks."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.rows: dict[str, list[Row]] = {}
        self.took_s = defaultdict[str, float](float)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node) -> None:
        """Give the seed to a process of xdist."""
        node.workerinput["chaos_seed"] = self.config.option.seed

    def pytest_report_header(self) -> str:
        return f"campaign: --seed {self.config.option.seed}"

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the other kinds, and run the kinds in their order."""
        only = self.config.option.only
        if only:
            self.config.hook.pytest_deselected(items=[item for item in items if kind_of(item) not in only])
            items[:] = [item for item in items if kind_of(item) in only]
        for item in items:
            if kind := kind_of(item):
                item.user_properties.append((PROPERTY, [kind, []]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what a campaign has counted, or whether a test of one has passed."""
        found = dict(report.user_properties).get(PROPERTY)
        if not isinstance(found, list):
            return
        kind, rows = found
        self.took_s[kind] += report.duration
        if report.when == "call" and not rows and not report.skipped:
            name = report.nodeid.rpartition("::test_")[2].replace("_", " ")
            rows = [[name, int(report.passed), 0, int(report.failed)]]
        if report.when == "call":
            self.rows.setdefault(kind, []).extend(rows)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write the table, unless the campaign was interrupted or only a part of it was run."""
        page: Path | None = self.config.option.table
        whole = not self.config.option.keyword and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if page and whole and not hasattr(self.config, "workerinput"):
            text = page.read_text()
            for kind, rows in self.rows.items():
                text = replaced(text, kind, self._table(kind, rows))
            page.write_text(text)

    def _table(self, kind: str, rows: list[Row]) -> str:
        lines = [
            f"| {what} | {same + named + wrong} | {same} | {named} | {wrong} |"
            for what, same, named, wrong in rows
        ]
        when = datetime.now(UTC).date().isoformat()
        how = f"{when}, {_machine()}, seed {self.config.option.seed}, {self.took_s[kind]:.0f} s"
        return "\n".join([HEAD, *lines, "", f"Run on {how}."])


def _machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.machine()}"


def replaced(page: str, kind: str, table: str) -> str:
    """A page with another table of one kind.

    Raises: ValueError if the page has no place for it.
    """
    before, begin, rest = page.partition(f"<!-- {kind} -->\n")
    _, end, after = rest.partition(f"<!-- end of {kind} -->")
    if not end:
        raise ValueError(f"the page has no place for the table of {kind}")
    return f"{before}{begin}{table}\n{end}{after}"
