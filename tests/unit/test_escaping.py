"""What others have named does nothing where it is shown, and what a person can read stays as it is."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from small import python

from nonlocal_core.command import show
from nonlocal_core.errors import ChildError, InputError, few
from nonlocal_core.escaping import LONGEST, in_markdown, one_line
from nonlocal_core.process.progress import TICKS, Progress
from nonlocal_core.report import markdown

READABLE = [
    "太极拳",
    "übt Ärger",
    "a b  c",
    "👨‍👩‍👧 ❤️ 🇫🇷",
    "می‌خواهم",
    "brush_hair",
    "C:\\videos",
    "x > y (z) – 50%",
    "שלום",
]
HOSTILE = {
    "\x1b[31mred": r"\u001b[31mred",
    "line\nbreak\r\ttab": r"line\nbreak\r\ttab",
    "abc\u202edcba\u2066x": r"abc\u202edcba\u2066x",
    "zero\u200bwidth\ufeff a\u200db": r"zero\u200bwidth\ufeff a\u200db",
    "\x7f\x9b31m\x85\u2028\u2029": r"\u007f\u009b31m\u0085\u2028\u2029",
    "\udcff.mp4": r"\udcff.mp4",
}

RENDERER = MarkdownIt("commonmark").enable("table").enable("strikethrough")


@pytest.mark.parametrize("text", READABLE)
def test_what_can_be_read_stays(text):
    assert one_line(text) == text


@pytest.mark.parametrize(("text", "shown"), HOSTILE.items())
def test_what_moves_a_cursor_or_cannot_be_seen_is_spelt_out(text, shown):
    assert one_line(text) == shown


def test_a_long_text_keeps_its_ends_and_says_its_length():
    line = one_line("A" * 600 + "B" * 600)
    assert line == "A" * 500 + " … (1200 characters) … " + "B" * 500
    assert one_line("A" * LONGEST) == "A" * LONGEST


TEXTS = st.text(st.sampled_from("ab1 \\`*_[]()<>!#|~&-+=.:/;\n\"'é太"), max_size=30)


@given(TEXTS)
@example("<img src=x onerror=alert(1)>")
@example("a|b")
@example("![x](http://e.x)")
@example("[x]: http://e.x")
@example("# x")
@example("&lt;b&gt; &#60;")
@example("- x")
@example("12. x")
@example("~~x~~ __x__ `x`")
def test_markdown_shows_the_text_as_it_is(text):
    """In a cell, in a list, and in a paragraph of its own, as an independent renderer of Markdown has it."""
    shown = escapeHtml(one_line(text).strip())
    cell = in_markdown(text)
    assert f"<td>{shown}</td>" in RENDERER.render(markdown.table(["label", "n"], [[text, 1]]))
    indented = one_line(text).startswith(" ")  # where four spaces would be code
    for line, page in ((f"0. {cell}", '<ol start="0">\n<li>{}</li>\n</ol>\n'), (cell, "<p>{}</p>\n")):
        if shown and not indented:
            assert RENDERER.render(line) == page.format(shown)


def test_addresses_are_no_links():
    assert in_markdown("http://e.x www.e.x") == "http\\://e.x www\\.e.x"


@pytest.mark.parametrize("text", READABLE[:6])
def test_ordinary_names_have_no_backslashes_in_markdown(text):
    assert in_markdown(text) == text


def test_errors_are_one_line():
    assert str(InputError("no \x1b[31m\nfile")) == r"no \u001b[31m\nfile"
    assert str(ChildError("it died:\n\x1b[31mred")) == "it died:\n\\u001b[31mred", "its last words are lines"
    assert few(["a\nb", "c" * 300], 1) == r"a\nb and 1 more"


def test_log_lines_are_lines(caplog):
    log = logging.getLogger("nonlocal_core.some.module")
    with caplog.at_level(logging.INFO):
        log.warning("%s: %d of %.1f, %s", "a\n\x1b[31mb", np.int64(3), 0.5, InputError("x\ny"))
        logging.getLogger("somebody.else").warning("%s", "a\nb")
    assert [record.getMessage() for record in caplog.records] == [r"a\n\u001b[31mb: 3 of 0.5, x\ny", "a\nb"]


def test_log_lines_without_anybody_who_shows_them():
    """Python's last resort prints a warning as it is."""
    code = "import logging, nonlocal_core.data.layouts.detection as d; d.log.warning('%s is odd', 'a\\x1b[31m')"
    with python(code) as process:
        assert process.communicate()[1] == "a\\u001b[31m is odd\n"


def test_a_progress_bar_is_one_line(caplog):
    ticks = logging.getLogger(TICKS)
    ticks.addHandler(caplog.handler)
    try:
        Progress("predict", "a\n\x1b[31m", 1, "videos").advance()
    finally:
        ticks.removeHandler(caplog.handler)
    assert [record.progress["what"] for record in caplog.records if hasattr(record, "progress")] == [
        r"a\n\u001b[31m"
    ]


def test_what_commands_print_is_lines(capsys):
    assert show(["a\x1b[31m", "b\nc"]) == 0
    assert capsys.readouterr().out == "a\\u001b[31m\nb\\nc\n"


def test_work_of_one_name_in_two_processes_has_two_bars():
    code = """
import logging
from rich.console import Console
from flows.session import Watch
watch = Watch()
watch.bars.live.console = watch.console = Console(force_terminal=True, stderr=True)
for process, done in ((1, 3), (2, 5), (1, 9)):
    record = logging.makeLogRecord({})
    record.progress = {"process": process, "stage": "train", "what": "2 epochs", "done": done}
    record.progress |= {"total": 9, "unit": "steps", "figures": ""}
    watch.emit(record)
bars = [bar.completed for bar in watch.bars.tasks]
watch.close()  # until then what is printed goes above the bars
print(bars)
"""
    with python(code) as process:
        assert process.communicate()[0] == "[5]\n"


def test_the_commands_of_the_flows_print_lines():
    code = (
        "import logging\nfrom flows.session import Watch\nlog = logging.getLogger('nonlocal_core.x')\n"
        "log.addHandler(Watch())\nlog.warning('%s [red]', 'a\\x1b[31m\\nb')"
    )
    with python(code) as process:
        assert process.communicate()[1] == "a\\u001b[31m\\nb [red]\n"
