"""The workspace: the folder of all artifacts, which are found if they are finished, and else built under a lock.

    WORKSPACE/index/KEY/      a finished artifact: its files and, written last, artifact.json
    WORKSPACE/index/KEY.partial/  one that is being built, or was when its process died
    WORKSPACE/records/KEY/    decoded videos, which caches share (data/records/store.py)
    WORKSPACE/.locks/         locks of what is being built; a lock ends with its process

A key is a hash of what was asked for, a digest one of what came out.  Stages hand each other
references, never files or tables.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from nonlocal_core import __version__
from nonlocal_core.artifacts import locks
from nonlocal_core.artifacts.files import (
    publish,
    read_checked_json,
    remove_unfinished,
    sha256_of,
    write_checked_json,
)
from nonlocal_core.artifacts.references import Reference
from nonlocal_core.errors import DamagedError, WorkspaceError, no_right

log = logging.getLogger(__name__)

ARTIFACT_FILE = "artifact.json"
KEYS = {"reference", "files", "digests", "provenance"}
LOCKS = ".locks"
R = TypeVar("R", bound="Reference")


class Workspace:
    """The folder that all artifacts live in.

    One that is only read is neither made nor changed.

    Raises: WorkspaceError if it is a URI, or the folder cannot be made or written.
    """

    def __init__(self, root: Path | str, only_read: bool = False):
        if re.match(r"[a-z0-9+.-]+:/", str(root)):
            raise WorkspaceError(
                f"the workspace {root} must be a folder, because it is locked: copy it to and from object storage"
                " with python -m nonlocal_core.mirror"
            )
        self.root, self.only_read = Path(root).expanduser().absolute(), only_read
        if not only_read:
            self._check_writable()

    def _check_writable(self) -> None:
        try:
            (self.root / LOCKS).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root / LOCKS).close()
        except OSError as error:
            cause = f"the workspace {self.root} cannot be written ({error.strerror}): "
            if isinstance(error, PermissionError):
                raise WorkspaceError(cause + no_right(self.root)) from None
            raise WorkspaceError(f"{cause}name another folder with workspace_dir=DIR") from None

    def path(self, reference: Reference) -> Path:
        """The folder of a finished artifact, which is used now: its time says so to whoever looks for old ones."""
        folder = self.root / reference.path
        if not self.only_read:
            with contextlib.suppress(OSError):  # it is gone, or somebody else's
                os.utime(folder)
        return folder

    def partial(self, kind: type[Reference], key: str) -> Path:
        """The folder in which an artifact is built; kept when its process dies."""
        folder = self.root / kind.stage / f"{key}.partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find(self, kind: type[R], key: str) -> R | None:
        """The finished artifact of this key, if there is one.

        Raises: DamagedError if its artifact.json cannot be read.
        """
        folder = self.root / kind.stage / key
        if not (folder / ARTIFACT_FILE).exists():
            return None
        reference, files = read_artifact(kind, folder)
        if (reference.key, reference.path) != (key, f"{kind.stage}/{key}"):
            raise DamagedError(f"{folder / ARTIFACT_FILE} is of another artifact: delete {folder} and run again")
        if lost := sorted(files.items() - _sizes(folder).items()):
            log.warning("%s in %s is missing or has lost bytes: it is made again", lost[0][0], folder)
            return None
        self.path(reference)
        return reference

    def build(
        self,
        kind: type[R],
        key: str,
        make: Callable[[Path], R],
        provenance: dict[str, Any],
        began: float | None = None,
    ) -> R:
        """The artifact of this key: the finished one if there is one, else the one that `make(folder)` builds.

        `make` gets the partial folder with whatever an earlier, killed process left in it.
        The recorded time counts from `began` (seconds since 1970), if work for it began before this call.
        """
        if finished := self.find(kind, key):
            log.info("%s %s is finished already", kind.stage, key)
            return finished
        with self.locked(f"{kind.stage}-{key}"):
            if finished := self.find(kind, key):
                return finished
            began = time.time() if began is None else began
            folder = self.partial(kind, key)
            reference = make(folder)
            remove_unfinished(folder)
            artifact = {
                "reference": reference.model_dump(mode="json"),
                "files": _sizes(folder),
                "digests": {name: sha256_of(folder / name) for name in sorted(_sizes(folder))},
                "provenance": {
                    **provenance,
                    **_circumstances(),
                    "seconds": round(time.time() - began, 1),
                },
            }
            write_checked_json(folder / ARTIFACT_FILE, artifact)
            final = self.root / kind.stage / key
            if final.exists():  # without artifact.json or with files missing, so it does not exist
                shutil.rmtree(final)
            publish(folder, final)
            return reference

    def provenance(self, reference: Reference) -> dict[str, Any]:
        """How an artifact was made, from its artifact.json."""
        provenance: dict[str, Any] = read_checked_json(self.path(reference) / ARTIFACT_FILE)["provenance"]
        return provenance

    def faults(self) -> list[str]:
        """The differences between finished artifacts and what was made, a line each.

        Records and the cache of probes are no artifacts: what reads them compares their checksums.
        """
        faults = []
        for file in sorted(self.root.glob(f"*/*[0-9a-f]/{ARTIFACT_FILE}")):
            try:
                names = _digests(file.parent)
            except (OSError, ValueError):
                faults.append(f"{file.relative_to(self.root)} cannot be read")
                continue
            for path in (file.parent / name for name in names):
                if not path.is_file():
                    faults.append(f"{path.relative_to(self.root)} is missing")
                elif sha256_of(path) != names[path.name]:
                    faults.append(f"{path.relative_to(self.root)} differs from its digest")
        return faults

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the named lock; while another process holds it, wait and log which one.

        Raises: WorkspaceError if the folder cannot be written.
        """
        if not os.access(self.root / LOCKS, os.W_OK):
            self._check_writable()
        with locks.hold(self.root / LOCKS, name):
            yield


def read_artifact(kind: type[R], folder: Path) -> tuple[R, dict[str, int]]:
    """The reference of the finished artifact in a folder, and the sizes of its files (bytes).

    Raises: DamagedError if its artifact.json cannot be read.
    """
    file = folder / ARTIFACT_FILE
    try:
        artifact = _read(folder)
        return kind.model_validate(artifact["reference"]), dict(artifact["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{file} is damaged: delete {folder} and run again") from None


def check_file(path: Path) -> None:
    """Check that a file of an artifact is as it was made.

    Raises: DamagedError if it is not; OSError or ValueError if it or artifact.json cannot be read.
    """
    if _digests(path.parent).get(path.name) not in (None, sha256_of(path)):
        raise DamagedError(f"{path} differs from its digest: delete {path.parent} and run again")


def _digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of an artifact's files; empty if an earlier version made it."""
    return dict(_read(folder).get("digests", {}))


def _read(folder: Path) -> dict[str, Any]:
    """The content of artifact.json.

    Raises: OSError or ValueError if it cannot be read, or has other keys, as with a damaged name of the checksum.
    """
    artifact = read_checked_json(folder / ARTIFACT_FILE)
    if artifact.keys() - KEYS:
        raise ValueError(f"{ARTIFACT_FILE} has other keys")
    return artifact


def _sizes(folder: Path) -> dict[str, int]:
    """The names and sizes of an artifact's files, without artifact.json."""
    return {file.name: file.stat().st_size for file in folder.iterdir() if file.name != ARTIFACT_FILE}


def _circumstances() -> dict[str, object]:
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "version": __version__,
        "code": code_version(),
    }


def code_version() -> str:
    """The commit that the code runs from, with `-dirty` if it was changed; without git the package's version."""
    folder = Path(__file__).parent
    try:
        command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
