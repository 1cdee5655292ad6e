from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file
from torch_files import save_state

from nonlocal_core import import_weights
from nonlocal_core.config.sections import ClipConfig
from nonlocal_core.config.tree import resolve
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published import comparison
from nonlocal_core.models.published.weights import load_published

FIXTURES = Path(__file__).parents[1] / "parity/fixtures"
FILE = FIXTURES / "caffe2_affine_32x4.pkl"
WINDOW = ["--profile", "caffe2_affine_32x4", "--switch", "head_window=8,2,2"]
LABELS = ["archery", "bowling", "curling", "diving", "eating", "fishing", "golf"]


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({label: number for number, label in enumerate(LABELS)}))
    return str(path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Every activation of the network of FILE, computed by itself."""
    net = load_published(FILE, "caffe2_affine_32x4", head_window=(8, 2, 2))
    clip = np.random.default_rng(0).normal(size=(1, 3, 16, 48, 48)).astype(np.float32)
    path = tmp_path_factory.mktemp("reference") / "a.npz"
    arrays = {"clip": clip, **comparison.activations(net, ms.Tensor(clip))}
    np.savez(path, **arrays)
    return path, arrays


def said(capsys, *words):
    code = import_weights.main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_says_what_it_read_and_writes_a_checkpoint(tmp_path, labels):
    out = tmp_path / "a.safetensors"
    words = [str(FILE), *WINDOW, "--labels", labels, "--out", str(out), "--names"]
    command = [sys.executable, "-m", "nonlocal_core.import_weights", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    lines = done.stdout.splitlines()
    net, described = checkpoint.load_network(out)
    size = sum(param.size for param in net.trainable_params())
    assert lines[0] == f"network     {size:,} parameters, 7 classes"
    assert lines[1].startswith("tensors     ")
    assert "4 that no network needs" in lines[1]
    assert any(
        "since the file does not say its own; if a training of your own had another one" in x for x in lines
    )
    assert any(
        line.split() == ["nl_group_frames", "[0,", "4,", "0,", "0]", "the", "profile's", "usual", "value"]
        for line in lines
    )
    assert "  res4.nl1.theta.weight                nonlocal_conv4_1_theta_w" in lines
    assert (described.step, described.labels, described.clip) == (0, tuple(LABELS), ClipConfig(frame_interval=4))
    assert described.imported_from.startswith("caffe2_affine_32x4 ")
    clip = ms.Tensor(np.random.default_rng(0).normal(size=(1, 3, 16, 48, 48)).astype(np.float32))
    expected = load_published(FILE, "caffe2_affine_32x4", head_window=(8, 2, 2))
    np.testing.assert_array_equal(net(clip).asnumpy(), expected(clip).asnumpy())
    again = load_published(out, "ours", labels=LABELS)
    np.testing.assert_array_equal(again(clip).asnumpy(), expected(clip).asnumpy())


def test_a_head_for_other_classes(tmp_path, capsys, labels):
    out = tmp_path / "a.safetensors"
    short = tmp_path / "short.json"
    short.write_text('{"b": 0, "a": 1}')
    code, _, err = said(capsys, FILE, *WINDOW, "--labels", short, "--out", out)
    assert (code, out.exists()) == (3, False)
    assert "the network has 7 classes, and there are 2 labels: say head=new" in err
    code, told, _ = said(capsys, FILE, *WINDOW, "--switch", "head=new", "--labels", short, "--out", out)
    assert code == 0
    assert "new         2 tensors are not from the file" in told
    assert "labels      b, a: of a new classifier" in told
    net, described = checkpoint.load_network(out)
    assert (described.labels, net.head.fc.weight.shape[0]) == (("b", "a"), 2)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--out", "x"], 2, "--out needs --labels"),
        (["--switch", "pool1_pad"], 2, "'pool1_pad' is not of the form key=value, which --switch takes"),
        (["--switch", "nl_res3=1", "--switch", "nl_res3=2"], 2, "nl_res3 is given twice, '1' and '2'"),
        (["--switch", "pool1_pad=1"], 2, "pool1_pad=1 contradicts the profile, where it is 0"),
        (["--labels", "missing.json"], 3, "missing.json cannot be read"),
        (["--compare", "missing.npz"], 3, "missing.npz cannot be read"),
        (["--profile", "caffe"], 2, "there is no profile 'caffe'"),
    ],
)
def test_mistakes_are_one_line(capsys, words, code, told):
    found, _, err = said(capsys, FILE, *WINDOW, *words)
    assert (found, err.count("\n")) == (code, 1)
    assert err.startswith("error: ")
    assert told in err


@pytest.mark.parametrize(
    "description",
    [
        "{",
        "1",
        "null",
        "{}",
        "[" * 100_000,
        '{"model": 1}',
        '{"step": ' + "9" * 5000 + "}",
        '{"model": {"width": 0}}',
    ],
    ids=lambda text: text[:20],
)
def test_a_description_that_is_none_is_one_line(tmp_path, capsys, description):
    path = tmp_path / "a.safetensors"
    save_file({"head.fc.weight": np.zeros((2, 4), np.float32)}, path, {"description": description})
    code, _, err = said(capsys, path, "--profile", "ours")
    assert (code, err.count("\n")) == (3, 1)
    assert "its description is not that of a checkpoint of this project" in err


@pytest.mark.parametrize("wide", [{"width": 100_000}, {"width": 1, "stage_blocks": [1000] * 4}], ids=str)
def test_a_small_file_makes_no_large_network(tmp_path, capsys, wide):
    plain = {"step": 0, "labels": ["a", "b"], "cache_digest": "", "manifest_digest": ""}
    described = {**plain, "model": wide, "clip": {}, "cache": {}, "train": {}}
    path = tmp_path / "a.safetensors"
    save_file({"head.fc.weight": np.zeros((2, 4), np.float32)}, path, {"description": json.dumps(described)})
    code, _, err = said(capsys, path, "--profile", "ours")
    assert (code, err.count("\n")) == (3, 1)
    assert "of a network that is larger than the file" in err


def test_a_wide_stem_makes_no_large_network(tmp_path, capsys):
    places = ("conv1", *(f"layer{stage}.0.conv{number}" for stage in range(1, 5) for number in (1, 2, 3)))
    state = {f"backbone.{place}.conv.weight": np.zeros((1,) * 5, np.float32) for place in places}
    state |= {f"backbone.{place}.bn.running_mean": np.zeros(1, np.float32) for place in places}
    state["backbone.conv1.conv.weight"] = np.zeros((50_000, 1, 1, 1, 1), np.float32)
    state["cls_head.fc_cls.weight"] = np.zeros((2, 1), np.float32)
    path = save_state(tmp_path / "a.pth", state)
    code, _, err = said(capsys, path, "--profile", "mmaction2")
    assert (code, err.count("\n")) == (3, 1)
    assert "of a network that is larger than the file" in err


def test_clips_that_nobody_names(tmp_path, capsys, labels):
    file = FIXTURES / "mmaction2_i3d_r50w4_gaussian.pth"
    words = [file, "--profile", "mmaction2", "--labels", labels, "--out", tmp_path / "a.safetensors"]
    code, _, err = said(capsys, *words)
    assert code == 2
    assert "--out needs --clip LENxINTERVAL" in err
    for clip in ("0x2", "16x0", "16", "16x3x2", "9" * 5000 + "x1"):
        code, _, err = said(capsys, *words, "--clip", clip)
        assert (code, err.count("\n"), "--out needs --clip LENxINTERVAL" in err) == (2, 1, True)
    assert said(capsys, *words, "--clip", "16x3")[0] == 0
    assert checkpoint.read(tmp_path / "a.safetensors")[0].clip == ClipConfig(clip_len=16, frame_interval=3)


def test_clips_of_pyslowfast_count_at_30_frames_a_second(tmp_path, capsys, labels):
    file, out = FIXTURES / "pyslowfast_softmax.pyth", tmp_path / "a.safetensors"
    words = ["--labels", labels, "--own-order", "--clip", "8x8"]
    code, _, err = said(capsys, file, "--profile", "pyslowfast", *words, "--switch", "head=new", "--out", out)
    assert (code, err) == (0, "")
    clip = ClipConfig(clip_len=8, frame_interval=8, fps=30.0)
    assert checkpoint.read(out)[0].clip == clip
    again = tmp_path / "b.safetensors"
    assert said(capsys, out, "--profile", "ours", "--out", again)[0] == 0
    assert checkpoint.read(again)[0].clip == clip


def test_a_checkpoint_of_ours_keeps_what_its_network_saw(tmp_path, capsys):
    seen = {
        **{
            "cache.short_side": 64,
            "cache.interpolation": "bilinear",
            "train.crop_size": 48,
            "train.precision": "fp16",
        },
        **{"clip.clip_len": 8, "clip.sampling": "discrete", "clip.short_videos": "loop", "model.width": 4},
    }
    config, net, out = resolve("tiny", seen), I3D(resolve("tiny", seen).model, 2), tmp_path / "a.safetensors"
    described = checkpoint.Description(
        step=7, labels=("a", "b"), model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="c", manifest_digest="m",
    )  # fmt: skip
    checkpoint.save_weights(out, checkpoint.weights_of_network(net), described)
    for words, clip in (
        ([], config.clip),
        (["--clip", "4x3"], config.clip.model_copy(update={"clip_len": 4, "frame_interval": 3})),
    ):
        assert said(capsys, out, "--profile", "ours", "--out", tmp_path / "b.safetensors", *words)[0] == 0
        written, _ = checkpoint.read(tmp_path / "b.safetensors")
        assert (written.clip, written.cache, written.train) == (clip, config.cache, config.train)
        assert (written.labels, written.step, written.imported_from[:5]) == (("a", "b"), 0, "ours ")


def test_activations_have_the_names_of_the_parts(reference):
    _, arrays = reference
    order = [
        "stem.conv",
        "stem.norm",
        "stem",
        "pool1",
        "res2.0.a.conv",
        "res2.0",
        "res2",
        "pool2",
        "res3.1",
        "res3.nl1.theta",
    ]
    places = [list(arrays).index(name) for name in order]
    assert places == sorted(places)
    assert list(arrays)[-2:] == ["features", "logits"]
    net = load_published(FILE, "caffe2_affine_32x4", head_window=(8, 2, 2))
    clip = ms.Tensor(arrays["clip"])
    np.testing.assert_array_equal(arrays["logits"], net(clip).asnumpy())
    np.testing.assert_array_equal(arrays["stem.conv"], net.stem.conv(clip).asnumpy())
    np.testing.assert_allclose(arrays["features"], net.features(clip).asnumpy(), rtol=1e-5)


def test_a_clip_of_whole_numbers_is_one_line(tmp_path, capsys, reference):
    _, arrays = reference
    path = tmp_path / "whole.npz"
    np.savez(path, clip=np.zeros(arrays["clip"].shape, np.uint8), logits=arrays["logits"])
    code, _, err = said(capsys, FILE, *WINDOW, "--compare", path)
    assert (code, err.count("\n")) == (3, 1)
    assert "clip in " in err
    assert "holds uint8, and the network takes the normalised clip" in err


def test_a_report_names_the_first_part_that_differs(tmp_path, capsys, reference):
    path, arrays = reference
    code, out, _ = said(capsys, FILE, *WINDOW, "--report", path)
    assert code == 0
    assert "  res3.nl1.theta           0.00e+00" in out
    wrong = [*WINDOW, "--switch", "nl_group_frames=0,2,0,0"]
    code, out, err = said(capsys, FILE, *wrong, "--report", path)
    assert code == 3
    assert err.startswith("error: res3.nl1.response is the first that differs from ")
    assert "  res3.nl1.theta           0.00e+00" in out
    code, out, err = said(capsys, FILE, *wrong, "--compare", path)
    assert (code, "res3.nl1" in out) == (3, False)
    assert err.startswith("error: logits is the first that differs")
    np.savez(tmp_path / "b.npz", clip=arrays["clip"], features=arrays["res5"])
    code, out, _ = said(capsys, FILE, *WINDOW, "--report", tmp_path / "b.npz")
    assert (code, out.splitlines()[-1].split()[0]) == (0, "features")
    for name, content, told in [
        ("c", {"clip": arrays["clip"]}, "nothing to compare"),
        ("d", {"x": 1}, "no array named clip"),
    ]:
        np.savez(tmp_path / f"{name}.npz", **content)
        assert told in said(capsys, FILE, *WINDOW, "--report", tmp_path / f"{name}.npz")[2]


def test_differences_see_shapes_probabilities_and_whole_maps():
    ours = {"a": np.ones((1, 2, 6)), "features": np.ones((1, 2)), "logits": np.log([[1.0, 3.0]])}
    theirs = {
        "a": np.full((1, 2, 2, 3), 2.0),
        "features": np.ones((1, 2, 2, 2, 2)),
        "logits": np.ones((1, 3)),
        "probs": np.array([[0.25, 0.75]]),
    }
    found = {one.name: one.relative for one in comparison.differences(ours, theirs)}
    assert found == {"a": 0.5, "features": 0.0, "logits": float("inf"), "probs": pytest.approx(0.0, abs=1e-12)}
