from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from small import PLAIN, small_config

from nonlocal_core.errors import ConfigError
from nonlocal_core.models import device
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.training import optimizers
from nonlocal_core.training.averages import make_average
from nonlocal_core.training.step import Inputs, class_weights, dropout_mask, make_step, mixing

SETTINGS = {**PLAIN, "model__nl_res3": (0,)}


def network(**overrides):
    """A small I3D with a non-local block in which every parameter matters, and its settings."""
    config = small_config(**{**SETTINGS, **overrides})
    ms.set_seed(3)
    net = I3D(config.model, 4)
    for parameter in net.trainable_params():  # the last norms begin at 0 and would hide the rest
        if parameter.name.endswith("gamma"):
            parameter.set_data(ms.ops.ones_like(parameter))
    return net, config


def drawn(config, num_clips, step=0):
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (num_clips, 3, 4, 32, 32)).astype(np.uint8)
    label = rng.integers(0, 4, num_clips).astype(np.int32)
    return Inputs(clip, label, dropout_mask(config, step, num_clips), *mixing(config.train, step, num_clips))


def values(net):
    return {parameter.name: parameter.asnumpy().astype(np.float64) for parameter in net.get_parameters()}


def stepper(net, config, rates=(0.01, 0.02, 0.005), weights_K=None, compiled=True):
    """A function that takes a step as a training does, compiled or operator by operator."""
    device.use(config.runtime, compiled)
    optimizer = optimizers.make_optimizer(net, np.array(rates, np.float32), config.train)
    return make_step(net, optimizer, config.train, weights_K=weights_K)


@pytest.fixture(scope="module")
def one_step():
    """A network, the function that gives its gradients, and a batch."""
    net, config = network()
    net.set_train(True)
    batch = drawn(config, 2)

    def forward(clip, label, keep):
        return ops.cross_entropy(net.classify(net.features(normalise(clip, net.model)) * keep), label)

    gradients = ms.grad(forward, None, net.trainable_params())
    return net, lambda: gradients(*(ms.Tensor(array) for array in batch[:3])), batch


RATES = np.array([0.01, 0.02, 0.005], np.float32)
SGD = {"train__weight_decay": 0.1, "train__momentum": 0.8}


def check_sgd(net, config, take_step, slopes_of):
    """Whether each of three steps is that of the formulas; `slopes_of` gives the gradients before a step."""
    parameters = list(net.trainable_params())
    norms = {p.name for p in parameters if p.name.endswith((".gamma", ".beta"))}
    kernels = {p.name for p in parameters if p.name.endswith("weight")}
    biases = {p.name for p in parameters} - norms - kernels
    assert norms
    assert biases
    decays = {"kernels": kernels, "not_norms": kernels | biases, "all": kernels | biases | norms}[
        config.train.decayed
    ]
    weights = [parameter.asnumpy().astype(np.float64) for parameter in parameters]
    speeds = [np.zeros_like(weight) for weight in weights]
    for rate in RATES:
        slopes = slopes_of()
        take_step()
        for i, (parameter, slope) in enumerate(zip(parameters, slopes, strict=True)):
            slope = slope + (0.1 * weights[i] if parameter.name in decays else 0.0)
            speeds[i] = 0.8 * speeds[i] + slope
            weights[i] -= rate * (slope + 0.8 * speeds[i] if config.train.nesterov else speeds[i])
            np.testing.assert_allclose(
                parameter.asnumpy(), weights[i], rtol=1e-4, atol=1e-5, err_msg=parameter.name
            )
            weights[i] = parameter.asnumpy().astype(np.float64)


@pytest.mark.parametrize(("nesterov", "decayed", "clip_norm"), [(True, "kernels", 0.0), (False, "all", 0.7)])
def test_steps_are_sgd_with_momentum_decay_and_clipping(one_step, nesterov, decayed, clip_norm):
    net, gradients, batch = one_step
    config = small_config(**SGD, train__nesterov=nesterov, train__decayed=decayed, train__clip_norm=clip_norm)
    take_step = stepper(net, config, RATES, compiled=not clip_norm)

    def slopes_of():
        slopes = [slope.asnumpy().astype(np.float64) for slope in gradients()]
        norm = np.sqrt(sum((slope**2).sum() for slope in slopes))
        if not clip_norm:
            return slopes
        assert norm > clip_norm  # it is clipped
        return [slope * clip_norm / norm for slope in slopes]

    check_sgd(net, config, lambda: take_step(batch), slopes_of)


def test_norms_alone_may_not_decay():
    """Of any gradients, which no network has to be compiled for."""
    net, config = network(**SGD, train__decayed="not_norms")
    optimizer = optimizers.make_optimizer(net, RATES, config.train)
    rng = np.random.default_rng(0)
    slopes = [rng.normal(size=parameter.shape).astype(np.float32) for parameter in net.trainable_params()]
    check_sgd(net, config, lambda: optimizer(tuple(map(ms.Tensor, slopes))), lambda: slopes)


def test_micro_batches_take_the_step_of_the_whole_batch():
    """Where BN does not look at the batch: its statistics are frozen here."""
    found = []
    for micro_batch in (0, 2):
        net, config = network(
            model__norm="frozen",
            model__nl_res3=(),
            train__batch_size=6,
            train__micro_batch=micro_batch,
            train__clip_norm=0.5,
        )
        take_step = stepper(net, config, [0.1, 0.1, 0.1], compiled=bool(micro_batch))
        first = values(net)
        batch = drawn(config, 6)
        losses = [take_step(batch)[0] for _ in range(2)]
        logits_NK = take_step(batch)[1]
        found.append((losses, logits_NK, values(net)))
    (losses, logits, whole), (other_losses, other_logits, parts) = found
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    np.testing.assert_allclose(logits, other_logits, rtol=1e-4, atol=1e-5)
    moved = {name for name in whole if np.abs(whole[name] - first[name]).max() > 1e-3}
    assert {"stem.conv.weight", "res5.0.b.conv.weight", "head.fc.weight"} <= moved
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_average_follows_weights_and_statistics():
    net, config = network(train__ema=0.25, model__nl_res3=())
    average = make_average(net, config.train.ema)
    assert {parameter.name for parameter in average.parameters} == {f"ema.{name}" for name in values(net)}
    expected, rng = values(net), np.random.default_rng(0)
    for step, decay in enumerate((0.1, 2 / 11, 0.25, 0.25)):
        for parameter in net.get_parameters():
            ops.assign(parameter, ms.Tensor(rng.normal(size=parameter.shape).astype(np.float32)))
        average.take(step)
        for name, value in values(net).items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for parameter in average.parameters:
        name = parameter.name.removeprefix("ema.")
        np.testing.assert_allclose(parameter.asnumpy(), expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert make_average(net, 0.0).parameters == ()


def log_softmax(logits_NK):
    logits_NK = logits_NK.astype(np.float64)
    return logits_NK - np.log(np.exp(logits_NK).sum(1, keepdims=True))


def test_the_loss_is_that_of_mixed_clips_and_smoothed_labels():
    net, config = network(
        model__norm="frozen",
        model__nl_res3=(),
        train__mixup=0.4,
        train__label_smoothing=0.2,
        train__batch_size=4,
    )
    net.head.fc.weight.set_data(net.head.fc.weight * 100)
    batch = drawn(config, 4, step=5)
    partner, share = batch.partner_N, float(batch.share)
    assert sorted(partner) == [0, 1, 2, 3]
    assert 0.5 <= share <= 1
    assert (partner != np.arange(4)).any()
    mean, std = (
        np.reshape(values, (1, 3, 1, 1, 1)) for values in (config.model.input_mean, config.model.input_std)
    )
    clip = (batch.clip_NCTHW - mean) / std
    mixed = ms.Tensor((share * clip + (1 - share) * clip[partner]).astype(np.float32))
    features = net.features(mixed).asnumpy() * batch.keep_NC
    expected_logits = net.classify(ms.Tensor(features)).asnumpy()
    loss, logits = stepper(net, config)(batch)
    np.testing.assert_allclose(logits, expected_logits, rtol=1e-3, atol=1e-3)
    one_hot = np.eye(4)[batch.label_N]
    target = share * one_hot + (1 - share) * one_hot[partner]
    target = 0.8 * target + 0.2 / 4
    assert loss == pytest.approx(-(target * log_softmax(logits)).sum(1).mean(), rel=1e-5)


def test_class_weights_have_a_mean_of_1_over_the_train_videos():
    label_N = np.array([0] * 6 + [2] * 3 + [3])
    train = small_config(train__class_weights="inverse").train
    weights_K = class_weights(train, label_N, 5)
    assert weights_K is not None
    assert weights_K.tolist() == pytest.approx([10 / 18, 0, 10 / 9, 10 / 3, 0])
    assert weights_K[label_N].mean() == pytest.approx(1)
    assert class_weights(small_config().train, label_N, 5) is None
    with pytest.raises(ConfigError, match=r"train\.balance and train\.class_weights both make up for rare labels"):
        small_config(train__class_weights="inverse", train__balance=0.5)


@pytest.mark.parametrize(("smoothing", "compiled"), [(0.0, False), (0.2, True)])
def test_class_weights_multiply_the_loss_of_each_clip_and_its_gradient(smoothing, compiled):
    """In two micro batches: dividing by the weights of each would give another loss and another step."""
    weights_K = np.array([0.5, 2.0, 0.25, 4.0], np.float32)
    net, config = network(
        model__norm="frozen", model__nl_res3=(), model__dropout=0.0, train__label_smoothing=smoothing,
        train__batch_size=6, train__micro_batch=3, train__momentum=0.0, train__weight_decay=0.0,
    )  # fmt: skip
    net.head.fc.weight.set_data(net.head.fc.weight * 100)
    before, batch = net.head.fc.bias.asnumpy().astype(np.float64), drawn(config, 6)
    assert len(set(batch.label_N[:3])) > 1
    loss, logits = stepper(net, config, [0.1], weights_K, compiled)(batch)
    target = (1 - smoothing) * np.eye(4)[batch.label_N] + smoothing / 4
    weight_N1 = weights_K[batch.label_N, None].astype(np.float64)
    assert loss == pytest.approx(-(weight_N1 * target * log_softmax(logits)).sum(1).mean(), rel=1e-5)
    slope = (weight_N1 * (np.exp(log_softmax(logits)) - target)).mean(0)
    np.testing.assert_allclose(net.head.fc.bias.asnumpy(), before - 0.1 * slope, rtol=1e-4, atol=1e-6)


def test_what_is_drawn_for_mixup_is_a_function_of_seed_and_step_and_stays_in_its_micro_batch():
    train = small_config(train__mixup=0.4, train__batch_size=6, train__micro_batch=3).train
    drawn = [mixing(train, step, 6) for step in range(200)]
    again = [mixing(train, step, 6) for step in range(200)]
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(drawn, again, strict=True))
    assert len({tuple(partner) for partner, _ in drawn}) > 20
    assert all(sorted(half) == [0, 1, 2] for partner, _ in drawn for half in np.split(partner, 2))
    shares = np.array([share for _, share in drawn])
    assert shares.min() >= 0.5
    x = np.random.default_rng(1).beta(0.4, 0.4, 100_000)
    assert shares.mean() == pytest.approx(np.maximum(x, 1 - x).mean(), abs=0.03)
    other = small_config(train__mixup=0.4, train__batch_size=6, train__micro_batch=3, train__seed=1).train
    assert any((mixing(other, step, 6)[0] != drawn[step][0]).any() for step in range(5))
    partner, share = mixing(small_config(train__batch_size=6).train, 3, 6)
    assert (partner.tolist(), float(share)) == ([0, 1, 2, 3, 4, 5], 1.0)


def test_the_dropout_mask_is_a_function_of_seed_and_step():
    config = small_config(model__width=64, model__dropout=0.3)
    mask = dropout_mask(config, 5, 16)
    assert (mask.shape, mask.dtype) == ((16, 2048), np.float32)
    assert np.array_equal(mask, dropout_mask(config, 5, 16))
    assert not np.array_equal(mask, dropout_mask(config, 6, 16))
    assert not np.array_equal(mask, dropout_mask(small_config(model__width=64, train__seed=1), 5, 16))
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.7)}
    assert mask.mean() == pytest.approx(1, abs=0.02)
    assert (dropout_mask(small_config(model__dropout=0), 5, 2) == 1).all()


def test_half_precision_computes_nearly_the_same_and_keeps_the_weights_whole():
    """CPUs are refused by the loop because they gain nothing; the graph is the same."""
    net, config = network(train__precision="fp16", model__nl_res3=())
    batch = drawn(config, 2)
    net.set_train(True)
    before, statistics = values(net), [p for p in net.get_parameters() if ".moving_" in p.name]
    features = net.features(normalise(ms.Tensor(batch.clip_NCTHW), net.model)).asnumpy() * batch.keep_NC
    logits = net.classify(ms.Tensor(features)).asnumpy()
    expected = -log_softmax(logits)[np.arange(2), batch.label_N].mean()
    loss, _ = stepper(net, config)(batch)
    assert loss == pytest.approx(expected, abs=2e-3)
    assert loss != pytest.approx(expected, abs=1e-9)
    assert {parameter.dtype for parameter in net.get_parameters()} == {ms.float32}
    assert statistics
    moved = {name for name, value in values(net).items() if np.abs(value - before[name]).max() > 0}
    assert {"stem.conv.weight", "head.fc.weight"} <= moved
