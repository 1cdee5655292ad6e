"""Write what docs/reference has from the program, whole pages or parts: `python docs/generate.py`.

tests/test_docs.py says when a page is stale.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nonlocal_core.config import Config, key_value
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.report import long_range_page

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference"
REST = "<!-- python docs/generate.py writes the rest -->\n"
LONG_RANGE = DOCS / "evidence" / "long_range.json"
BEGIN, END = "<!-- python docs/generate.py writes this table -->\n", "<!-- end of the table -->\n"


def settings_page() -> str:
    """The page of all settings: a table for each section of the tree, a row for each leaf."""
    lines = [
        "# All settings",
        "",
        "This page is made from the program: `python docs/generate.py` writes it.",
        "",
        "A setting is one word of a command line, `train.epochs=2`. A preset changes some of the defaults below.",
        "A word on the command line changes what the preset says. `runtime` holds what changes no result.",
    ]
    for section, field in Config.model_fields.items():
        model = type(field.default)
        properties = model.model_json_schema()["properties"]
        lines += ["", f"## {section}", "", (model.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| setting | default | values | what it is |", "| --- | --- | --- | --- |"]
        for name, leaf in model.model_fields.items():
            what = (leaf.description or "").replace("|", "\\|").replace("\n", " ")
            lines.append(f"| `{section}.{name}` | {_code(leaf.default)} | {_values(properties[name])} | {what} |")
    return "\n".join(lines) + "\n"


def networks_page() -> str:
    """The page of networks, with its table of presets made anew."""
    before, _, rest = (REFERENCE / "networks.md").read_text(encoding="utf-8").partition(BEGIN)
    lines = ["| preset | network | top-1 / top-5 |", "| --- | --- | --- |"]
    lines += [f"| `{one.name}` | {one.title} | {one.expected} |" for one in PRESETS.values()]
    return "\n".join([before + BEGIN, *lines, "", END + rest.partition(END)[2]])


def long_range() -> str:
    """The page of the long-range set, with the tables of its run; without them before there was one."""
    before, _, _ = (DOCS / "evidence" / "long_range.md").read_text(encoding="utf-8").partition(REST)
    if not LONG_RANGE.exists():
        return before + REST
    shown = "![the frames of a video, and what each network has learned](../images/long_range.png)"
    return f"{before}{REST}\n{shown}\n\n{long_range_page.page(long_range_page.of_file(LONG_RANGE))}"


def _code(value: object) -> str:
    """A default as a command line would give it."""
    text = key_value.text_of(value)
    return f"`{text}`" if text else "empty"


def _values(schema: dict[str, Any]) -> str:
    """What a setting may be, from its JSON schema."""
    if "enum" in schema:
        return ", ".join(_code(value) for value in schema["enum"])
    if schema["type"] == "array":
        items = schema.get("prefixItems", [schema.get("items", {})])
        count = f"{len(items)} × " if "prefixItems" in schema else "list of "
        return count + _values(items[0])
    bounds = [
        f"{sign} {schema[name]:g}"
        for name, sign in (
            ("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"),
        )
        if name in schema
    ]  # fmt: skip
    kinds = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    return " ".join([kinds[schema["type"]], ", ".join(bounds)]).strip()


PAGES = {"settings.md": settings_page, "networks.md": networks_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    (DOCS / "evidence" / "long_range.md").write_text(long_range(), encoding="utf-8")
    if LONG_RANGE.exists():
        drawn = long_range_page.picture(long_range_page.of_file(LONG_RANGE))
        (DOCS / "images" / "long_range.png").write_bytes(drawn)
