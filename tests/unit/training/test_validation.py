from __future__ import annotations

from threading import Event
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn
from small import small_config

from nonlocal_core.data import loader, sampling
from nonlocal_core.data.records.reader import RecordReader
from nonlocal_core.data.timing import whole
from nonlocal_core.models import checkpoint
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.training.step_checkpoint import State
from nonlocal_core.training.validation import Validator
from nonlocal_core.training.videos import Videos


@pytest.fixture(scope="module")
def videos(toy, tmp_path_factory):
    reader = RecordReader(toy.workspace(tmp_path_factory.mktemp("judge")), toy.cache)
    return Videos(reader, loader.readable_rows(reader, "train"), loader.readable_rows(reader, "val"))


def network(config, seed):
    """A network whose classifier and norms matter."""
    ms.set_seed(seed)
    net = I3D(config.model, 4)
    rng = np.random.default_rng(seed)
    for parameter in net.get_parameters():
        if parameter.name.endswith(("gamma", "beta", "moving_mean", "moving_variance", "fc.weight")):
            parameter.set_data(ms.Tensor(rng.uniform(0.2, 1.0, parameter.shape).astype(np.float32)))
    return net


def test_a_validation_is_of_the_middle_clip_and_the_centre_crop_with_the_weights_that_are_given(videos):
    config = small_config(train__batch_size=3)  # 4 videos: one batch and one that is filled up
    validator = Validator(videos, 4, config)
    for seed in (1, 2):  # the second one shows that other weights are really used
        net = network(config, seed)
        found = validator.validate(checkpoint.weights_of_network(net), 7, Event())
        net.set_train(False)
        losses, ranks = [], []
        for row in videos.val_rows:
            num_frames = int(videos.reader.rows["num_frames"].iloc[row])
            frames = np.stack(
                videos.reader.frames(row, sampling.test_indices(whole(num_frames), config.clip, 1, "spread")[0])
            )
            top, left = (np.array(frames.shape[1:3]) - 32) // 2
            clip = frames[:, top : top + 32, left : left + 32].transpose(3, 0, 1, 2)[None]
            logits = net(normalise(ms.Tensor(clip), net.model)).asnumpy()[0].astype(np.float64)
            label = int(videos.reader.rows["label_id"].iloc[row])
            losses.append(np.log(np.exp(logits).sum()) - logits[label])
            ranks.append((logits >= logits[label]).sum())
        assert len(set(np.round(losses, 4))) > 1
        assert found.loss == pytest.approx(np.mean(losses), rel=1e-4)
        assert found.top1 == np.mean(np.array(ranks) == 1)
        assert found.step == 7
    stop = Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        validator.validate(checkpoint.weights_of_network(net), 7, stop)


def test_precise_bn_is_the_mean_and_variance_over_the_batches(videos):
    """The stem sees the clips themselves: what comes out of its convolution can be measured."""
    config = small_config(train__precise_bn_batches=5, train__freeze="none")  # 4 batches an epoch
    net = network(config, 3)
    state = State(net, nn.SGD(list(net.trainable_params())))
    validator = Validator(videos, 4, config)
    weights: dict[str, Any] = validator.weights(state, epoch=2)
    batches = [
        *loader.train_batches(videos.reader, videos.train_rows, config, 2, 0),
        next(iter(loader.train_batches(videos.reader, videos.train_rows, config, 3, 0))),
    ]
    outputs = [net.stem.conv(normalise(ms.Tensor(batch.clip_NCTHW), net.model)).asnumpy() for batch in batches]
    together = np.concatenate(outputs).astype(np.float64)
    np.testing.assert_allclose(weights["stem.norm.moving_mean"], together.mean((0, 2, 3, 4)), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(weights["stem.norm.moving_variance"], together.var((0, 2, 3, 4)), rtol=1e-3)
    before = checkpoint.weights_of_network(net)
    changed = {name for name in before if not np.array_equal(weights[name], before[name])}
    assert changed == {name for name in before if ".moving_" in name}
    again = validator.weights(state, epoch=2)
    assert all(np.array_equal(again[name], weights[name]) for name in weights)
    assert not np.array_equal(
        validator.weights(state, epoch=1)["stem.norm.moving_mean"], weights["stem.norm.moving_mean"]
    )


def test_precise_bn_leaves_frozen_parts_alone(videos):
    config = small_config(train__precise_bn_batches=1, train__freeze="res3")
    net = network(config, 3)
    weights = Validator(videos, 4, config).weights(State(net, nn.SGD(list(net.trainable_params()))), epoch=0)
    before = checkpoint.weights_of_network(net)
    changed = {name.split(".")[0] for name in before if not np.array_equal(weights[name], before[name])}
    assert changed == {"res4", "res5"}
