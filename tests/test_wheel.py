"""What is installed from a wheel is what lies in the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "nonlocal_core")


def test_a_wheel_has_every_module_and_the_page(tmp_path):
    tree = tmp_path / "tree"  # a copy: building leaves files beside the code
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPOSITORY / name, tree)
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        tmp_path,
        tree,
    ]
    subprocess.run(words, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(PACKAGES)}
    modules = {str(file.relative_to(tree)) for name in PACKAGES for file in (tree / name).rglob("*.py")}
    others = {"report/report.html.j2", "pretrained/kinetics400.txt", "py.typed", "__init__.pyi"}
    assert installed == modules | {f"nonlocal_core/{name}" for name in others}
    (entry_points,) = (name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("entry_points.txt"))
    assert b"nonlocal-i3d = flows.commands:main" in zipfile.ZipFile(wheel).read(entry_points)
