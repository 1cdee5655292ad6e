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

from nonlocal_core.errors import DamagedError, InputError
from nonlocal_core.models import checkpoint, mindspore_engine
from nonlocal_core.models.checkpoint import Validation
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training import optimizers, step_checkpoint
from nonlocal_core.training.averages import make_average
from nonlocal_core.training.step_checkpoint import State

LABELS = ("falls", "ä | b", "rises")
CONFIG = small_config(model__nl_res3=(0,), train__ema=0.9)
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


def drawn(seed, config=CONFIG):
    """A network, its optimizer and average, with something in every tensor."""
    ms.set_seed(seed)
    net = I3D(config.model, len(LABELS))
    optimizer = optimizers.make_optimizer(net, np.ones(10, np.float32), config.train)
    average = make_average(net, config.train.ema).parameters
    rng = np.random.default_rng(seed)
    for parameter in [*net.get_parameters(), *optimizer.moments, *average]:
        parameter.set_data(ms.Tensor(rng.normal(size=parameter.shape).astype(np.float32)))
    optimizer.global_step.set_data(ms.Tensor([seed], ms.int32))
    return State(net, optimizer, average)


def values(state):
    parameters = [
        *state.net.get_parameters(),
        *state.optimizer.moments,
        state.optimizer.global_step,
        *state.average,
    ]
    return {parameter.name: parameter.asnumpy() for parameter in parameters}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = step_checkpoint.step_path(tmp_path_factory.mktemp("saved"), 7)
    step_checkpoint.save(path, drawn(1), DESCRIBED)
    return path


@pytest.fixture
def path(saved, tmp_path):
    return shutil.copyfile(saved, tmp_path / saved.name)


def test_what_comes_back_is_what_was_saved_bit_for_bit(path):
    expected, other = values(drawn(1)), drawn(2)
    described = step_checkpoint.restore(path, other)
    found = values(other)
    assert found.keys() == expected.keys()
    assert len([name for name in found if name.startswith("moments.")]) == len(list(other.net.trainable_params()))
    assert len([name for name in found if name.startswith("ema.")]) == len(list(other.net.get_parameters()))
    assert found["global_step"] == 1
    for name, array in expected.items():
        assert array.tobytes() == found[name].tobytes(), name
    assert described.model_copy(update={"weights_digest": "", "content_digest": ""}) == DESCRIBED


def test_a_network_is_built_from_the_file_alone(path):
    net, described = checkpoint.load_network(path)
    assert (described.labels, described.model, net.training) == (LABELS, CONFIG.model, False)
    expected = values(drawn(1))
    for name, parameter in net.parameters_and_names():
        assert parameter.asnumpy().tobytes() == expected[f"ema.{name}"].tobytes()


def test_without_an_average_the_weights_are_the_networks(tmp_path):
    state = drawn(1)._replace(average=())
    step_checkpoint.save(tmp_path / "a", state, DESCRIBED)
    net, _ = checkpoint.load_network(tmp_path / "a")
    for name, parameter in net.parameters_and_names():
        assert parameter.asnumpy().tobytes() == values(state)[name].tobytes()


def test_the_file_says_what_it_is_to_anyone(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        said = json.loads(file.metadata()["description"])
        names = list(file.keys())
    assert (said["labels"], said["step"], said["model"]["width"]) == (list(LABELS), 7, 2)
    assert "res3.nl0.theta.weight" in names
    assert "optimizer/global_step" in names
    assert "average/res3.nl0.theta.weight" in names


def test_the_same_weights_have_the_same_digest_whatever_the_optimizer_holds(tmp_path):
    state = drawn(1)
    first = step_checkpoint.save(tmp_path / "a", state, DESCRIBED)
    state.optimizer.global_step.set_data(ms.Tensor([99], ms.int32))
    second = step_checkpoint.save(tmp_path / "b", state, DESCRIBED)
    assert first.weights_digest == second.weights_digest
    assert first.content_digest != second.content_digest
    assert step_checkpoint.save(tmp_path / "c", drawn(2), DESCRIBED).weights_digest != first.weights_digest
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_damaged(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedError, match=f"{path.name} is not a whole checkpoint"):
        checkpoint.read(path)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path, monkeypatch, number):
    state = drawn(1)
    weight = state.net.head.fc.weight
    array = weight.asnumpy().copy()
    array[0, 0] = number
    weight.set_data(ms.Tensor(array))
    with pytest.raises(InputError, match=r"numbers are not finite in head\.fc\.weight: a is not written"):
        step_checkpoint.save(tmp_path / "a", state, DESCRIBED)
    assert not list(tmp_path.iterdir())
    with monkeypatch.context() as before:  # as the version before wrote it
        before.setattr(checkpoint, "not_finite", lambda tensors: [])
        step_checkpoint.save(tmp_path / "a", state, DESCRIBED)
    with pytest.raises(DamagedError, match=r"a cannot be used: numbers are not finite in head\.fc\.weight"):
        checkpoint.read(tmp_path / "a")
    with pytest.raises(InputError, match="numbers are not finite"):
        checkpoint.read_user_file(tmp_path / "a", "train.init")


@pytest.mark.parametrize(
    "larger",
    [{"width": 100_000}, {"stage_blocks": (1, 1, 1, 101)}, {"labels": tuple(map(str, range(100_000)))}],
    ids=str,
)
def test_a_small_file_makes_no_large_network(tmp_path, larger):
    """Its digest is right: whoever writes a file can compute one."""
    labels = larger.pop("labels", LABELS)
    model = CONFIG.model.model_copy(update=larger)
    weights = {name: array for name, array in values(drawn(1)).items() if "/" not in name}
    described = DESCRIBED.model_copy(update={"model": model, "labels": labels})
    checkpoint.save_weights(tmp_path / "a", weights, described)
    with pytest.raises(DamagedError, match="describes a network that is larger than the file"):
        checkpoint.load_network(tmp_path / "a")
    with pytest.raises(DamagedError, match="describes a network that is larger than the file"):
        mindspore_engine.network(model, len(labels), weights, tmp_path / "a")


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
    assert step_checkpoint.latest(tmp_path) is None
    for step in (5, 9, 10, 100):
        shutil.copyfile(saved, step_checkpoint.step_path(tmp_path, step))
    step_checkpoint.step_path(tmp_path, 200).with_suffix(".safetensors.tmp123").write_bytes(b"being written")
    assert step_checkpoint.latest(tmp_path) == step_checkpoint.step_path(tmp_path, 100)
    step_checkpoint.step_path(tmp_path, 100).write_bytes(saved.read_bytes()[:-1])
    step_checkpoint.step_path(tmp_path, 10).write_bytes(b"")
    flipped = bytearray(saved.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    step_checkpoint.step_path(tmp_path, 9).write_bytes(flipped)
    caplog.set_level(logging.WARNING)
    assert step_checkpoint.latest(tmp_path) == step_checkpoint.step_path(tmp_path, 5)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert "step-00000100.safetensors is not a whole checkpoint; taking the one before" in caplog.text


def test_a_checkpoint_whose_best_weights_are_damaged_is_passed_over(saved, tmp_path, caplog):
    state = drawn(1)
    first, second = Validation(step=4, top1=0.5, loss=1.0), Validation(step=8, top1=0.75, loss=1.0)
    for step, validations in ((4, (first,)), (8, (first, second)), (9, (first, second))):
        described = DESCRIBED.model_copy(update={"step": step, "validations": validations})
        step_checkpoint.save(step_checkpoint.step_path(tmp_path, step), state, described)
        shutil.copyfile(saved, step_checkpoint.best_path(tmp_path, step))
    assert step_checkpoint.latest(tmp_path) == step_checkpoint.step_path(tmp_path, 9)
    step_checkpoint.best_path(tmp_path, 8).write_bytes(b"")
    assert step_checkpoint.latest(tmp_path) == step_checkpoint.step_path(tmp_path, 4)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_the_first_of_equal_validations_is_the_best():
    validations = [Validation(step=step, top1=top1, loss=0.0) for step, top1 in ((1, 0.2), (2, 0.6), (3, 0.6))]
    assert step_checkpoint.best(validations) == validations[1]
    assert step_checkpoint.best([]) is None


def test_old_checkpoints_go_but_those_that_are_kept_for_good_and_the_newest_best(saved, tmp_path):
    for step in (5, 9, 10, 100):
        shutil.copyfile(saved, step_checkpoint.step_path(tmp_path, step))
        shutil.copyfile(saved, step_checkpoint.best_path(tmp_path, step))
    step_checkpoint.keep_last(tmp_path, 2, 3, lambda step: step == 5)
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {step_checkpoint.step_path(tmp_path, step).name for step in (5, 10, 100)} | {
        step_checkpoint.best_path(tmp_path, step).name for step in (9, 10, 100)
    }
    step_checkpoint.keep_last(tmp_path, 0, 1, lambda step: False)
    assert {path.name for path in tmp_path.iterdir()} == {"best-00000100.safetensors"}


@pytest.mark.parametrize(
    ("overrides", "tensor"),
    [({"model__nl_res3": ()}, "res3.nl0.g.bias"), ({"model__nl_res3": (0,), "model__width": 3}, "head.fc.weight")],
)
def test_a_network_that_does_not_fit_names_the_tensors(path, overrides, tensor):
    with pytest.raises(DamagedError, match="does not fit the network") as caught:
        step_checkpoint.restore(path, drawn(2, small_config(**overrides, train__ema=0.9)))
    names = str(caught.value).partition("network: ")[2].split(", ")
    assert 1 <= len(names) <= 5
    assert names == sorted(names)
    assert tensor in names
