"""Copy what is finished in a workspace to object storage, or from there into a workspace.

python -m nonlocal_core.mirror s3://BUCKET/FOLDER workspace_dir=DIR          copy what is here
python -m nonlocal_core.mirror s3://BUCKET/FOLDER workspace_dir=DIR --pull   copy what is there

Nothing is copied twice and nothing is deleted.  The file that makes something count is copied last, so a transfer
that breaks off leaves nothing half done: run it again.  A registry is copied only over one whose decisions it has,
and a frozen split only over one whose videos it has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import posixpath
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pyarrow import fs

from nonlocal_core import command, registry
from nonlocal_core.artifacts.files import checked_json, remove_unfinished, replacing
from nonlocal_core.artifacts.workspace import ARTIFACT_FILE, Workspace
from nonlocal_core.data.layouts import locations, remote
from nonlocal_core.data.manifest import frozen_split
from nonlocal_core.data.records import kept_features, store
from nonlocal_core.errors import DamagedError, InputError, RemoteError
from nonlocal_core.registry.state_file import Decision, Move

TABLES = ("crossval", "ablations", "long_range")
STAGES = ("index", "cache", "features", "train", "evaluate", *TABLES)
KINDS = ("records", "activations", "known", *STAGES, "registry")
"""in the order of copying: nothing is copied before what it refers to"""

# What makes something count: its kind, and the lock of whoever builds it.
_COUNTS = (
    (re.compile(rf"{store.FOLDER}/(\w+)/shard-(\w+)\.parquet"), "records", r"records-\1-\2"),
    (re.compile(rf"{kept_features.FOLDER}/(\w+)/shard-(\w+)\.parquet"), "activations", r"activations-\1"),
    (re.compile(r"index/known/part-\w+\.parquet"), "known", "index-known"),
    (re.compile(rf"({'|'.join(STAGES)})/(\w+)/{ARTIFACT_FILE}"), r"\1", r"\1-\2"),
    (re.compile(rf"{registry.FOLDER}/(v\d+)/{registry.ENTRY_FILE}"), "registry", registry.FOLDER),
)
_SPLIT = re.compile(rf"{frozen_split.FOLDER}/([a-z0-9-]+)\.parquet")
_REGISTRY = f"{registry.FOLDER}/{registry.REGISTRY_FILE}"


class Side(NamedTuple):
    """A workspace, or its mirror."""

    name: str
    storage: fs.SubTreeFileSystem
    sizes: dict[str, int]
    """of all files (bytes)"""

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return b"".join(remote.chunks(self.storage, path))

    def decisions(self) -> registry.State:
        """The content of registry.json."""
        if _REGISTRY not in self.sizes:
            return registry.State()
        try:
            return registry.State.model_validate(checked_json(self.read(_REGISTRY)))
        except ValueError:
            raise InputError(f"{_REGISTRY} in {self.name} is damaged: restore it, or delete it") from None


class Unit(NamedTuple):
    """Files that are of use only together."""

    kind: str
    lock: str
    files: tuple[str, ...]
    """the last one makes them count"""


def mirror(workspace: Workspace, uri: str, *, pull: bool) -> Iterator[str]:
    """What is copied, line by line.

    Raises: InputError if there is nothing to copy from, or the other registry has decisions of its own;
            RemoteError if a transfer breaks off.
    """
    root = str(workspace.root)
    here, there = _side(root, fs.LocalFileSystem(), root), _side(uri, *remote.resolve(uri))
    source, target = (there, here) if pull else (here, there)
    units = _units(source)
    if not any(units.values()):
        raise InputError(f"there is nothing finished in {source.name}: is this the right place?")
    lock = workspace.locked if pull else lambda _: contextlib.nullcontext()
    decided = {decision.version for decision in _shared(source, target).decisions}
    for path in filter(_SPLIT.fullmatch, sorted(source.sizes)):
        with lock(f"index-frozen-{Path(path).stem}"):
            yield _copy_split(path, source, target)
    for kind in KINDS:
        todo = [unit for unit in units[kind] if not _is_there(unit, source, target, decided)]
        if not units[kind]:
            continue
        num_bytes = sum(source.sizes[path] for unit in todo for path in unit.files)
        yield f"{kind:9} {len(todo)} of {len(units[kind])} to copy, {store.gigabytes(num_bytes)}"
        started_s = time.monotonic()
        for unit in todo:
            with lock(unit.lock):
                _copy(unit, source, target)
        yield f"{kind:9} {len(todo)} copied and compared in {time.monotonic() - started_s:.0f} s"
    with lock(registry.FOLDER):
        yield from _copy_decisions(source, target)


def _side(name: str, storage: fs.FileSystem, top: str) -> Side:
    return _listed(name, fs.SubTreeFileSystem(top, storage))


def _listed(name: str, storage: fs.SubTreeFileSystem) -> Side:
    with remote.request(name):
        infos = storage.get_file_info(fs.FileSelector("", allow_not_found=True, recursive=True))
    return Side(name, storage, {info.path: info.size for info in infos if info.type == fs.FileType.File})


def _units(source: Side) -> dict[str, list[Unit]]:
    """All that is finished, by its kind."""
    below = defaultdict(list)
    for path in source.sizes:
        below["/".join(path.split("/")[:2])].append(path)
    units: dict[str, list[Unit]] = {kind: [] for kind in KINDS}
    decided = {decision.version for decision in source.decisions().decisions}
    for path in sorted(source.sizes):
        for pattern, kind, lock in _COUNTS:
            match = pattern.fullmatch(path)
            if match is None or (kind == "registry" and match[1] not in decided):
                continue
            folder = posixpath.dirname(path)
            if kind in ("records", "activations"):
                files = [path.removesuffix("parquet") + "bin"]
                files += [file for file in (f"{folder}/{kept_features.TRUNK_FILE}",) if file in source.sizes]
            elif kind == "known":
                files = []
            else:
                files = [file for file in sorted(below[folder]) if file != path and ".tmp" not in file]
            units[match.expand(kind)].append(Unit(match.expand(kind), match.expand(lock), (*files, path)))
    return units


def _is_there(unit: Unit, source: Side, target: Side, decided: set[str]) -> bool:
    """Whether the target has all files of a unit."""
    last_file = unit.files[-1]
    if last_file not in target.sizes or (unit.kind == "registry" and last_file.split("/")[1] not in decided):
        return False
    if all(target.sizes.get(path) == source.sizes[path] for path in unit.files):
        return True
    if posixpath.basename(last_file) != ARTIFACT_FILE:
        return False
    # Another machine may have trained with the same key to other weights: they are as good.
    files: dict[str, int] = json.loads(target.read(last_file))["files"]
    return all(target.sizes.get(f"{posixpath.dirname(last_file)}/{name}") == size for name, size in files.items())


def _shared(source: Side, target: Side) -> registry.State:
    """The registry of the target.

    Raises: InputError if each side has decisions, or moves of an alias, that the other one has not.
    """
    at_source, at_target = source.decisions(), target.decisions()
    steps: list[tuple[Decision | Move, Decision | Move]] = [
        *zip(at_source.decisions, at_target.decisions, strict=False),
        *zip(at_source.moves, at_target.moves, strict=False),
    ]
    for step, other in steps:
        if step != other:
            done = f"moved {step.alias}" if isinstance(step, Move) else f"decided on {step.version}"
            raise InputError(
                f"the registries in {source.name} and {target.name} have {done} each by itself:"
                f" mirror to another URI, or delete {registry.FOLDER}/ on one side"
            )
    return at_target


def _copy(unit: Unit, source: Side, target: Side) -> None:
    *files, last_file = unit.files
    with remote.request(target.name):
        if last_file in target.sizes:
            target.storage.delete_file(last_file)
        elif target.storage.get_file_info(last_file).type == fs.FileType.File:
            return  # somebody else has finished it meanwhile
    for path in files:
        _write(target, path, remote.chunks(source.storage, path), source.sizes[path])
    _write(target, last_file, iter([source.read(last_file)]), source.sizes[last_file])


def _copy_split(path: str, source: Side, target: Side) -> str:
    """Copy a frozen split, to which rows are only added, unless the target has more of them.

    Raises: InputError if each side has rows that the other one has not.
    """
    at_source, at_target = _split(source, path), _split(target, path)
    if at_source - at_target and at_target - at_source:
        raise InputError(
            f"{path} in {source.name} and {target.name} has drawn videos each by itself: mirror to another URI, or"
            " delete it on one side"
        )
    if at_target - at_source:
        return f"frozen    {target.name} has more videos in {path}, so it stays"
    if at_source - at_target:
        content = source.read(path)
        _write(target, path, iter([content]), len(content))
    return f"frozen    {path}: {len(at_source - at_target)} of {len(at_source)} videos are new there"


def _split(side: Side, path: str) -> set[tuple[str, ...]]:
    """The rows of a frozen split."""
    if side.storage.get_file_info(path).type != fs.FileType.File:
        return set()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, posixpath.basename(path))
        copy.write_bytes(side.read(path))
        try:
            return set(frozen_split.read(copy).itertuples(index=False, name=None))
        except DamagedError:
            raise InputError(f"{path} in {side.name} is damaged: restore it, or delete it") from None


def _copy_decisions(source: Side, target: Side) -> Iterator[str]:
    at_source = source.decisions()
    at_target = _shared(source, _listed(target.name, target.storage))  # somebody may have registered meanwhile
    if ahead := [decision.version for decision in at_target.decisions[len(at_source.decisions) :]]:
        yield f"registry  {target.name} has decided on {', '.join(ahead)} too, so its registry.json stays"
    elif len(at_target.moves) > len(at_source.moves):
        yield f"registry  {target.name} has moved {at_target.moves[-1].alias} since, so its registry.json stays"
    elif _REGISTRY in source.sizes:
        content = source.read(_REGISTRY)
        _write(target, _REGISTRY, iter([content]), len(content))


def _write(target: Side, path: str, content: Iterator[bytes], size: int) -> None:
    """Write a file to the target, whole or not at all.

    Raises: RemoteError if it does not have its size.
    """
    first = next(content, b"")
    with remote.request(f"{path} in {target.name}"), _written(target, path) as written:
        with target.storage.open_output_stream(written) as file:
            file.write(first)
            for chunk in content:
                file.write(chunk)
        if (num_bytes := target.storage.get_file_info(written).size) != size:
            raise RemoteError(f"{path} has {num_bytes} of {size} bytes in {target.name}: run again")


@contextlib.contextmanager
def _written(target: Side, path: str) -> Iterator[str]:
    """The path to write to; object storage shows no file before it is whole."""
    if not isinstance(target.storage.base_fs, fs.LocalFileSystem):
        yield path
        return
    file = Path(target.storage.base_path, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(file.parent)
    with replacing(file) as unfinished:
        yield posixpath.join(posixpath.dirname(path), unfinished.name)


def main(words: list[str]) -> int:
    """Copy as a command line asks; gives the exit status."""
    parser = command.parser("nonlocal_core.mirror", __doc__)
    command.add_workspace(parser)
    parser.add_argument("uri", help="where its mirror lies, such as s3://BUCKET/FOLDER")
    parser.add_argument("--pull", action="store_true", help="copy from there to here")
    words = sorted(words, key=command.is_option)
    words = command.with_workspace(words, lambda args: not all(map(command.is_option, args[1:])))
    return command.show(_lines(parser.parse_args(words)))


def _lines(args: argparse.Namespace) -> Iterator[str]:
    if not locations.is_uri(args.uri):
        raise InputError(f"{args.uri} is no URI: name the mirror as s3://BUCKET/FOLDER")
    if not args.pull and not args.workspace.is_dir():
        raise InputError(f"there is no workspace {args.workspace}: name its folder")
    try:
        yield from mirror(Workspace(args.workspace), args.uri, pull=args.pull)
    except FileNotFoundError as error:
        raise RemoteError(f"something went away meanwhile: run again ({error})") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
