"""Random and damaged content for each function that reads bytes of others: a refusal is one line."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st
from registered import add
from torch_files import save_blobs, save_legacy, save_state, state_pickle

from nonlocal_core import registry
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import checked_json
from nonlocal_core.artifacts.references import Manifest
from nonlocal_core.artifacts.workspace import Workspace, read_artifact
from nonlocal_core.config.tree import resolve
from nonlocal_core.data.layouts import kinetics, lists
from nonlocal_core.data.layouts.toy import make_toy_videos
from nonlocal_core.data.manifest import frozen_split, manifest_table
from nonlocal_core.data.records import cache_table, store
from nonlocal_core.data.video import file_headers, pictures
from nonlocal_core.errors import InputError, NonlocalError
from nonlocal_core.models.published import files
from nonlocal_core.process import confined
from nonlocal_core.stages.cache import cache
from nonlocal_core.stages.index import index
from tests.campaign import NAMED, SAME, WRONG, Tally
from tests.chaos import mutants
from tests.chaos.chain import SETTINGS

NUM_EXAMPLES = 400
NUM_SHORT = 8


class Reader(NamedTuple):
    """A function that reads a file, a valid example of one, and what it may raise."""

    read: Callable[[Path], Any]
    name: str
    example: bytes
    refusals: tuple[type[Exception], ...] = (NonlocalError,)


def every_frame(path: Path) -> list[Any]:
    shard = store.Shard(path.parent, path.stem.removeprefix("shard-"))
    return [shard.jpegs(row, np.arange(shard.num_stored(row))) for row in range(len(shard._sha256))]


def readers(folder: Path) -> dict[str, Reader]:
    """Every reader, by what it reads."""
    videos_dir, workspace = make_toy_videos(folder / "videos", 12), Workspace(folder / "w")
    config = resolve("tiny", {**SETTINGS, "index.frozen_val": "kept"})
    manifest = index(videos_dir, config, workspace)
    cached = cache(manifest, config, workspace)
    add(workspace, "a", 0.5)
    table = next((workspace.root / cached.records).glob("*.parquet"))
    shard_bin = table.with_suffix(".bin")
    (folder / "read" / "train").mkdir(parents=True)
    (folder / "read" / shard_bin.name).write_bytes(shard_bin.read_bytes())
    jpeg = shard_bin.read_bytes()[: shard_bin.read_bytes().index(b"\xff\xd9") + 2]
    made = {name: workspace.path(manifest) / name for name in (Manifest.ROWS, Manifest.LABELS, "artifact.json")}
    kept = next(workspace.root.glob("index/**/*kept*"))
    return {
        "label maps": Reader(label_ids.read_names, "labels.json", made[Manifest.LABELS].read_bytes()),
        "lists": Reader(
            lambda path: lists.find_videos(path.parent), "train.txt",
            b"a b.mp4 0\nc.mp4,1\n\"d e.mp4\" 2 0.1 0.5\n"
        ),
        "tables of Kinetics": Reader(
            lambda path: kinetics.find_videos(path.parent), "kinetics-400_train.csv",
            b"label,youtube_id,time_start,time_end,split\nabseiling,0347ZoDXyP0,95,105,train\n",
        ),
        "checked JSON": Reader(
            lambda path: checked_json(path.read_bytes()), "some.json", made["artifact.json"].read_bytes(),
            (ValueError,),
        ),
        "artifact.json": Reader(
            lambda path: read_artifact(Manifest, path.parent), "artifact.json", made["artifact.json"].read_bytes()
        ),
        "registry.json": Reader(
            lambda path: registry.read(Workspace(path.parents[1])), "registry/registry.json",
            (workspace.root / "registry/registry.json").read_bytes(),
        ),
        "entry.json": Reader(
            lambda path: registry.entries(Workspace(path.parents[2])), "registry/v0001/entry.json",
            (workspace.root / "registry/v0001/entry.json").read_bytes(),
        ),
        "manifests": Reader(manifest_table.read, Manifest.ROWS, made[Manifest.ROWS].read_bytes()),
        "frozen splits": Reader(frozen_split.read, kept.name, kept.read_bytes()),
        "tables of a cache": Reader(
            cache_table.read, "videos.parquet", (workspace.path(cached) / "videos.parquet").read_bytes()
        ),
        "tables of records": Reader(every_frame, table.name, table.read_bytes()),
        "pictures": Reader(pictures.read_picture, "1.jpg", jpeg),
        "headers of videos": Reader(
            headers, "a.mp4",
            next(videos_dir.rglob("*.mp4")).read_bytes(), (),
        ),
        **{what: Reader(weights, path.name, path.read_bytes()) for what, path in weights_files(folder).items()},
    }  # fmt: skip


def weights_files(folder: Path) -> dict[str, Path]:
    """Small files of weights, one for each of our readers."""
    state = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(2, np.float32)}
    safetensors.numpy.save_file(state, folder / "w.safetensors")
    return {
        "weights of PyTorch": save_state(folder / "w.pth", state, cfg="model = dict(type='Recognizer3D')"),
        "weights of old PyTorch": save_legacy(folder / "old.pth", state_pickle(state), list(state.values())),
        "weights of Caffe2": save_blobs(folder / "w.pkl", state),
        "weights in safetensors": folder / "w.safetensors",
    }


def weights(path: Path) -> None:
    """Read a file of weights in a confined fork; a Python of its own, as in the product, takes half a second."""
    folder = path.parent / "answer"
    folder.mkdir(exist_ok=True)
    (folder / confined.ANSWER).unlink(missing_ok=True)
    process = os.fork()
    if not process:
        with contextlib.suppress(BaseException):
            confined.answer(path, folder, lambda: files._extract(path, folder, ""))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        raise InputError("it takes too much time")
    assert code == 0, f"the reader ended with {code}"
    said = json.loads((folder / confined.ANSWER).read_text())
    if said["outcome"] == "refused":
        raise InputError(said["value"])


def headers(path: Path) -> None:
    with path.open("rb") as file:
        file_headers.is_cut_short(file, path.stat().st_size)
    file_headers.is_upright(path)


def contents(example: bytes) -> st.SearchStrategy[bytes]:
    """Damaged copies of an example, and bytes and text of any kind."""

    def damaged(seed: int) -> bytes:
        drawn, content = random.Random(seed), example
        for _ in range(drawn.randint(1, 3)):
            content = mutants.mutant(content, drawn)[1] or b"x"
        return content

    words = st.sampled_from(
        [b"{", b"[", b'"', b"\\ud800", b"1e999", b"NaN", b",", b"-1", b"\0", b"\xff", b"\n", b"..", b"/"]
    )
    return st.one_of(
        st.integers(0, 1 << 32).map(damaged), st.binary(max_size=300), st.text(max_size=100).map(_utf_8),
        st.lists(words, max_size=40).map(b"".join),
    )  # fmt: skip


def _utf_8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def fuzz(num_examples: int, seed: int, tally: Tally, folder: Path) -> None:
    for what, reader in readers(folder).items():
        path = folder / "read" / reader.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(reader.example)
        reader.read(path)  # the example is one
        try:
            attempts(what, reader, path, tally, num_examples, seed)()
        except Exception as error:
            tally.add(what, WRONG, f"{path.read_bytes()[:300]!r}: {error!r:.500}")
        path.unlink(missing_ok=True)


def attempts(
    what: str, reader: Reader, path: Path, tally: Tally, num_examples: int, seed: int
) -> Callable[[], None]:
    """A function that lets a reader read many contents, and fails with the smallest that is wrong."""

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        try:
            reader.read(path)
        except reader.refusals as error:
            if "\n" in str(error):
                raise AssertionError(f"more than a line: {error}") from None
            tally.add(what, NAMED)
        else:
            tally.add(what, SAME)

    checks = list(hypothesis.HealthCheck)
    settings = hypothesis.settings(
        max_examples=num_examples, database=None, deadline=None, suppress_health_check=checks
    )
    made: Callable[[], None] = hypothesis.seed(seed)(settings(hypothesis.given(contents(reader.example))(attempt)))
    return made


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_some_content_for_each_reader(tally: Tally, tmp_path: Path) -> None:
    fuzz(NUM_SHORT, 0, tally, tmp_path)
    tally.check()


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_content_for_each_reader(request: pytest.FixtureRequest, tally: Tally, tmp_path: Path) -> None:
    fuzz(NUM_EXAMPLES, request.config.getoption("seed"), tally, tmp_path)
    tally.check()
