from __future__ import annotations

import shutil

import mindspore as ms
import numpy as np
import pytest
from small import PLAIN, small_config

from nonlocal_core.errors import InputError
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.stages import train as stage
from nonlocal_core.training import first_weights

LABELS = ("falls", "grows", "rises", "shrinks")


def described(config, labels=LABELS):
    return checkpoint.Description(
        step=0, labels=labels, model=config.model, clip=config.clip, cache=config.cache, train=config.train,
        cache_digest="", manifest_digest="",
    )  # fmt: skip


def network(config, seed, num_classes=4):
    ms.set_seed(seed)
    net = I3D(config.model, num_classes)
    for param in net.get_parameters():
        if param.ndim == 1:
            param.set_data(ms.Tensor(np.random.default_rng(seed).uniform(0.5, 1, param.shape).astype(np.float32)))
    return net


def saved(path, config, labels=LABELS):
    weights = checkpoint.weights_of_network(network(config, 1, len(labels)))
    checkpoint.save_weights(path, weights, described(config, labels))
    return path


def values(net):
    return {param.name: param.asnumpy().copy() for param in net.get_parameters()}


def same(found, expected):
    return {name for name, value in found.items() if name in expected and np.array_equal(value, expected[name])}


def test_every_tensor_comes_from_the_file(tmp_path):
    config = small_config()
    path, net = saved(tmp_path / "a.safetensors", config), network(config, 2)
    first_weights.load(net, path, LABELS, "keep")
    expected = values(network(config, 1))
    assert same(values(net), expected) == set(expected)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:3]])
def test_a_new_head_stays_as_it_was_drawn(tmp_path, labels):
    config = small_config()
    path, net = saved(tmp_path / "a.safetensors", config, labels), network(config, 2)
    before, theirs = values(net), values(network(config, 1))
    first_weights.load(net, path, LABELS, "new")
    head = {"head.fc.weight", "head.fc.bias"}
    assert same(values(net), before) & head == head
    assert same(values(net), theirs) == set(theirs) - head


def test_a_matched_head_keeps_the_rows_of_the_labels_that_are_in_both(tmp_path, caplog):
    """With a label more that comes first, and one less: every id moves."""
    caplog.set_level("INFO")
    config, ours = small_config(), ("blinks", "falls", "grows", "rises")
    path, net = saved(tmp_path / "a.safetensors", config), network(config, 2)
    before, theirs = values(net), values(network(config, 1))
    first_weights.load(net, path, ours, "match")
    after = values(net)
    head = {"head.fc.weight", "head.fc.bias"}
    for name in head:
        np.testing.assert_array_equal(after[name], np.concatenate([before[name][:1], theirs[name][:3]]))
    assert same(after, theirs) == set(theirs) - head
    assert "0 of 98 tensors drawn anew, and the classifier's rows of 1 of 4 labels" in caplog.text


def test_blocks_that_the_file_lacks_start_as_the_identity(tmp_path):
    plain, more = small_config(model__nl_res4=()), small_config(model__nl_res3=(0,), model__nl_res4=(0,))
    path = saved(tmp_path / "a.safetensors", plain)
    ms.set_seed(3)
    net = I3D(more.model, 4)
    first_weights.load(net, path, LABELS, "keep")
    expected = network(plain, 1)
    assert set(values(expected)) == {name for name in values(net) if ".nl" not in name}
    for one in (net, expected):
        one.set_train(False)
    clip = ms.Tensor(np.random.default_rng(0).normal(size=(1, 3, 4, 32, 32)).astype(np.float32))
    np.testing.assert_array_equal(net(clip).asnumpy(), expected(clip).asnumpy())


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"model__stem_stride_t": 2}, r"is of another network: set model\.stem_stride_t=1"),
        ({"model__pool1_pad": 0}, r"set model\.pool1_pad=1"),
        ({"model__nl_res4": ()}, r"set model\.nl_res4=\[0\]"),
        ({"model__nl_sub_sample": "before_conv"}, r"set model\.nl_sub_sample=after_conv"),
        ({"model__pairwise": "embedded_gaussian"}, r"set model\.pairwise=dot_product"),
        ({"model__nl_norm": "none"}, r"does not fit the network: res4\.nl0\.norm\.beta"),
        ({"model__nl_out_bias": True}, r"set model\.nl_out_bias=False"),
        ({"model__width": 4}, r"set model\.width=2"),
    ],
)
def test_another_network_names_the_settings(tmp_path, overrides, told):
    path = saved(tmp_path / "a.safetensors", small_config())
    other = small_config(**overrides)
    net = network(other, 2)
    before = values(net)
    with pytest.raises(InputError, match=told):
        first_weights.load(net, path, LABELS, "keep")
    assert same(values(net), before) == set(before)


def test_a_block_is_taken_whole(tmp_path):
    path = saved(tmp_path / "a.safetensors", small_config(model__nl_norm="none"))
    with pytest.raises(InputError, match=r"does not fit the network: res4\.nl0\.norm\.beta"):
        first_weights.load(network(small_config(), 2), path, LABELS, "keep")


def test_how_a_network_learns_may_differ(tmp_path):
    path = saved(tmp_path / "a.safetensors", small_config())
    other = small_config(model__norm="frozen", model__nl_norm="frozen", model__dropout=0.1)
    first_weights.load(network(other, 2), path, LABELS, "keep")


def test_other_labels_and_other_files(tmp_path):
    config = small_config()
    path, net = saved(tmp_path / "a.safetensors", config), network(config, 2)
    for labels in (LABELS[::-1], (*LABELS[:3], "spins")):
        with pytest.raises(InputError, match=r"other labels than the videos .* set train\.init_head=match or new"):
            first_weights.load(net, path, labels, "keep")
    (tmp_path / "a.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"becomes one by `python -m nonlocal_core\.import_weights`"):
        first_weights.load(net, tmp_path / "a.pth", LABELS, "keep")


def test_a_training_starts_from_a_file_and_its_key_holds_the_content(toy, tmp_path):
    workspace = toy.workspace(tmp_path / "w")
    settings = {**PLAIN, "train__epochs": 1, "train__batch_size": 8, "train__base_lr": 1e-12}
    config = small_config(**settings)
    file = saved(tmp_path / "a.safetensors", config)
    moved = tmp_path / "b.safetensors"
    shutil.copyfile(file, moved)

    def of(path):
        return small_config(**settings, train__init=str(path))

    assert len({stage.key(toy.cache, one, workspace) for one in (config, of(file))}) == 2
    assert stage.key(toy.cache, of(file), workspace) == stage.key(toy.cache, of(moved), workspace)
    made = stage.train(toy.cache, of(file), workspace)
    net, _ = checkpoint.load_network(workspace.path(made) / made.file)
    trained, expected = values(net), values(network(config, 1))
    for name, value in expected.items():
        if ".moving_" not in name:
            np.testing.assert_allclose(trained[name], value, atol=1e-9, err_msg=name)
    saved(moved, config, LABELS[::-1])
    assert stage.key(toy.cache, of(file), workspace) != stage.key(toy.cache, of(moved), workspace)
    with pytest.raises(InputError, match="other labels"):
        stage.train(toy.cache, of(moved), workspace)
    with pytest.raises(InputError, match=r"train\.init=.*missing: there is no file"):
        stage.find(toy.cache, of(tmp_path / "missing"), workspace)
