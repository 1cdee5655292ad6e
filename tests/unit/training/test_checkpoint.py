from __future__ import annotations

import json
import logging
import os
import shutil

import mindspore as ms
import numpy as np
import pytest
import safetensors
from small import small_config

from nonlocal_core.errors import DamagedError
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training import checkpoint, loop

LABELS = ("falls", "ä | b", "rises")
CONFIG = small_config(model__nl_res3=(0,))
DESCRIBED = checkpoint.Description(
    step=7,
    labels=LABELS,
    model=CONFIG.model,
    clip=CONFIG.clip,
    cache=CONFIG.cache,
    train=CONFIG.train,
    cache_digest="c",
    manifest_digest="m",
)


def network(seed, config=CONFIG):
    """A network and optimizer with something in every tensor."""
    ms.set_seed(seed)
    net = I3D(config.model, len(LABELS))
    optimizer = loop.make_optimizer(net, np.ones(10, np.float32), config)
    rng = np.random.default_rng(seed)
    for parameter in [*net.get_parameters(), *optimizer.moments]:
        parameter.set_data(ms.Tensor(rng.normal(size=parameter.shape).astype(np.float32)))
    optimizer.global_step.set_data(ms.Tensor([seed], ms.int32))
    return net, optimizer


def state(net, optimizer):
    parameters = [*net.get_parameters(), *optimizer.moments, optimizer.global_step]
    return {parameter.name: parameter.asnumpy() for parameter in parameters}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = checkpoint.step_path(tmp_path_factory.mktemp("saved"), 7)
    checkpoint.save(path, *network(1), DESCRIBED)
    return path


@pytest.fixture
def path(saved, tmp_path):
    return shutil.copyfile(saved, tmp_path / saved.name)


def test_what_comes_back_is_what_was_saved_bit_for_bit(path):
    expected, (net, optimizer) = state(*network(1)), network(2)
    described = checkpoint.restore(path, net, optimizer)
    found = state(net, optimizer)
    assert found.keys() == expected.keys()
    assert len([name for name in found if name.startswith("moments.")]) == len(list(net.trainable_params()))
    assert found["global_step"] == 1
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
    assert described.model_copy(update={"weights_digest": "", "content_digest": ""}) == DESCRIBED


def test_a_network_is_built_from_the_file_alone(path):
    net, described = checkpoint.load_network(path)
    assert (described.labels, described.model, net.training) == (LABELS, CONFIG.model, False)
    expected = state(*network(1))
    for name, parameter in net.parameters_and_names():
        assert parameter.asnumpy().tobytes() == expected[name].tobytes()


def test_the_file_says_what_it_is_to_anyone(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        said = json.loads(file.metadata()["description"])
        names = list(file.keys())
    assert (said["labels"], said["step"], said["model"]["width"]) == (list(LABELS), 7, 2)
    assert "res3.nl0.theta.weight" in names
    assert "optimizer/global_step" in names


def test_the_same_weights_have_the_same_digest_whatever_the_optimizer_holds(tmp_path):
    net, optimizer = network(1)
    first = checkpoint.save(tmp_path / "a", net, optimizer, DESCRIBED)
    optimizer.global_step.set_data(ms.Tensor([99], ms.int32))
    second = checkpoint.save(tmp_path / "b", net, optimizer, DESCRIBED)
    assert first.weights_digest == second.weights_digest
    assert first.content_digest != second.content_digest
    assert checkpoint.save(tmp_path / "c", *network(2), DESCRIBED).weights_digest != first.weights_digest
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_damaged(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedError, match=f"{path.name} is not a whole checkpoint"):
        checkpoint.read(path)


def test_one_flipped_byte_anywhere_is_damage(path):
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    places = [*rng.integers(0, header, 150), *rng.integers(header, len(content), 50), len(content) - 1]
    for place in places:
        broken = bytearray(content)
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(DamagedError, match=str(path.name)):
            checkpoint.read(path)


def test_a_file_that_is_no_checkpoint_is_damaged(tmp_path):
    with pytest.raises(DamagedError):
        checkpoint.read(tmp_path / "missing")
    (tmp_path / "text").write_text("<html>429</html>" * 100)
    with pytest.raises(DamagedError):
        checkpoint.read(tmp_path / "text")


def test_the_newest_whole_checkpoint_is_taken(saved, tmp_path, caplog):
    assert checkpoint.latest(tmp_path) is None
    for step in (5, 9, 10, 100):
        shutil.copyfile(saved, checkpoint.step_path(tmp_path, step))
    checkpoint.step_path(tmp_path, 200).with_suffix(".safetensors.tmp123").write_bytes(b"being written")
    assert checkpoint.latest(tmp_path) == checkpoint.step_path(tmp_path, 100)
    checkpoint.step_path(tmp_path, 100).write_bytes(saved.read_bytes()[:-1])
    checkpoint.step_path(tmp_path, 10).write_bytes(b"")
    caplog.set_level(logging.WARNING)
    assert checkpoint.latest(tmp_path) == checkpoint.step_path(tmp_path, 9)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "step-00000100.safetensors is not a whole checkpoint; taking the one before" in caplog.text


def test_old_checkpoints_go(saved, tmp_path):
    for step in (5, 9, 10, 100):
        shutil.copyfile(saved, checkpoint.step_path(tmp_path, step))
    checkpoint.keep_last(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == ["step-00000010.safetensors", "step-00000100.safetensors"]


@pytest.mark.parametrize(
    ("overrides", "tensor"),
    [({"model__nl_res3": ()}, "res3.nl0.g.bias"), ({"model__nl_res3": (0,), "model__width": 3}, "head.fc.weight")],
)
def test_a_network_that_does_not_fit_names_the_tensors(path, overrides, tensor):
    with pytest.raises(DamagedError, match="does not fit the network") as caught:
        checkpoint.restore(path, *network(2, small_config(**overrides)))
    names = str(caught.value).partition("network: ")[2].split(", ")
    assert 1 <= len(names) <= 5
    assert names == sorted(names)
    assert tensor in names
