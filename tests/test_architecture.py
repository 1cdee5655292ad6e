"""The rules of the house: who may import whom, what an import costs, and how long things may get."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nonlocal_core.config.sections import CacheConfig
from nonlocal_core.data.manifest import file_probe
from nonlocal_core.data.records import decord_clips, encoding, frame_file
from nonlocal_core.data.records.encoding import FrameSettings

REPOSITORY = Path(__file__).parents[1]
ROOTS = ("nonlocal_core", "tasks", "flows")
MAX_ROOM, MAX_FUNCTION, MAX_PARAMETERS = 300, 40, 8  # lines, lines without the docstring, parameters
LONGER = {"nonlocal_core/training/loop.py:run": 80}
MORE = {"flows/predict.py:predict": 9}  # each is a parameter of the command
VAGUE = {"found", "made", "one", "given", "told", "known", "theirs", "kept", "asked", "said"}
"""names of variables that could hold anything"""

PLANTED = {  # what breaks each contract of pyproject.toml: the file, and the line that is added to it
    "Flows run tasks, tasks call the library": [
        ("tasks/train.py", "from flows import full"),
        ("nonlocal_core/training/loop.py", "def late():\n    from tasks import train"),
    ],
    "The rooms of the library stand in one line": [
        ("nonlocal_core/data/loader.py", "from nonlocal_core.models import i3d"),
        ("nonlocal_core/evaluation/views.py", "from nonlocal_core.training import loop"),
        ("nonlocal_core/registry/aliases.py", "import nonlocal_core.stages.register"),
        ("nonlocal_core/loose.py", "import os"),
    ],
    "The walk of a video goes one way": [
        ("nonlocal_core/data/video/decoding.py", "from ..loader import Batch"),
        ("nonlocal_core/data/layouts/lists.py", "from nonlocal_core.data.manifest import splits"),
    ],
    "No two files or rooms import each other": [
        ("nonlocal_core/evaluation/metrics.py", "from nonlocal_core.evaluation import figures"),
    ],
    "Stages never import each other": [
        ("nonlocal_core/stages/train.py", "def late():\n    from .index import plan"),
    ],
    "The library works without Prefect": [
        ("nonlocal_core/errors.py", "from prefect import task"),
        ("nonlocal_core/report/html.py", "import prefect.task_runners"),
    ],
    "MindSpore is loaded only where a network runs": [
        ("nonlocal_core/config/model.py", "if True:\n    import mindspore"),
        ("nonlocal_core/data/records/reader.py", "import mindspore as ms"),
    ],
    "Stages, tasks and flows reach a network only through its rooms": [
        ("flows/full.py", "import mindspore"),
        ("nonlocal_core/stages/train.py", "import mindspore.nn"),
    ],
    "Flows say the order and nothing else": [
        ("flows/full.py", "import numpy"),
        ("flows/prepare.py", "from nonlocal_core.stages import cache as work"),
        ("flows/full.py", "from nonlocal_core.models.i3d import I3D"),
    ],
    "Figures are computed without drawing": [
        ("nonlocal_core/evaluation/metrics.py", "import jinja2"),
    ],
}


def python_files(root: Path) -> list[Path]:
    return sorted(file for name in ROOTS for file in (root / name).rglob("*.py"))


def module_of(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def lint_imports(root: Path) -> dict[str, bool]:
    """The contracts of a tree, and which of them are kept."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
    result = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    lines = [line.rpartition(" ") for line in result.stdout.splitlines()]
    kept = {name: outcome == "KEPT" for name, _, outcome in lines if outcome in ("KEPT", "BROKEN")}
    assert (result.returncode == 0) == all(kept.values())
    return kept


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The code alone, to plant violations in."""
    for name in ROOTS:
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_import_breaks_its_contract(copied, contract):
    for name, line in PLANTED[contract]:
        file = copied / name
        before = file.read_text() if file.exists() else ""
        file.write_text(f"{before}\n{line}\n")
        assert not lint_imports(copied)[contract], f"{name}: {line}"
        file.write_text(before) if before else file.unlink()


def test_every_contract_is_kept_and_can_fail():
    kept = lint_imports(REPOSITORY)
    assert all(kept.values())
    assert list(kept) == list(PLANTED)


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
    assert loaded.isdisjoint({"mindspore", "prefect", "pandas", "pyarrow", "numpy", "scipy", "cv2", "decord"})


@pytest.mark.parametrize("room", ["nonlocal_core", "nonlocal_core/stages", "flows"])
def test_what_takes_seconds_to_import_waits_until_it_is_used(room):
    files = sorted(file for file in (REPOSITORY / room).glob("*.py") if file.stem != "import_weights")
    modules = [module_of(REPOSITORY, file) for file in files]
    assert len(modules) > 3
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert loaded.isdisjoint({"mindspore", "matplotlib", "scipy"})
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
            if len(named) > MORE.get(where, MAX_PARAMETERS):
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


def vague_names(root: Path) -> list[str]:
    return [
        f"{file.relative_to(root)}:{line} {name}"
        for file in python_files(root)
        for line, name in bound_names(file)
        if name in VAGUE
    ]


def bound_names(file: Path) -> Iterator[tuple[int, str]]:
    """The line and the name of each variable and parameter."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id


def test_variables_say_what_they_hold():
    fields = {  # of what is stored or sent, so that these names stay
        "nonlocal_core/data/records/encoding.py": "kept",
        "nonlocal_core/evaluation/long_range.py": "asked",
        "nonlocal_core/stages/index.py": "kept",
    }
    left = [text for text in vague_names(REPOSITORY) if fields.get(text.split(":")[0]) != text.split()[1]]
    assert left == []


def test_a_vague_name_is_found(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/train.py").write_text(
        "def told(given):\n    for one in given:\n        if (found := one.known):\n"
        "            yield found, lambda made: made\n"
    )
    assert vague_names(tmp_path) == [
        f"tasks/train.py:{line}" for line in ("1 given", "2 one", "3 found", "4 made")
    ]


def without_encoding(root: Path) -> list[str]:
    """The calls that read or write text in the encoding of whoever runs them."""
    return [
        f"{file.relative_to(root)}:{node.lineno} {ast.unparse(node)}"
        for file in python_files(root)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and is_without_encoding(node)
    ]


def is_without_encoding(call: ast.Call) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {word.arg: word.value for word in call.keywords}
    if "encoding" in named or name not in ("read_text", "write_text", "open", "fdopen"):
        return False
    if name in ("read_text", "write_text"):
        return len(call.args) <= (name == "write_text")
    if isinstance(owner, ast.Name) and (owner.id, name) in (("os", "open"), ("av", "open"), ("tarfile", "open")):
        return False
    is_path = owner is not None and name == "open"
    mode = named.get("mode") or next(iter(call.args[0 if is_path else 1 :]), None)
    modes = [node.value for node in ast.walk(mode) if isinstance(node, ast.Constant)] if mode else []
    return not any("b" in text for text in modes if isinstance(text, str))


def test_text_has_an_encoding_of_its_own():
    """With LC_ALL=zh_CN.GBK, what another process wrote as UTF-8 could not be read."""
    assert without_encoding(REPOSITORY) == []


def test_text_without_an_encoding_is_found(tmp_path):
    (tmp_path / "tasks").mkdir()
    wrong = [
        *("a.read_text()", "a.write_text('b')", "open(a)", "open(a, mode='r+')"),
        *("a.open()", "a.open('a')", "os.fdopen(a)"),
    ]
    right = [
        *("a.read_text('utf-8')", "a.write_text('b', encoding='utf-8')", "open(a, 'rb')", "os.fdopen(a, 'wb')"),
        *("a.open('ab' if b else 'wb')", "a.open(encoding='utf-8')", "os.open(a, b)", "av.open(a, 'w')"),
    ]
    (tmp_path / "tasks/train.py").write_text("\n".join(wrong + right))
    assert without_encoding(tmp_path) == [f"tasks/train.py:{line} {text}" for line, text in enumerate(wrong, 1)]


def test_what_reads_the_files_of_others_imports_no_settings():
    loaded = loaded_by("import nonlocal_core.models.published.files")
    assert "safetensors" in loaded
    assert loaded.isdisjoint({"mindspore", "pydantic", "pandas", "pyarrow"})


@pytest.mark.parametrize("settings", [CacheConfig(), CacheConfig(codec="none", jump="decord")])
def test_a_worker_imports_no_settings(settings):
    """It is started for a few videos; the job brings what was checked before."""
    frames = FrameSettings.of(settings)
    assert all(getattr(settings, name) == value for name, value in frames._asdict().items())
    jobs = [
        encoding.Job("a.mp4", "", True, frames, Path("b")),
        frame_file.Job(Path("a"), Path("b"), frames),
        decord_clips.Job(Path("a"), [1], frames, 1.0),
        file_probe.Job("a.mp4"),
    ]
    loaded = loaded_by(f"import pickle\nassert len(pickle.loads({pickle.dumps(jobs)!r})) == {len(jobs)}")
    assert "cv2" in loaded
    assert loaded.isdisjoint({"mindspore", "pydantic", "pandas", "pyarrow", "scipy"})


def test_a_clone_brings_no_large_file_and_no_package_of_others():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [REPOSITORY / name for name in names.stdout.split("\0") if name]
    assert len(files) > 300
    assert [file.name for file in files if file.exists() and file.stat().st_size > 3 << 20] == []
    assert [file.name for file in files if file.suffix == ".whl"] == []
