"""Every command by one name, from any folder: nonlocal-i3d NAME …

nonlocal-i3d full probe videos_dir=DIR   is   python flows/full.py probe videos_dir=DIR
nonlocal-i3d doctor --step               is   python -m nonlocal_core.doctor --step
"""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

from nonlocal_core.escaping import one_line

FLOWS = Path(__file__).parent
LIBRARY = FLOWS.parent / "nonlocal_core"
IS_COMMAND = '\nif __name__ == "__main__":'


def files() -> Iterator[tuple[str, str, Path]]:
    """The name, the module and the file of every command."""
    for folder, package in ((FLOWS, "flows"), (LIBRARY, "nonlocal_core")):
        for file in sorted(folder.glob("[a-z]*.py")):
            if file.name != "commands.py" and IS_COMMAND in file.read_text(encoding="utf-8"):
                yield file.stem, f"{package}.{file.stem}", file
    for name in ("registry", "pretrained"):
        yield name, f"nonlocal_core.{name}", LIBRARY / name / "__main__.py"
    yield "serve", "flows.server.serve", FLOWS / "server" / "serve.py"


def listed() -> str:
    """All commands with what each does."""
    first = {
        name: (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
        for name, _, file in files()
    }
    wide = max(map(len, first))
    lines = [f"  {name:<{wide}}  {text}" for name, text in first.items()]
    return "\n".join(["usage: nonlocal-i3d NAME …", "", *lines, "", "nonlocal-i3d NAME --help says all of one"])


def main() -> None:
    """Run the command that the first word names; without one, list all."""
    modules = {name: module for name, module, _ in files()}
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "help"):
        print(listed())
    elif name in modules:
        sys.argv = [f"nonlocal-i3d {name}", *sys.argv[2:]]
        runpy.run_module(modules[name], run_name="__main__", alter_sys=True)
    else:
        near = difflib.get_close_matches(name, modules, n=1)
        hint = f"did you mean {near[0]}?" if near else "nonlocal-i3d --help lists all"
        print(f"error: there is no command {one_line(name)}: {hint}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
