from __future__ import annotations

import json
import os
import stat
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import safetensors
from exported import LABELS, add_network, code_of

from nonlocal_core.artifacts.workspace import Workspace
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.config.sections import EvaluateConfig
from nonlocal_core.data import loader, timing
from nonlocal_core.data.records import encoding
from nonlocal_core.errors import ConfigError, DamagedError, InputError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.normalise import normalise
from nonlocal_core.models.published import names
from nonlocal_core.models.published.names import mmaction2_name
from nonlocal_core.models.published.weights import load_published
from nonlocal_core.registry import WEIGHTS_FILE, export
from nonlocal_core.registry.__main__ import main

NONLOCAL = {"model__nl_res3": (0,), "model__pairwise": "dot_product"}
WINDOWS = {"model__nl_res3": (0,), "model__nl_out_bias": True}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace whose registry has a network that mmaction2 has too, and one that it has not."""
    workspace = Workspace(tmp_path_factory.mktemp("exports") / "my exports")
    add_network(workspace, "a", **NONLOCAL)
    add_network(workspace, "b", **WINDOWS)
    add_network(workspace, "c", model__nl_res3=(0,), model__pairwise="concatenation")
    return workspace


@pytest.fixture(scope="module")
def exported(workspace):
    """The first entry in all formats that need nothing else, and what was said."""
    folder = workspace.root / "out"
    said = list(export.export(workspace, "v0001", folder, "ckpt,safetensors,mindir"))
    return folder, said


@pytest.fixture(scope="module")
def original(workspace):
    """A clip and what the entry's network says of it."""
    net, described = checkpoint.load_network(workspace.root / "registry/v0001" / WEIGHTS_FILE)
    clip = np.random.default_rng(3).normal(size=(1, 3, described.clip.clip_len, 32, 32)).astype(np.float32)
    return clip, net(ms.Tensor(clip)).asnumpy()


def apart(logits, original):
    return np.abs(logits - original[1]).max() / np.abs(original[1]).max()


def test_what_is_written_and_said(exported):
    folder, said = exported
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "label_map.txt",
        "mmaction2.safetensors",
        "model_card.md",
        "network.mindir",
        "preprocess.py",
        "preprocessor_config.json",
        "weights.ckpt",
    ]
    assert [line.split()[0] for line in said] == ["ckpt", "safetensors", "mindir", "card", "programs", "written"]
    assert "weights.ckpt, its logits differ by 0.0e+00 of the greatest" in said[0]
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.*[rts]")} == {0o644}


@pytest.mark.parametrize("title", ["MindSpore", "MindSpore, without this project"])
def test_the_code_of_the_card_gives_the_same_logits(exported, original, monkeypatch, title):
    monkeypatch.chdir(exported[0])
    known = {"clip": ms.Tensor(original[0])}
    exec(code_of(exported[0] / "model_card.md", title), known)
    assert apart(known["logits"].asnumpy(), original) <= 1e-6


def test_a_head_that_was_only_scored_with_is_said(tmp_path):
    workspace = Workspace(tmp_path / "w")
    add_network(workspace, "a", **NONLOCAL, evaluate__head="fully_conv")
    lines = list(export.export(workspace, "v0001", tmp_path / "out", "ckpt"))
    note = "note         the entry was scored with evaluate.head=fully_conv; these files have pooled"
    assert note in lines
    assert "- the head of these files: pooled" in (tmp_path / "out/model_card.md").read_text()


def test_other_programs_read_labels_and_network(exported):
    config = json.loads((exported[0] / "config.json").read_text())
    assert config["id2label"] == {str(number): label for number, label in enumerate(LABELS)}
    assert config["label2id"] == {label: number for number, label in enumerate(LABELS)}
    assert ModelConfig.model_validate(config["model"]).pairwise == "dot_product"
    assert len((exported[0] / "label_map.txt").read_text().splitlines()) == len(LABELS)
    assert (exported[0] / "model_card.md").read_text().startswith("---\npipeline_tag: video-classification\n")


@pytest.mark.parametrize(
    ("height", "width", "num_frames"), [(48, 64, 30), (70, 40, 9), (36, 36, 2), (40, 55, 5), (55, 40, 5)]
)
@pytest.mark.parametrize(("num_clips", "num_crops", "quality"), [(1, 1, 90), (4, 3, 90), (3, 3, 0)])
@pytest.mark.parametrize("crops", ["ends", "even", "slowfast"])
def test_the_exported_program_gives_what_the_product_sees(
    exported, height, width, num_frames, num_clips, num_crops, quality, crops
):
    """Bit for bit, without importing anything of the project."""
    source = (exported[0] / "preprocess.py").read_text()
    assert "nonlocal_core" not in source
    known: dict[str, Any] = {"__file__": str(exported[0] / "preprocess.py"), "__name__": "preprocess"}
    exec(source, known)
    changes = {"num_clips": num_clips, "num_crops": num_crops, "jpeg_quality": quality, "crops": crops}
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3)).astype(np.uint8)
    found = known["views"](frames, {**known["SETTINGS"], **changes})

    _, described = checkpoint.load_network(exported[0].parent / "registry/v0001" / WEIGHTS_FILE)
    cache = described.cache
    small = [encoding.resize(frame, cache) for frame in frames]
    if quality:
        jpegs = [np.frombuffer(encoding.encode(frame, quality), np.uint8) for frame in small]
        small = [encoding.decode(jpeg, *frame.shape[:2]) for jpeg, frame in zip(jpegs, small, strict=True)]
    size = known["SETTINGS"]["crop_size"]
    test = EvaluateConfig(num_clips=num_clips, num_crops=num_crops, crop_size=size, crops=crops)
    whole = timing.whole(num_frames, 25.0, None)
    seen = loader.views_of(lambda indices: [small[i] for i in indices], whole, "v", described.clip, test)
    expected = normalise(ms.Tensor(seen), described.model).asnumpy()
    np.testing.assert_array_equal(found, expected)


def test_mmaction2s_names_are_read_back_as_the_same_network(exported, original):
    file = exported[0] / "mmaction2.safetensors"
    net = load_published(file, "mmaction2", pairwise="dot_product", stem_stride_t=1, pool1_stride_t=1)
    assert apart(net(ms.Tensor(original[0])).asnumpy(), original) == 0.0
    with safetensors.safe_open(file, framework="numpy") as opened:
        found = set(opened.keys())
        assert json.loads(opened.metadata()["labels"]) == list(LABELS)
    assert {
        "backbone.conv1.conv.weight",
        "backbone.layer2.0.non_local_block.g.0.conv.weight",
        "backbone.layer2.0.non_local_block.theta.conv.bias",
        "backbone.layer2.0.non_local_block.conv_out.bn.running_var",
        "backbone.layer1.0.downsample.bn.weight",
        "cls_head.fc_cls.bias",
    } <= found


def test_the_two_directions_of_the_names_are_one(workspace):
    net, _ = checkpoint.load_network(workspace.root / "registry/v0003" / WEIGHTS_FILE)
    ours = [param.name for param in net.get_parameters()]
    theirs = [mmaction2_name(name, net.model) for name in ours]
    assert names.match(theirs, "mmaction2") == (dict(zip(ours, theirs, strict=True)), [])
    with pytest.raises(InputError, match="mmaction2 has no parameter like res9"):
        mmaction2_name("res9.0.a.conv.weight", net.model)


def test_the_card_says_what_a_stranger_must_know(exported):
    text = (exported[0] / "model_card.md").read_text()
    for part in (
        "- top-1 50.0 % of 100, 40.4–59.6 %\n- top-5 100.0 %\n- split val",
        "split val: 100 of 103 videos scored, 3 quarantined: 1 empty, 2 unreadable\n",
        "protocol: val, 30 views",
        "0. falls\n1. grows\n2. rises\n3. !\\[shrinks\\](http\\://e.x)\\\\n# \\<b>\n",
        "minus 123.675, 116.28, 103.53, divided by 58.395, 57.12, 57.375",
        "**manifest**: digest of the manifest",
        "## Licence\n\nTO BE FILLED IN",
    ):
        assert part in text
    assert "onnxruntime" not in text  # it was not made


def test_a_network_that_mmaction2_has_not_is_refused(workspace, tmp_path, capsys):
    words = [str(workspace.root), "export", "v0002", str(tmp_path / "my out"), "--formats", "ckpt,safetensors"]
    assert main(words) == 3
    assert "mmaction2 has no" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    said = list(export.export(workspace, "v0002", tmp_path / "my out", None))
    assert "safetensors  not made: mmaction2 has no" in said[1]
    assert {"weights.ckpt", "network.mindir", "model_card.md"} <= set(os.listdir(tmp_path / "my out"))
    assert not (tmp_path / "my out/mmaction2.safetensors").exists()


@pytest.mark.parametrize("logits", [[[1.0, 2.0, 3.001, 4.0]], [[1.0, 2.0, 3.0, np.nan]], [[1.0, 2.0, 3.0]]])
def test_logits_that_differ_are_refused(logits):
    right = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    nothing: Any = None
    original = export.Original(nothing, nothing, nothing, right)
    assert export._apart(right + 1e-5, original, "x", 1e-4) == pytest.approx(2.5e-6, rel=0.1)
    with pytest.raises(InputError, match=r"what was exported as x .*so it was deleted"):
        export._apart(np.array(logits, np.float32), original, "x", 1e-4)


def test_onnx(workspace, original, tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    said = list(export.export(workspace, "v0001", tmp_path / "my out", "onnx"))
    assert "network.onnx, its logits differ by" in said[0]
    monkeypatch.chdir(tmp_path / "my out")
    known = {"clip": original[0], "onnxruntime": onnxruntime}
    exec(code_of(tmp_path / "my out/model_card.md", "ONNX"), known)
    assert apart(known["logits"], original) <= 1e-5
    said = list(export.export(workspace, "v0003", tmp_path / "other", "onnx"))
    assert "network.onnx, its logits differ by" in said[0], "concatenation, as the paper's formula"


@pytest.mark.parametrize(
    ("version", "formats", "error", "said"),
    [
        (
            "v0001",
            "ckpt,torch",
            ConfigError,
            "there is no format 'torch': there are ckpt, safetensors, mindir, onnx",
        ),
        ("v0009", "ckpt", InputError, "there is no entry v0009"),
    ],
)
def test_mistakes(workspace, tmp_path, version, formats, error, said):
    with pytest.raises(error, match=said):
        list(export.export(workspace, version, tmp_path / "my out", formats))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(workspace, tmp_path):
    with pytest.raises(InputError, match="is there already: name a new folder"):
        list(export.export(workspace, "v0001", tmp_path, "ckpt"))


def test_a_damaged_entry_is_not_exported(workspace, tmp_path):
    file = workspace.root / "registry/v0003" / WEIGHTS_FILE
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"\0")
    try:
        with pytest.raises(DamagedError, match=r"v0003/checkpoint.safetensors differs from its digest"):
            list(export.export(workspace, "v0003", tmp_path / "my out", "ckpt"))
    finally:
        file.write_bytes(content)
    assert list(tmp_path.iterdir()) == []
