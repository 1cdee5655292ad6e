"""Write the pages of docs/reference that are made from the program: `python docs/generate.py`.

tests/test_docs.py says when a page is stale.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nonlocal_core.config import Config

REFERENCE = Path(__file__).parent / "reference"


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


def _code(value: object) -> str:
    """A default as a command line would give it."""
    text = value if isinstance(value, str) else json.dumps(value)
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


if __name__ == "__main__":
    (REFERENCE / "settings.md").write_text(settings_page(), encoding="utf-8")
