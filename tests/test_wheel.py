"""What is installed from a wheel is what lies in the tree, and runs as a user who may write nothing of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows import commands

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "nonlocal_core")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of what is packed, because building leaves files beside the code."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, tree)
    return tree


@pytest.fixture(scope="module")
def wheel(tree):
    """The file of the wheel."""
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tree.parent,
        tree,
    ]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,) = tree.parent.glob("*.whl")
    return wheel


def test_a_wheel_has_every_module_and_the_page(tree, wheel):
    installed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(PACKAGES)}
    modules = {str(file.relative_to(tree)) for name in PACKAGES for file in (tree / name).rglob("*.py")}
    data = {"report/report.html.j2", "pretrained/kinetics400.txt", "config/long_range.json"}
    others = data | {"py.typed", "__init__.pyi"}
    assert installed == modules | {f"nonlocal_core/{name}" for name in others}
    (entry_points,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("entry_points.txt"))
    assert b"nonlocal-i3d = flows.commands:main" in zipfile.ZipFile(wheel).read(entry_points)


@pytest.fixture(scope="module")
def program(wheel):
    """The command of the wheel, in an environment that has what it depends on and nothing of this checkout."""
    folder = wheel.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    words = ["-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    # A path in a .pth file is searched, but the .pth files that lie there, the checkout's too, are not read.
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return folder / "bin/nonlocal-i3d"


ANOTHER = 65534
READS = "caps=+dac_read_search"  # the folder of the tests is root's own
USER = (f"--reuid={ANOTHER}", f"--regid={ANOTHER}", "--clear-groups", f"--inh-{READS}", f"--ambient-{READS}")
AS_ANOTHER = ("setpriv", *USER)


def can_be_another():
    """Whether this is root, with the right to read all as another user, which some containers do not give."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        return False
    return subprocess.run([*AS_ANOTHER, "true"], capture_output=True).returncode == 0


IS_ANOTHER = can_be_another()


@pytest.fixture
def folder():
    """An empty folder, and a home beside it, of the user that runs the program."""
    with tempfile.TemporaryDirectory() as top:  # where that user may look, which is not so in `tmp_path`
        os.chmod(top, 0o755)
        for name in ("empty", "home"):
            Path(top, name).mkdir()
            if IS_ANOTHER:
                os.chown(Path(top, name), ANOTHER, ANOTHER)
        yield Path(top, "empty")


def asked(program, folder, *words, **variables):
    """What the command prints in a folder, as another user if it may be, with an empty home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PREFECT", "XDG"))}
    environment = {**kept, "HOME": str(folder.with_name("home")), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    command = [*AS_ANOTHER, program, *words] if IS_ANOTHER else [program, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_every_command_helps_from_an_empty_folder(program, folder):
    names = [name for name, _, _ in commands.files()]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda name: asked(program, folder, name, "--help"), names))
    for name, done in zip(names, found, strict=True):
        assert (done.returncode, done.stderr) == (0, ""), name
        assert done.stdout.lower().startswith("usage") or f"nonlocal-i3d {name}" in done.stdout, name
    assert list(folder.iterdir()) == []


def test_it_is_the_wheel_that_runs(program, folder):
    """And it works from there: a description of a network, and a mistyped key in one line."""
    code = "import flows, nonlocal_core, tasks; print(flows.__file__, nonlocal_core.__file__, tasks.__file__)"
    said = asked(program.with_name("python"), folder, "-c", code).stdout
    assert said.count(str(program.parents[1])) == 3
    assert "head   7" in asked(program, folder, "describe", "tiny", "--classes", "7").stdout
    wrong = asked(program, folder, "full", "tiny", "trian.epochs=3")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: there is no setting 'trian.epochs'")


@pytest.mark.campaign("faults")
def test_it_trains_for_a_user_who_may_write_nothing_else(program, folder):
    done = asked(program, folder, "full", "tiny", "train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert "serve start 4200" in done.stdout  # Prefect's own server has ended with it
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.match("workspace/registry/v0001/*") for path in files)
    if IS_ANOTHER:
        assert {path.stat().st_uid for path in files} == {ANOTHER}


@pytest.mark.campaign("faults")
@pytest.mark.skipif(not IS_ANOTHER, reason="nothing is out of this user's reach")
def test_where_it_may_not_write_it_says_so_in_one_line(program, folder):
    others = program.parent
    wrong = asked(program, folder, "full", "tiny", f"workspace_dir={others}/runs")
    assert (wrong.returncode, wrong.stderr.count("error:")) == (4, 1), wrong.stderr
    assert f"{others}/runs" in wrong.stderr
    wrong = asked(program, folder, "full", "tiny", HOME=str(others))
    assert (wrong.returncode, wrong.stderr.count("error:")) == (2, 1), wrong.stderr
    assert "PREFECT_HOME" in wrong.stderr
