"""OpenVINO computes what MindSpore computes, or it is not used."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from small import PLAIN, small_config

from nonlocal_core import prune
from nonlocal_core.artifacts.files import read_checked_json, write_checked_json
from nonlocal_core.artifacts.references import Exported
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.models import checkpoint, inference, mindspore_engine, openvino_engine
from nonlocal_core.models.convolution import Convolution
from nonlocal_core.models.i3d import I3D

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not locked for this platform")
LABELS = ["falls", "grows", "rises"]
SIDE = 32
BLOCKS = {**PLAIN, "model__nl_res3": (0,), "model__nl_zero_gamma": False}
INCEPTION = {
    "model__backbone": "inception", "model__width": 8, "model__stage_blocks": (3, 4, 6, 3), "model__nl_res4": (4,),
    "model__stem_stride_t": 2, "model__pool1_stride_t": 2, "clip__clip_len": 16,
}  # fmt: skip


def saved(config, folder, **described):
    """The file of a network that tells clips apart; blocks that begin as the identity would hide."""
    ms.set_seed(3)
    net, rng = I3D(config.model, len(LABELS)), np.random.default_rng(3)
    for parameter in net.get_parameters():
        if parameter.ndim == 1:
            parameter.set_data(ms.Tensor(rng.uniform(0.5, 1, parameter.shape).astype(np.float32)))
    whole = checkpoint.Description(
        step=0, labels=tuple(LABELS), model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save_weights(folder / "w.safetensors", checkpoint.weights_of_network(net), whole)
    return folder / "w.safetensors"


def load(file, config, workspace, engine="openvino", **others):
    runtime = RuntimeConfig(device="CPU", engine=engine)
    evaluate = config.evaluate.model_copy(update={"batch_clips": 4})
    asked = config.model_copy(update={"runtime": runtime, "evaluate": evaluate})
    return inference.load(file, LABELS, asked, workspace=workspace, **others)


def clips(config, count=3):
    shape = (count, 3, config.clip.clip_len, SIDE, SIDE)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Settings of a small network, its file, and a workspace that keeps what OpenVINO runs."""
    config, folder = small_config(**PLAIN), tmp_path_factory.mktemp("openvino")
    file, workspace = saved(config, folder), Workspace(folder / "workspace")
    load(file, config, workspace)(clips(config))
    return config, file, workspace


def kept(workspace):
    (folder,) = (workspace.root / Exported.stage).iterdir()
    return folder


def copy_of(workspace, folder):
    shutil.copytree(workspace.root, folder)
    return Workspace(folder)


NETWORKS = {
    "embedded": {**BLOCKS, "model__pairwise": "embedded_gaussian"},
    "concatenation": {**BLOCKS, "model__pairwise": "concatenation", "model__nl_sub_sample": "none"},
    "fully_conv": {**PLAIN, "model__head": "fully_conv", "model__head_window": (2, 1, 1)},
    "inception": INCEPTION,
}
OTHERS = {
    "gaussian": {**BLOCKS, "model__pairwise": "gaussian"},
    "dot": {**BLOCKS, "model__pairwise": "dot_product"},
    "time": {**BLOCKS, "model__nl_axes": "time", "model__nl_sub_sample": "none"},
    "two_frames": {**PLAIN, "model__head": "two_frames"},
}


@pytest.mark.parametrize(
    "settings",
    [
        *(pytest.param(settings, id=name) for name, settings in NETWORKS.items()),
        *(pytest.param(OTHERS[name], id=name, marks=pytest.mark.campaign("long")) for name in OTHERS),
    ],
)
def test_it_gives_what_mindspore_gives(settings, tmp_path):
    config = small_config(**settings)
    file, inputs = saved(config, tmp_path), clips(config)
    network = load(file, config, Workspace(tmp_path / "workspace"), with_features=True)
    found = network(inputs)
    assert network.engine.startswith("OpenVINO 20")
    expected = mindspore_engine.outputs(network.graph, inputs)
    assert found.shape == expected.shape
    for own, theirs in zip(np.split(found, [3], 1), np.split(expected, [3], 1), strict=True):
        assert np.abs(own - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert np.ptp(expected[:, :3], 0).max() > 1e-3 * np.abs(expected).max(), "it tells clips apart"


def test_what_it_gives_for_a_clip_does_not_depend_on_the_others(plain):
    config, file, workspace = plain
    network, inputs = load(file, config, workspace), clips(config, 4)
    together = network(inputs)
    for number in (2, 0, 3, 1):
        np.testing.assert_array_equal(network(inputs[number : number + 1])[0], together[number])


def test_a_trunk(tmp_path):
    config = small_config(**PLAIN, train__freeze="res3")
    file, inputs, workspace = saved(config, tmp_path), clips(config), Workspace(tmp_path / "workspace")
    for part in ("res3", "res5"):
        changed = config.model_copy(update={"train": config.train.model_copy(update={"freeze": part})})
        features = changed.features.model_copy(update={"crop_size": SIDE})
        runtime = RuntimeConfig(device="CPU", engine="openvino")
        settings = changed.model_copy(update={"runtime": runtime, "features": features})
        network, _ = inference.load_trunk(file, settings, workspace)
        found, expected = network(inputs), mindspore_engine.outputs(network.graph, inputs)
        assert network.engine.startswith("OpenVINO")
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert len(list((workspace.root / Exported.stage).iterdir())) == 2


def test_an_export_of_a_trunk_alters_no_network_that_computes_later(tmp_path):
    """MindSpore goes on where an export has a fault, and its own operators would be slower."""
    config = small_config(**PLAIN, train__freeze="res3")
    config = config.model_copy(update={"features": config.features.model_copy(update={"crop_size": SIDE})})
    network, _ = inference.load_trunk(saved(config, tmp_path), config)

    def products():
        cells = network.graph.build()[0].cells_and_names()
        return {name: type(cell.product) for name, cell in cells if isinstance(cell, Convolution)}

    before = products()
    mindspore_engine.export(network.graph, clips(config, 1), tmp_path / "network.onnx")
    assert products() == before


def test_a_second_process_imports_no_mindspore(plain, tmp_path):
    config, file, workspace = plain
    np.save(tmp_path / "clips.npy", clips(config))
    program = f"""
import sys
import numpy as np
sys.path.insert(0, "tests/unit")
from pathlib import Path
from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.models import inference
config = Config.model_validate_json(sys.argv[1])
runtime, evaluate = RuntimeConfig(engine="openvino"), config.evaluate.model_copy(update={{"batch_clips": 4}})
config = config.model_copy(update={{"runtime": runtime, "evaluate": evaluate}})
workspace = Workspace({str(workspace.root)!r}, only_read=True)
network = inference.load(Path({str(file)!r}), {LABELS}, config, workspace=workspace)
assert network.engine.startswith("OpenVINO"), network.engine
print(network(np.load({str(tmp_path / "clips.npy")!r})).tolist())
assert "mindspore" not in sys.modules
"""
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, config.model_dump_json()], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    np.testing.assert_array_equal(
        np.float32(json.loads(found.stdout.splitlines()[-1])), load(file, config, workspace)(clips(config))
    )


def test_what_differs_from_mindspore_is_not_used(tmp_path, monkeypatch, caplog):
    """Weights of the exported file are damaged before the comparison; the outcome is kept."""
    import onnx

    from nonlocal_core.models import onnx_graph

    caplog.set_level(logging.INFO)
    config = small_config(**PLAIN)
    file, workspace, write = saved(config, tmp_path), Workspace(tmp_path / "workspace"), onnx_graph.write

    def write_damaged(net, example, path, texts, forward=None):
        write(net, example, path, texts, forward)
        graph = onnx.load(str(path))
        (weights,) = (tensor for tensor in graph.graph.initializer if tensor.name.endswith("head.fc.weight"))
        numbers = onnx.numpy_helper.to_array(weights) * np.float32(2)
        weights.CopyFrom(onnx.numpy_helper.from_array(numbers, weights.name))
        onnx.save(graph, str(path))

    monkeypatch.setattr(onnx_graph, "write", write_damaged)
    expected = load(file, config, None, "mindspore")(clips(config))
    network = load(file, config, workspace)
    np.testing.assert_array_equal(network(clips(config)), expected)
    assert network.engine.startswith("MindSpore")
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    (line,) = (text for text in said if "is not used" in text)
    assert "it differs from MindSpore by" in line
    assert not (kept(workspace) / Exported.NETWORK).exists()
    monkeypatch.undo()
    caplog.clear()
    again = load(file, config, workspace)
    assert again.engine.startswith("MindSpore"), "what is kept decides: nothing is compared again"
    assert "exporting" not in caplog.text


@pytest.mark.parametrize("name", [Exported.NETWORK, "artifact.json"])
def test_a_damaged_file_is_made_anew(plain, tmp_path, caplog, name):
    config, file, source = plain
    workspace = copy_of(source, tmp_path / "copy")
    damaged = kept(workspace) / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    network = load(file, config, workspace)
    np.testing.assert_array_equal(network(clips(config)), load(file, config, source)(clips(config)))
    assert "is damaged: it is made again" in caplog.text
    assert workspace.faults() == []
    assert load(file, config, workspace).engine.startswith("OpenVINO")


def test_a_workspace_that_is_only_read_is_not_changed_and_the_user_keeps_the_last_exports(
    plain, tmp_path, monkeypatch, caplog
):
    """Where the user's folder cannot be written either, the export is for this process."""
    config, file, source = plain
    workspace = Workspace(tmp_path / "nothing", only_read=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    engines = tmp_path / "home/nonlocal-i3d/engines"
    for old in range(openvino_engine.MOST + 1):
        (engines / f"old{old}").mkdir(parents=True)
        os.utime(engines / f"old{old}", (old, old))
    network = load(file, config, workspace)
    np.testing.assert_array_equal(network(clips(config)), load(file, config, source)(clips(config)))
    assert network.engine.startswith("OpenVINO")
    assert not workspace.root.exists()
    left = {path.name for path in engines.iterdir()}
    assert len(left) == openvino_engine.MOST
    assert {"old0", "old1"}.isdisjoint(left)
    caplog.set_level(logging.INFO)
    for home, exports in (("home", 0), ("/proc/no", 1)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
        caplog.clear()
        again = load(file, config, workspace)
        np.testing.assert_array_equal(again(clips(config)), network(clips(config)))
        assert caplog.text.count("exporting the network") == exports


def test_prune_drops_what_is_of_no_use(plain, tmp_path):
    config, file, source = plain
    workspace = copy_of(source, tmp_path / "copy")
    (workspace.root / "records").mkdir()
    assert list(prune.prune(workspace.root, really=True)) == ["engines: freed nothing: 0 of 1 are of no use"]
    folder = kept(workspace)
    shutil.copytree(folder, folder.with_name("ab.partial"))
    (folder.with_name("ab.partial") / "artifact.json").unlink()
    artifact = read_checked_json(folder / "artifact.json")
    for name, value in (("engine", "OpenVINO 2025.0.0"), ("checkpoint", "train/gone/w.safetensors")):
        other = folder.with_name(name)
        shutil.copytree(folder, other)
        changed = {**artifact, "provenance": {**artifact["provenance"], name: value}}
        write_checked_json(other / "artifact.json", changed)
    (said,) = prune.prune(workspace.root, really=False)
    assert re.fullmatch(r"engines: would free 0\.\d+ GB: 3 of 4 are of no use", said)
    assert len(list(folder.parent.iterdir())) == 4
    list(prune.prune(workspace.root, really=True))
    assert kept(workspace) == folder
    assert load(file, config, workspace).engine.startswith("OpenVINO")


def with_head(file, folder, value):
    """The file of a network whose classifier only adds up the features, times a value."""
    described, weights = checkpoint.read_weights(file)
    weights["head.fc.weight"] = np.full_like(weights["head.fc.weight"], value)
    weights["head.fc.bias"] = np.zeros_like(weights["head.fc.bias"])
    checkpoint.save_weights(folder / f"{value:g}.safetensors", weights, described)
    return folder / f"{value:g}.safetensors"


def test_scores_that_are_not_finite_are_an_error(plain, tmp_path):
    """Also where only some clips overflow: the one that was compared did not."""
    config, file, _ = plain
    shown = clips(config) // np.array([1, 4, 16], np.uint8).reshape(3, 1, 1, 1, 1)
    sums = load(with_head(file, tmp_path, 1.0), config, Workspace(tmp_path / "sums"))(shown)[:, 0]
    least, *_, most = np.argsort(sums)
    assert sums[most] > 1.01 * sums[least] > 0
    largest = float(np.finfo(np.float32).max / np.sqrt(sums[least] * sums[most]))
    network = load(with_head(file, tmp_path, largest), config, Workspace(tmp_path / "workspace"))
    assert np.isfinite(network(shown[[least]])).all()
    with pytest.raises(InputError, match="gives scores that are not finite"):
        network(shown[[least, most]])


@pytest.mark.parametrize(("engine", "num_views"), [("openvino", None), ("mindspore", None), ("mindspore", 3)])
def test_a_layer_that_overflows_is_an_error(plain, tmp_path, engine, num_views):
    """MindSpore's ReLU on a CPU makes zeros of what is no number: the scores would be those of the rest."""
    config, file, _ = plain
    described, weights = checkpoint.read_weights(file)
    name = next(name for name, value in weights.items() if name.startswith("res3") and value.ndim == 5)
    weights[name] = np.full_like(weights[name], 3e38)
    checkpoint.save_weights(tmp_path / "w.safetensors", weights, described)
    network = load(
        tmp_path / "w.safetensors", config, Workspace(tmp_path / "workspace"), engine, num_views=num_views
    )
    with pytest.raises(
        InputError, match=r"gives numbers that are not finite in res3\.\S+: its weights are too large"
    ):
        network(clips(config))


@pytest.mark.parametrize(
    ("runtime", "wanted"),
    [
        ({"device": "CPU"}, True),
        ({"device": "CPU", "engine": "mindspore"}, False),
        ({"device": "GPU"}, False),
        ({"engine": "openvino"}, True),
    ],
)
def test_which_engine_is_taken(runtime, wanted):
    assert openvino_engine.is_wanted(RuntimeConfig(**runtime)) == wanted


def test_openvino_computes_on_the_cpu_alone():
    with pytest.raises(ConfigError, match=r"^runtime\.engine=openvino computes on the CPU: leave out runtime"):
        openvino_engine.is_wanted(RuntimeConfig(device="GPU", engine="openvino"))


@pytest.mark.parametrize("package", ["openvino", "onnx"])
def test_where_it_is_not_installed(package):
    """In a process that finds no such package."""
    program = f"""
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else found(name, *rest)
sys.meta_path.insert(0, Blocked())
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.models import openvino_engine
print(openvino_engine.is_wanted(RuntimeConfig(device="CPU")))
try:
    openvino_engine.is_wanted(RuntimeConfig(device="CPU", engine="openvino"))
except Exception as error:
    print(type(error).__name__, error)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [
        "False",
        "ConfigError runtime.engine=openvino is not installed: pip install -e '.[openvino]'",
    ]


def test_where_it_is_broken(tmp_path):
    """As where a library of the system is missing: MindSpore computes, unless OpenVINO is asked for by name."""
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file')\n")
    program = """
from nonlocal_core.config.sections import RuntimeConfig
from nonlocal_core.models import openvino_engine
print(openvino_engine.is_wanted(RuntimeConfig(device="CPU")))
try:
    openvino_engine.is_wanted(RuntimeConfig(device="CPU", engine="openvino"))
except Exception as error:
    print(type(error).__name__, error)
"""
    paths = os.pathsep.join([str(tmp_path), str(Path(openvino_engine.__file__).parents[2])])
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert found.stdout.splitlines() == [
        "False",
        "ConfigError runtime.engine=openvino cannot be loaded (libtbb.so.12: cannot open shared object file):"
        " pip install -e '.[openvino]'",
    ]


def test_few_views_are_neither_exported_nor_compiled(plain, tmp_path):
    config, file, _ = plain
    workspace = Workspace(tmp_path)
    few, more = (load(file, config, workspace, "auto", num_views=number) for number in (3, 1000))
    outputs = few(clips(config))
    assert few.engine.endswith("on CPU, operator by operator")
    assert not (tmp_path / Exported.stage).exists()
    found = more(clips(config))
    assert more.engine.startswith("OpenVINO ")
    assert np.abs(found - outputs).max() <= 1e-4 * np.abs(outputs).max()
    again = load(file, config, workspace, "auto", num_views=3)
    again(clips(config))
    assert again.engine == more.engine, "what is exported already costs nothing"
