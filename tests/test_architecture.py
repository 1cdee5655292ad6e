"""The rules of the house: who may import whom, what an import costs, and how long things may get."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOTS = ("nonlocal_core", "tasks", "flows")
MAX_ROOM, MAX_FUNCTION, MAX_PARAMETERS = 300, 40, 8  # lines, lines without the docstring, parameters
LONGER = {"nonlocal_core/training/loop.py:run": 80}

PURE_PACKAGES = ("numpy", "pandas", "pyarrow", "cv2", "av", "decord", "pydantic", "filelock")
NETWORK = (
    "nonlocal_core.models",
    "nonlocal_core.training",
    "nonlocal_core.data.loader",
    "nonlocal_core.evaluation.inference",
    "nonlocal_core.import_weights",
    "nonlocal_core.given",
    "nonlocal_core.describe",
    "nonlocal_core.doctor",
    "nonlocal_core.attention",
    "nonlocal_core.evaluation.attention_rows",
    "nonlocal_core.evaluation.trained",
    "nonlocal_core.registry.export",
    "nonlocal_core.registry.onnx_graph",
    "nonlocal_core.registry.__main__",
)
DRAWING = tuple(
    f"nonlocal_core.evaluation.{room}" for room in ("arrows", "html", "lettering", "movies", "timeline")
)


class Layer(NamedTuple):
    """Modules, what they may import beside the standard library, and what not of that."""

    modules: tuple[str, ...]
    may: tuple[str, ...]
    never: tuple[str, ...] = ()


LAYERS = (  # the first one that has the module counts
    Layer(
        ("flows",),
        (
            *("flows", "tasks", "prefect", "httpx", "rich", "nonlocal_core.config", "nonlocal_core.presets"),
            *("nonlocal_core.artifacts", "nonlocal_core.errors", "nonlocal_core.progress"),
            *("nonlocal_core.predictions", "nonlocal_core.ablations"),
        ),
    ),
    Layer(("tasks",), ("tasks", "prefect", "prefect_dask", "prefect_ray", "nonlocal_core")),
    Layer(("nonlocal_core.stages",), ("nonlocal_core", *PURE_PACKAGES), ("nonlocal_core.stages",)),
    Layer(
        NETWORK,
        (
            *("nonlocal_core", "mindspore", "numpy", "pydantic", "safetensors", "yaml", "matplotlib", "cv2"),
            *("onnx", "onnxruntime"),
        ),
        ("nonlocal_core.stages",),
    ),
    Layer(
        DRAWING,
        ("nonlocal_core", *PURE_PACKAGES, "matplotlib", "PIL", "jinja2", "markupsafe"),
        ("nonlocal_core.stages", *NETWORK),
    ),
    Layer(
        ("nonlocal_core.html_report", "nonlocal_core.predicting"),
        ("nonlocal_core", *PURE_PACKAGES),
        ("nonlocal_core.stages",),
    ),
    Layer(("nonlocal_core.registry.tracker",), ("nonlocal_core", "mlflow"), ("nonlocal_core.stages", *NETWORK)),
    Layer(("nonlocal_core",), ("nonlocal_core", *PURE_PACKAGES), ("nonlocal_core.stages", *NETWORK)),
)


class Import(NamedTuple):
    file: str
    line: int
    module: str
    """who imports"""
    target: str
    """what: a module of the tree, or the top of another package"""


def python_files(root: Path) -> list[Path]:
    return sorted(file for name in ROOTS for file in (root / name).rglob("*.py"))


def module_of(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(root: Path) -> Iterator[Import]:
    modules = {module_of(root, file) for file in python_files(root)}
    for file in python_files(root):
        module = module_of(root, file)
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(file.read_text())):
            targets: list[str] = []
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    below = f"{base}.{alias.name}"
                    targets.append(below if below in modules else base)
            for target in targets:
                yield Import(str(file.relative_to(root)), node.lineno, module, target)


def is_below(module: str, tops: tuple[str, ...]) -> bool:
    return any(module == top or module.startswith(f"{top}.") for top in tops)


def violations(root: Path) -> list[str]:
    found = []
    for file, line, module, target in imports(root):
        if target.partition(".")[0] in sys.stdlib_module_names:
            continue
        layer = next(layer for layer in LAYERS if is_below(module, layer.modules))
        if not is_below(target, layer.may) or is_below(target, layer.never):
            found.append(f"{file}:{line}: {module} must not import {target}")
    return found


def test_nobody_imports_what_the_design_forbids():
    assert violations(REPOSITORY) == []
    assert len(list(imports(REPOSITORY))) > 200, "the walk finds nothing to check"


PLANTED = [
    ("flows/full.py", "import mindspore"),
    ("flows/full.py", "from nonlocal_core.models.i3d import I3D"),
    ("flows/full.py", "from nonlocal_core import data"),
    ("flows/full.py", "from nonlocal_core.stages import train"),
    ("flows/full.py", "import numpy"),
    ("tasks/train.py", "import flows"),
    ("tasks/train.py", "from flows import full"),
    ("tasks/train.py", "def late():\n    import mindspore.nn"),
    ("nonlocal_core/stages/train.py", "from nonlocal_core.stages import index"),
    ("nonlocal_core/stages/train.py", "from nonlocal_core.stages.index import plan"),
    ("nonlocal_core/stages/train.py", "from . import index"),
    ("nonlocal_core/stages/train.py", "from .index import plan"),
    ("nonlocal_core/stages/train.py", "def late():\n    from nonlocal_core.stages import index"),
    ("nonlocal_core/stages/train.py", "from prefect import task"),
    ("nonlocal_core/stages/train.py", "import mindspore"),
    ("nonlocal_core/data/video.py", "import mindspore as ms"),
    ("nonlocal_core/data/video.py", "from nonlocal_core.data import loader"),
    ("nonlocal_core/data/video.py", "from .loader import normalise"),
    ("nonlocal_core/data/video.py", "import prefect.task_runners"),
    ("nonlocal_core/evaluation/metrics.py", "import mindspore"),
    ("nonlocal_core/evaluation/views.py", "from nonlocal_core.training import loop"),
    ("nonlocal_core/evaluation/report.py", "import prefect"),
    ("nonlocal_core/evaluation/html.py", "import mindspore"),
    ("nonlocal_core/evaluation/metrics.py", "import jinja2"),
    ("nonlocal_core/config.py", "if True:\n    import mindspore"),
    ("nonlocal_core/artifacts.py", "from prefect import flow"),
    ("nonlocal_core/errors.py", "import torch"),
    ("nonlocal_core/registry/aliases.py", "import nonlocal_core.stages.register"),
    ("nonlocal_core/models/i3d.py", "import prefect"),
    ("nonlocal_core/models/i3d.py", "from nonlocal_core.stages import train"),
    ("nonlocal_core/training/loop.py", "from tasks import train"),
    ("nonlocal_core/data/loader.py", "from prefect import task"),
    ("nonlocal_core/data/loader.py", "from ..stages import train"),
    ("nonlocal_core/evaluation/inference.py", "import flows.full"),
]


@pytest.mark.parametrize(("file", "line"), PLANTED)
def test_a_planted_violation_is_found(tmp_path, file, line):
    for path, _ in PLANTED:
        for made in (tmp_path / path, tmp_path / path.rpartition("/")[0] / "__init__.py"):
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()
    (tmp_path / "nonlocal_core/stages/index.py").write_text("import numpy\nfrom nonlocal_core.data import video\n")
    assert violations(tmp_path) == []
    (tmp_path / file).write_text(f"from __future__ import annotations\n{line}\n")
    assert len(violations(tmp_path)) == 1
    assert violations(tmp_path)[0].startswith(f"{file}:")


def loaded_by(statement: str) -> set[str]:
    """The top packages that a new process has after a statement."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {module.partition(".")[0] for module in result.stdout.splitlines()[-1].split()}


def test_the_settings_cost_nothing_to_import():
    loaded = loaded_by("import nonlocal_core.config")
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"mindspore", "prefect", "pandas", "pyarrow", "numpy", "cv2", "decord"})


@pytest.mark.parametrize("room", ["nonlocal_core/stages", "flows"])
def test_mindspore_waits_until_a_network_runs(room):
    modules = [module_of(REPOSITORY, file) for file in sorted((REPOSITORY / room).glob("*.py"))]
    assert len(modules) > 3
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert "mindspore" not in loaded
    assert ("prefect" in loaded) == (room == "flows")


def too_large(root: Path) -> list[str]:
    found = []
    for file in python_files(root):
        name, text = str(file.relative_to(root)), file.read_text()
        if (num_lines := len(text.splitlines())) > MAX_ROOM:
            found.append(f"{name} has {num_lines} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            where = f"{name}:{node.name}"
            first = node.body[0] if ast.get_docstring(node) is not None else None
            docstring = (first.end_lineno or 0) - first.lineno + 1 if first else 0
            if (num_lines := (node.end_lineno or 0) - node.lineno + 1 - docstring) > LONGER.get(
                where, MAX_FUNCTION
            ):
                found.append(f"{where} has {num_lines} lines")
            args = node.args
            named = [arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs) if arg.arg != "self"]
            if len(named) > MAX_PARAMETERS:
                found.append(f"{where} has {len(named)} parameters")
        if file.stem in ("utils", "util", "helpers", "common", "misc"):
            found.append(f"{name}: the name says nothing")
    return found


def test_rooms_and_functions_stay_small():
    assert too_large(REPOSITORY) == []


def test_what_is_too_large_is_found(tmp_path):
    (tmp_path / "tasks").mkdir()
    body = "    pass\n"
    (tmp_path / "tasks/utils.py").write_text("\n" * 301)
    (tmp_path / "tasks/train.py").write_text(f"def ends():\n{body * 39}\ndef long():\n    'd'\n{body * 40}")
    (tmp_path / "tasks/wide.py").write_text(
        "class A:\n    def eight(self, a, b, c, d, *, e, f, g, h): pass\n"
        f"def nine(a, b, c, d, *, e, f, g, h, i):\n{body}"
    )
    assert too_large(tmp_path) == [
        "tasks/train.py:long has 41 lines",
        "tasks/utils.py has 301 lines",
        "tasks/utils.py: the name says nothing",
        "tasks/wide.py:nine has 9 parameters",
    ]
