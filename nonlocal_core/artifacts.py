"""References, keys, digests, and the workspace that artifacts live in.

    WORKSPACE/index/KEY/      a finished artifact: its files and, written last, artifact.json
    WORKSPACE/index/KEY.partial/  one that is being built, or was when its process died
    WORKSPACE/records/KEY/    decoded videos, which caches share (data/store.py)
    WORKSPACE/.locks/         who is building what; a lock dies with its process

A key says what was asked, a digest what came out.  Stages hand each other references, never files or tables.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from nonlocal_core import __version__, locks
from nonlocal_core.errors import DamagedError, WorkspaceError
from nonlocal_core.sections import CacheConfig

log = logging.getLogger(__name__)

ARTIFACT_FILE = "artifact.json"
R = TypeVar("R", bound="Reference")


class Frozen(BaseModel):
    """A frozen record that crosses a task boundary."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(Frozen):
    """A finished artifact: what was asked, what came out, where it lies."""

    stage: ClassVar[str]
    key: str
    digest: str
    path: str
    """folder, relative to the workspace"""


class Manifest(Reference):
    """One row a video: `ROWS`, and the label ids: `LABELS`."""

    stage: ClassVar[str] = "index"
    ROWS: ClassVar[str] = "manifest.parquet"
    LABELS: ClassVar[str] = "labels.json"
    videos_dir: str
    """where the videos lie today; in no key"""
    num_videos: int
    num_ok: int
    num_labels: int


class RecordCache(Reference):
    """A manifest's videos with label and split, and which of them can be decoded; the frames lie in a store."""

    stage: ClassVar[str] = "cache"
    VIDEOS: ClassVar[str] = "videos.parquet"
    LABELS: ClassVar[str] = "labels.json"
    records: str
    """folder of the store, relative to the workspace"""
    settings: CacheConfig
    """how the frames are kept"""
    videos_dir: str
    """where the videos lie today; in no key"""
    manifest_digest: str
    split_digests: dict[str, str]
    """content and labels of each split, however they are cached"""
    num_videos: int
    num_ok: int
    num_frames: int
    num_bytes: int
    """of its frames in the store"""


class Checkpoint(Reference):
    """Weights that describe themselves."""

    stage: ClassVar[str] = "train"
    file: str
    """file name inside the folder"""
    num_steps: int
    num_clips: int
    final_loss: float


class Evaluation(Reference):
    """Scores of every video of a split, and what they come to."""

    stage: ClassVar[str] = "evaluate"
    protocol: str
    """split, views and crop, as text"""
    split_digest: str
    top1: float
    top5: float
    num_scored: int
    num_videos: int
    coverage: str = ""
    """what every figure is of: 7 of 10 videos scored, 3 quarantined: 1 empty, 2 unreadable"""
    loss: float | None = None
    mean_class_accuracy: float | None = None


class Entry(Reference):
    """A row of the registry."""

    stage: ClassVar[str] = "register"
    version: str
    is_champion: bool
    reason: str


def digest_of(*parts: object) -> str:
    """A short hash of the parts, told apart: 16 hexadecimal digits."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()


def key_of(stage: str, version: int, sections: Sequence[BaseModel], inputs: Sequence[str]) -> str:
    """The key of what is asked: stage, its version, the settings that it reads, digests of its inputs."""
    settings = [json.dumps(section.model_dump(mode="json"), sort_keys=True) for section in sections]
    return digest_of(stage, version, *settings, "inputs", *inputs)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is either whole or not there, also when the process or the machine dies."""
    partial = path.with_name(f"{path.name}.tmp{os.getpid()}")
    with partial.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, would be there after a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, for people to read too."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False, default=str).encode() + b"\n")


class Workspace:
    """The folder that all artifacts live in.

    Raises: WorkspaceError if it is a URI, or the folder cannot be made or written.
    """

    def __init__(self, root: Path | str):
        if re.match(r"[a-z0-9+.-]+:/", str(root)):
            raise WorkspaceError(
                f"the workspace {root} must be a folder, because it is locked: copy it to and from object storage"
                " with python -m nonlocal_core.mirror"
            )
        self.root = Path(root).expanduser().absolute()
        try:
            (self.root / ".locks").mkdir(parents=True, exist_ok=True)
            probe = self.root / ".locks" / f"probe{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise WorkspaceError(
                f"the workspace {self.root} cannot be written ({error.strerror}): "
                "name another folder with workspace_dir=DIR"
            ) from None

    def path(self, reference: Reference) -> Path:
        """The folder of a finished artifact."""
        return self.root / reference.path

    def partial(self, kind: type[Reference], key: str) -> Path:
        """The folder in which an artifact is built; kept when its process dies."""
        folder = self.root / kind.stage / f"{key}.partial"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def find(self, kind: type[R], key: str) -> R | None:
        """The finished artifact of this key, if there is one.

        Raises: DamagedError if its artifact.json cannot be read.
        """
        file = self.root / kind.stage / key / ARTIFACT_FILE
        if not file.exists():
            return None
        try:
            artifact = json.loads(file.read_text())
            reference, files = kind.model_validate(artifact["reference"]), dict(artifact["files"])
        except (ValueError, KeyError, TypeError):
            raise DamagedError(f"{file} is damaged: delete {file.parent} and run again") from None
        if lost := sorted(files.items() - _sizes(file.parent).items()):
            log.warning("%s in %s is missing or has lost bytes: it is made again", lost[0][0], file.parent)
            return None
        return reference

    def build(
        self,
        kind: type[R],
        key: str,
        make: Callable[[Path], R],
        provenance: dict[str, Any],
        began: float | None = None,
    ) -> R:
        """The artifact of this key: the finished one, or the one that `make(folder)` builds now.

        `make` gets the partial folder with whatever an earlier, killed process left in it.
        Its time counts from `began` on (seconds since 1970), if work was done for it before.
        """
        if found := self.find(kind, key):
            log.info("%s %s is finished already", kind.stage, key)
            return found
        with self.locked(f"{kind.stage}-{key}"):
            if found := self.find(kind, key):
                return found
            began = time.time() if began is None else began
            folder = self.partial(kind, key)
            reference = make(folder)
            for unfinished in folder.glob("*.tmp*"):  # of a write that was cut
                unfinished.unlink()
            artifact = {
                "reference": reference.model_dump(mode="json"),
                "files": _sizes(folder),
                "provenance": {
                    **provenance,
                    **_circumstances(),
                    "seconds": round(time.time() - began, 1),
                },
            }
            write_json(folder / ARTIFACT_FILE, artifact)
            final = self.root / kind.stage / key
            if final.exists():  # without artifact.json or with files missing, so it does not exist
                shutil.rmtree(final)
            folder.rename(final)
            return reference

    def provenance(self, reference: Reference) -> dict[str, Any]:
        """What is known of how an artifact was made."""
        made: dict[str, Any] = json.loads((self.path(reference) / ARTIFACT_FILE).read_text())["provenance"]
        return made

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the named lock; waits, and says for whom, while another process holds it."""
        with locks.held(self.root / ".locks", name):
            yield


def _sizes(folder: Path) -> dict[str, int]:
    """The files of an artifact with their sizes, without the one that says what it is."""
    return {file.name: file.stat().st_size for file in folder.iterdir() if file.name != ARTIFACT_FILE}


def _circumstances() -> dict[str, object]:
    return {
        "created_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "version": __version__,
        "code": code_version(),
    }


def code_version() -> str:
    """The commit that the code was run from, with `-dirty` if it was changed; else the package's version."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude", "*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
