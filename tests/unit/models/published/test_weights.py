from __future__ import annotations

import json
import pickle
from typing import Any

import mindspore as ms
import numpy as np
import pytest
import safetensors.numpy
from torch_files import (
    caffe2_name,
    dictionary,
    mmaction2_name,
    save,
    save_blobs,
    save_state,
    seed_name,
    state_pickle,
    text_pickle,
    torchvision_name,
)

from nonlocal_core import import_weights
from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import ConfigError, InputError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.published import weights
from nonlocal_core.models.published.weights import load_published

SMALL: dict[str, Any] = {"width": 4, "stage_blocks": (1, 2, 1, 1), "nl_res3": (0, 1), "nl_res4": (0,)}
MMACTION2 = ModelConfig(**SMALL)
SEED = ModelConfig(
    **SMALL, stem_stride_t=1, pool1_stride_t=1, nl_zero_gamma=False, input_std=(58.395, 57.12, 65.025)
)
GREY: dict[str, Any] = {"input_mean": (114.75,) * 3, "input_std": (57.375,) * 3}
CAFFE2 = ModelConfig(
    **{**SMALL, **GREY, "stem_stride_t": 1, "pool1_stride_t": 1, "pool1_pad": 0, "pairwise": "embedded_gaussian"},
    nl_scale=True,
    nl_sub_sample="before_conv",
    nl_out_bias=True,
    head="fully_conv",
)


def drawn(model, num_classes=5):
    """A network whose every parameter differs from a new one's."""
    net = I3D(model, num_classes)
    rng = np.random.default_rng(0)
    for param in net.get_parameters():
        param.set_data(ms.Tensor(rng.uniform(0.5, 1.0, param.shape).astype(np.float32)))
    return net


def state_of(net, name_of):
    return {name_of(param.name): param.asnumpy() for param in net.get_parameters()}


def assert_same(net, expected):
    assert net.model == expected.model
    assert not net.training
    for ours, theirs in zip(net.get_parameters(), expected.get_parameters(), strict=True):
        assert ours.name == theirs.name
        np.testing.assert_array_equal(ours.asnumpy(), theirs.asnumpy(), err_msg=ours.name)


@pytest.fixture(scope="module")
def mmaction2():
    return state_of(drawn(MMACTION2), mmaction2_name)


def test_mmaction2_fills_every_parameter(tmp_path, mmaction2):
    state = {**mmaction2, "backbone.conv1.bn.num_batches_tracked": np.array([3])}
    imported = weights.import_file(save_state(tmp_path / "a.pth", state), "mmaction2", {"pairwise": "dot_product"})
    assert_same(imported.net, drawn(MMACTION2))
    assert imported.skipped == ["backbone.conv1.bn.num_batches_tracked"]
    assert imported.stored_names["res3.nl1.phi.weight"] == "backbone.layer2.1.non_local_block.phi.0.conv.weight"
    said = {key: imported.sources[key] for key in ("width", "pool1_pad", "stem_stride_t", "pairwise")}
    assert said == {
        "width": "the file's tensors",
        "pool1_pad": "the profile",
        "stem_stride_t": "the profile's usual value",
        "pairwise": "a switch",
    }


def test_tensors_of_data_parallel_training(tmp_path, mmaction2):
    state = {f"module.{name}": value for name, value in mmaction2.items()}
    assert_same(
        load_published(save_state(tmp_path / "a.pth", state), "mmaction2", pairwise="dot_product"),
        drawn(MMACTION2),
    )


def test_tensors_of_a_compiled_network(tmp_path, mmaction2):
    """torch.compile of the whole, or of a part, in a data-parallel training."""
    whole = {f"module._orig_mod.{name}": value for name, value in mmaction2.items()}
    part = {name.replace("backbone.", "backbone._orig_mod."): value for name, value in mmaction2.items()}
    for state in (whole, part):
        net = load_published(save_state(tmp_path / "a.pth", state), "mmaction2", pairwise="dot_product")
        assert_same(net, drawn(MMACTION2))


def test_a_config_of_somebody_else_is_not_looked_at(tmp_path):
    state = state_of(drawn(CAFFE2), caffe2_name)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"blobs": state, "cfg": "NONLOCAL: {CONV3_NONLOCAL: True}"}, 2))
    load_published(path, "caffe2_8x8")


def test_the_seed_fills_every_parameter(tmp_path):
    state = state_of(drawn(SEED), seed_name)
    optimizer = {f"moments.{name}": value for name, value in state.items()} | {
        "learning_rate": np.array([1], np.float32)
    }
    saved = [{"name": name, "data": ms.Tensor(value)} for name, value in {**state, **optimizer}.items()]
    ms.save_checkpoint(saved, str(tmp_path / "a.ckpt"), append_dict={"epoch_num": 1})
    assert_same(load_published(tmp_path / "a.ckpt", "seed"), drawn(SEED))


def test_caffe2_fills_every_parameter(tmp_path):
    blobs = state_of(drawn(CAFFE2), caffe2_name)
    blobs["pred_w"] = blobs["pred_w"][:, :, None, None, None]
    blobs |= {
        "conv1_w_momentum": np.array([1], np.float32),
        "lr": np.array([1], np.float32),
        "model_iter": np.array([2]),
    }
    path = save_blobs(tmp_path / "i3d_8x8.pkl", blobs)
    assert_same(load_published(path, "caffe2_8x8"), drawn(CAFFE2))
    by_2 = CAFFE2.model_copy(update={"stem_stride_t": 2, "pool1_kernel_t": 2, "pool1_stride_t": 2})
    other = path.rename(tmp_path / "i3d.pkl")
    assert load_published(other, "caffe2_32x2").model == by_2
    slowfast = load_published(other, "pyslowfast", pairwise="dot_product").model
    assert slowfast == CAFFE2.model_copy(update={"pool1_pad": 1, "pairwise": "dot_product", "nl_scale": False})


def test_a_file_whose_name_says_another_clip_is_refused(tmp_path):
    path = save_blobs(tmp_path / "i3d_nonlocal_32x2_IN.pkl", state_of(drawn(CAFFE2), caffe2_name))
    with pytest.raises(InputError, match=r"its name says 32x2, and this profile is for clips of 8x8"):
        load_published(path, "caffe2_8x8")


def test_a_file_whose_name_says_another_pairwise_is_asked_about(tmp_path):
    path = save_blobs(tmp_path / "nl_dot_product.pkl", state_of(drawn(CAFFE2), caffe2_name))
    with pytest.raises(InputError, match=r"its name says dot_product, and .* usually embedded_gaussian"):
        load_published(path, "caffe2_8x8")
    assert load_published(path, "caffe2_8x8", pairwise="dot_product").model.pairwise == "dot_product"


def affine_blobs():
    blobs = state_of(drawn(CAFFE2.model_copy(update={"nl_norm": "none"})), caffe2_name)
    return {name: value for name, value in blobs.items() if not name.endswith(("_rm", "_riv"))}


@pytest.mark.parametrize(("profile", "stride"), [("caffe2_affine_32x4", 1), ("caffe2_affine_128x1", 2)])
def test_scales_and_shifts_become_batch_norms_that_do_the_same(tmp_path, profile, stride):
    blobs = affine_blobs()
    net = load_published(save_blobs(tmp_path / "a.pkl", blobs), profile)
    model = net.model
    assert (model.norm, model.nl_norm, model.nl_group_frames) == ("frozen", "none", (0, 4, 0, 0))
    assert (model.stem_stride_t, model.pool1_kernel_t, model.head_window) == (stride, stride, (16, 7, 7))
    x = np.random.default_rng(0).normal(size=(1, 4, 2, 3, 3)).astype(np.float32)
    s, b = (blobs[f"res_conv1_bn_{leaf}"].reshape(1, -1, 1, 1, 1) for leaf in "sb")
    N, C, T, H, W = x.shape
    y = net.stem.norm(ms.Tensor(x.reshape(N, C, T * H, W))).asnumpy().reshape(x.shape)
    np.testing.assert_allclose(y, x * s + b, rtol=1e-6, atol=1e-6)


def test_affine_files_and_batch_norm_files_are_told_apart(tmp_path):
    affine = save_blobs(tmp_path / "affine.pkl", affine_blobs())
    batch = save_blobs(tmp_path / "batch.pkl", state_of(drawn(CAFFE2), caffe2_name))
    with pytest.raises(InputError, match="norm is frozen by the file's tensors, but batch by the profile"):
        load_published(affine, "caffe2_8x8")
    with pytest.raises(InputError, match="norm is batch by the file's tensors, but frozen by the profile"):
        load_published(batch, "caffe2_affine_32x4")


IMAGES = ModelConfig(
    **{**SMALL, "nl_res3": (), "nl_res4": (), "inflate": "none", "stem_kernel_t": 1},
)


def image_state():
    state = state_of(drawn(IMAGES), torchvision_name)
    return {name: value[:, :, 0] if value.ndim == 5 else value for name, value in state.items()}


def test_kernels_of_images_are_inflated(tmp_path):
    path = save_state(tmp_path / "a.pth", image_state(), under="")
    assert_same(load_published(path, "torchvision2d", inflate="none", head="keep"), drawn(IMAGES))
    net = load_published(path, "torchvision2d", inflate="3x1x1", head="new", num_classes=3, nl_res3=[1])
    assert (net.model.stem_kernel_t, net.model.nl_res3, net.head.fc.weight.shape[0]) == (5, (1,), 3)
    params = {param.name: param.asnumpy() for param in net.get_parameters()}
    for name, frames in (("stem", 5), ("res2.0.a", 3), ("res3.0.a", 3), ("res3.1.a", 1), ("res2.0.b", 1)):
        flat = image_state()[torchvision_name(f"{name}.conv.weight")]
        assert params[f"{name}.conv.weight"].shape[2] == frames
        for t in range(frames):
            np.testing.assert_allclose(params[f"{name}.conv.weight"][:, :, t], flat / frames, rtol=1e-6)
    assert (params["res3.nl1.norm.gamma"] == 0).all()


@pytest.mark.parametrize(("suffix", "inflate"), [("pth", "3x1x1"), ("safetensors", "3x3x3")])
def test_a_still_clip_gives_what_the_image_gave(tmp_path, suffix, inflate):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(1)
    state = image_state()
    for name, value in state.items():
        if value.ndim == 4:
            state[name] = rng.normal(0, np.sqrt(2 / value[0].size), value.shape).astype(np.float32)
    save_state(path, state, under="") if suffix == "pth" else safetensors.numpy.save_file(state, path)
    plain: dict[str, Any] = {
        "stem_stride_t": 1,
        "pool1_stride_t": 1,
        "pool2_kernel_t": 1,
        "pool2_stride_t": 1,
        "head": "keep",
    }
    image = rng.normal(size=(1, 3, 1, 32, 32)).astype(np.float32)
    flat = load_published(path, "torchvision2d", inflate="none", **plain).feature_map(ms.Tensor(image)).asnumpy()
    assert flat.std() > 0.1
    net = load_published(path, "torchvision2d", inflate=inflate, **plain)
    # 5 frames of the stem and 3 of each of three other kernels: a frame sees 5 to each side
    still = net.feature_map(ms.Tensor(np.repeat(image, 13, axis=2))).asnumpy()
    np.testing.assert_allclose(still[:, :, 6], flat[:, :, 0], rtol=1e-4, atol=1e-5)
    assert np.abs(still[:, :, 0] - flat[:, :, 0]).max() > 0.01


@pytest.mark.parametrize(
    ("switches", "told"),
    [
        ({"head": "keep"}, "say inflate=3x1x1"),
        ({"inflate": "none"}, "say head=keep, or head=new and num_classes"),
        ({"inflate": "none", "head": "new"}, "head=new and num_classes=K go together"),
        ({"inflate": "none", "num_classes": 3}, "head=new and num_classes=K go together"),
        ({"inflate": "none", "head": "new", "num_classes": "ten"}, "num_classes=ten does not fit"),
        ({"inflate": "none", "head": "new", "num_classes": [10, 20]}, r"num_classes=\[10, 20\] does not fit"),
        (
            {"inflate": "none", "head": "keep", "pool1_pad": 0},
            r"pool1_pad=0 contradicts the profile, where it is 1",
        ),
        ({"inflate": "4x1x1", "head": "keep"}, "inflate=4x1x1 does not fit"),
        ({"inflate": "none", "head": "keep", "infalte": 1}, "there is no switch 'infalte'"),
        ({"inflate": "none", "head": "keep", "width": 8}, "width=8 contradicts the file's tensors, where it is 4"),
    ],
)
def test_what_must_be_said(tmp_path, switches, told):
    path = save_state(tmp_path / "a.pth", image_state(), under="")
    with pytest.raises(ConfigError, match=told):
        load_published(path, "torchvision2d", **switches)


def test_images_without_a_classifier(tmp_path):
    state = {name: value for name, value in image_state().items() if not name.startswith("fc.")}
    path = save_state(tmp_path / "a.pth", state, under="")
    with pytest.raises(ConfigError, match="needs a new classifier: say head=new"):
        load_published(path, "torchvision2d", inflate="none", head="keep")
    assert load_published(path, "torchvision2d", inflate="none", head="new", num_classes=3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("backbone.layer2.0.conv1.conv.weight"), r"missing: res3\.0\.a\.conv\.weight"),
        (lambda state: state.update(extra=np.zeros(3, np.float32)), "1 left over: extra"),
        (lambda state: state.update({"stem.conv.weight": state["backbone.conv1.conv.weight"]}), "left over: stem"),
        (
            lambda state: state.update({"cls_head.fc_cls.bias": np.zeros(6, np.float32)}),
            r"1 of another shape: cls_head\.fc_cls\.bias \(6,\) for head\.fc\.bias \(5,\)",
        ),
        (
            lambda state: state.update({"backbone.layer4.0.conv2.bn.bias": np.full(32, np.nan, np.float32)}),
            r"1 not finite: backbone\.layer4\.0\.conv2\.bn\.bias",
        ),
        (
            lambda state: state.update(
                {"backbone.layer2.1.non_local_block.phi.conv.bias": np.zeros(8, np.float32)}
            ),
            r"phi\.0\.conv\.bias and .*phi\.conv\.bias both stand for res3\.nl1\.phi\.bias",
        ),
        (
            lambda state: state.update(
                {
                    f"backbone.layer2.{i}.non_local_block.conv_out.conv.bias": np.zeros(32, np.float32)
                    for i in (0, 1)
                }
            ),
            "nl_out_bias is True by the file's tensors, but False by the profile",
        ),
        (lambda state: state.pop("backbone.conv1.conv.weight"), "no whole residual network"),
        (
            lambda state: state.update({"backbone.conv1.split_bn.running_mean": np.zeros(8, np.float32)}),
            "split batch norms of a multigrid training",
        ),
    ],
)
def test_a_file_is_taken_whole_or_not_at_all(tmp_path, mmaction2, change, told):
    state = dict(mmaction2)
    change(state)
    with pytest.raises(InputError, match=told):
        load_published(save_state(tmp_path / "a.pth", state), "mmaction2", pairwise="dot_product")


@pytest.mark.parametrize("profile", ["pyslowfast", "caffe2_8x8", "torchvision2d", "seed"])
def test_names_of_another_profile(tmp_path, mmaction2, profile):
    with pytest.raises(InputError, match=f"as {profile}: its names are those of mmaction2"):
        load_published(save_state(tmp_path / "a.pth", mmaction2), profile)


def test_nobodys_names_and_no_profile(tmp_path):
    path = save_state(tmp_path / "a.pth", {"a.weight": np.zeros(3, np.float32)})
    with pytest.raises(InputError, match=r"nobody's that is known here \(a\.weight\)"):
        load_published(path, "mmaction2")
    with pytest.raises(ConfigError, match="there is no profile 'slowfast': there are mmaction2"):
        load_published(path, "slowfast")


def test_what_the_blocks_compute_is_asked_for(tmp_path, mmaction2):
    path = save_state(tmp_path / "a.pth", mmaction2)
    with pytest.raises(ConfigError, match=r"say pairwise=dot_product\|embedded_gaussian"):
        load_published(path, "mmaction2")
    without = {name: v for name, v in mmaction2.items() if ".theta." not in name and ".phi." not in name}
    path = save_state(tmp_path / "b.pth", without)
    assert load_published(path, "mmaction2").model.pairwise == "gaussian"
    with pytest.raises(ConfigError, match="pairwise=dot_product contradicts the file's tensors"):
        load_published(path, "mmaction2", pairwise="dot_product")
    plain = {name: v for name, v in mmaction2.items() if ".non_local_block." not in name}
    assert load_published(save_state(tmp_path / "c.pth", plain), "mmaction2").model.nl_res3 == ()


def test_a_pool_that_leaves_no_parameter_is_seen_in_the_names(tmp_path, mmaction2):
    state = {
        name.replace(".0.conv.", ".conv.") if ".non_local" in name else name: v for name, v in mmaction2.items()
    }
    net = load_published(save_state(tmp_path / "a.pth", state), "mmaction2", pairwise="dot_product")
    assert net.model.nl_sub_sample == "none"


LABELS = ["archery", "bowling", "curling", "diving", "eating"]


def test_labels_are_in_the_order_of_the_profile(tmp_path, mmaction2):
    path = save_state(tmp_path / "a.pth", mmaction2)
    given: dict[str, Any] = {"pairwise": "dot_product"}
    load_published(path, "mmaction2", labels=LABELS, **given)
    swapped = [*LABELS[:2], "diving", "curling", "eating"]
    with pytest.raises(InputError, match=r"class 2 is 'diving' .* alphabet, where it is 'curling'"):
        load_published(path, "mmaction2", labels=swapped, **given)
    with pytest.raises(InputError, match="the network has 5 classes, and there are 4 labels"):
        load_published(path, "mmaction2", labels=LABELS[:4], **given)
    load_published(path, "mmaction2", labels=swapped, own_order=True, **given)
    load_published(path, "mmaction2", labels=["0", "1", "2", "10", "11"], **given)
    load_published(path, "mmaction2", labels=swapped[:4], head="new", num_classes=4, **given)


def test_the_seeds_labels_are_in_the_order_of_its_csv(tmp_path):
    saved = [{"name": n, "data": ms.Tensor(v)} for n, v in state_of(drawn(SEED), seed_name).items()]
    ms.save_checkpoint(saved, str(tmp_path / "a.ckpt"))
    load_published(tmp_path / "a.ckpt", "seed", labels=LABELS[::-1])
    with pytest.raises(InputError, match=r"alphabetical order, but seed .* cls2index\.json"):
        load_published(tmp_path / "a.ckpt", "seed", labels=LABELS)


OWN = ["walk", "run", "jump", "sit", "clap"]
TEXTS = "(" + "".join(f"S'{label}'\n" for label in OWN) + "t"


@pytest.mark.parametrize(
    ("named", "own"),
    [
        ({"dataset_meta": dictionary({"classes": TEXTS})}, OWN),
        ({"dataset_meta": dictionary({"CLASSES": TEXTS})}, OWN),
        ({"CLASSES": TEXTS}, OWN),
        ({"dataset_meta": dictionary({"classes": "(I4\nI3\nI2\nI1\nI0\nt"})}, ["4", "3", "2", "1", "0"]),
    ],
)
def test_the_labels_in_a_file_of_ones_own_training_are_believed(tmp_path, mmaction2, named, own):
    meta = dictionary({"epoch": "I1\n", **named})
    content = dictionary({"meta": meta, "state_dict": state_pickle(mmaction2)})
    path = save(tmp_path / "epoch_1.pth", content, list(mmaction2.values()))
    load_published(path, "mmaction2", labels=own, pairwise="dot_product")
    with pytest.raises(InputError, match="the file's own labels are others"):
        load_published(path, "mmaction2", labels=sorted(own), pairwise="dot_product")


def test_a_checkpoint_names_its_classes_as_the_file_does(tmp_path, capsys, mmaction2):
    meta = dictionary({"dataset_meta": dictionary({"classes": TEXTS})})
    content = dictionary({"meta": meta, "state_dict": state_pickle(mmaction2)})
    path = save(tmp_path / "epoch_1.pth", content, list(mmaction2.values()))
    out = tmp_path / "a.safetensors"
    words = [path, "--profile", "mmaction2", "--switch", "pairwise=dot_product", "--clip", "32x2", "--out", out]
    assert import_weights.main([str(word) for word in words]) == 0
    assert "labels      walk, run, jump and 2 more: as the file says" in capsys.readouterr().out
    assert checkpoint.load_network(out)[1].labels == tuple(OWN)


CONFIG = """
model = dict(
    backbone=dict(
        type='ResNet3d', conv1_stride_t={stem}, pool1_stride_t=2, depth=50,
        non_local=((0, 0, 0), (0, 1, 0, 1), (0, 1, 0, 1, 0, 1), (0, 0, 0)),
        non_local_cfg=dict(mode='{mode}', sub_sample=True, use_scale=False)),
    data_preprocessor=dict(mean=[1.5, 2.0, 3.0], std=[4.0, 5.0, 6.0], type='ActionDataPreprocessor'))
train_pipeline = [dict(type='DecordInit'), dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1)]
"""


def mmaction2_file(path, state, text):
    """A checkpoint with a config in its meta."""
    meta = dictionary({"cfg": text_pickle(text)})
    return save(path, dictionary({"meta": meta, "state_dict": state_pickle(state)}), list(state.values()))


def test_the_config_in_an_mmaction2_file_is_believed(tmp_path, mmaction2):
    path = mmaction2_file(tmp_path / "a.pth", mmaction2, CONFIG.format(stem=1, mode="embedded_gaussian"))
    imported = weights.import_file(path, "mmaction2", {})
    model = imported.net.model
    assert (model.pairwise, model.stem_stride_t, model.nl_scale) == ("embedded_gaussian", 1, False)
    assert (model.input_mean, model.input_std, imported.clip) == ((1.5, 2.0, 3.0), (4.0, 5.0, 6.0), "32x2")
    with pytest.raises(ConfigError, match="pairwise=dot_product contradicts the file's config"):
        load_published(path, "mmaction2", pairwise="dot_product")


@pytest.mark.parametrize(("mode", "has_scale"), [("gaussian", False), ("embedded_gaussian", True)])
def test_a_config_that_says_nothing_of_the_scale(tmp_path, mmaction2, mode, has_scale):
    """mmcv's NonLocal3d is made with use_scale=True, and looks at it in embedded_gaussian only."""
    embedded = (".theta.", ".phi.") if mode == "gaussian" else ()
    state = {name: v for name, v in mmaction2.items() if not any(part in name for part in embedded)}
    text = CONFIG.format(stem=1, mode=mode)
    without = text.replace(", use_scale=False", "")
    assert without != text
    model = load_published(mmaction2_file(tmp_path / "a.pth", state, without), "mmaction2").model
    assert (model.pairwise, model.nl_scale) == (mode, has_scale)
    with_scale = text.replace("use_scale=False", "use_scale=True")
    model = load_published(mmaction2_file(tmp_path / "b.pth", state, with_scale), "mmaction2").model
    assert model.nl_scale == has_scale


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CONFIG.format(stem=2, mode="gaussian"), "of another shape|left over"),
        (CONFIG.format(stem=2, mode="dot_product").replace("ResNet3d", "ResNet3dSlowOnly"), "only ResNet3d"),
        (CONFIG.format(stem="__import__('os').mkdir('{folder}')", mode="dot_product"), "cannot be understood"),
        ("model = (", "cannot be understood"),
        ("x = 1", "cannot be understood"),
        ("(" * 10**4, "cannot be understood"),
    ],
)
def test_a_config_is_read_and_never_run(tmp_path, mmaction2, text, told):
    folder = tmp_path / "made"
    with pytest.raises(InputError, match=told):
        load_published(
            mmaction2_file(tmp_path / "a.pth", mmaction2, text.replace("{folder}", str(folder))), "mmaction2"
        )
    assert not folder.exists()


def test_a_description_that_does_not_fit_is_no_network(tmp_path, mmaction2):
    arrays = {"stem.conv.weight": np.zeros((4, 3, 5, 7, 7), np.float32)}
    plain = {"step": 0, "labels": LABELS, "cache_digest": "", "manifest_digest": ""}
    described = json.dumps({**plain, "model": MMACTION2.model_dump(), "clip": {}, "cache": {}, "train": {}})
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors", metadata={"description": described})
    with pytest.raises(ConfigError, match="needs a new classifier"):
        load_published(tmp_path / "a.safetensors", "ours")
    safetensors.numpy.save_file(arrays, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="no checkpoint of this project"):
        load_published(tmp_path / "b.safetensors", "ours")
