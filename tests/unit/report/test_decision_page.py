from __future__ import annotations

from registered import add

from nonlocal_core.report import markdown


def test_the_page_has_the_decision_its_line_and_where_the_entry_comes_from(workspace):
    for name, top1 in (("a", 0.5), ("b", 0.6), ("c", 0.55)):
        add(workspace, name, top1)
    add(workspace, "d", 0.9, labels={"a|b": 0})
    lines = markdown.decision(workspace, "v0003").splitlines()
    assert lines[0] == "# v0003: not the champion, which is v0002"
    assert lines[2] == "not better: top-1 55.00% against 60.00% of v0002, 100 videos."
    assert lines[4] == "Rule: margin: a gain in top-1 above 0.00%."
    assert [line.split(" | ")[:4] for line in lines if line.startswith("| v")] == [
        ["| v0001", "50.00%", "100 of 100", "previous"],
        ["| v0002", "60.00%", "100 of 100", "champion"],
        ["| v0003", "55.00%", "100 of 100", ""],
    ]
    assert any(line.startswith("- **checkpoint**: key c; digest c") for line in lines)
    assert markdown.decision(workspace, "v0002").startswith("# v0002: the champion\n")
    assert r"labels added: a\|b" in markdown.decision(workspace, "v0004")
