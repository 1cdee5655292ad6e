"""One training step: forward pass, gradients and update in a compiled graph, whose random draws are its inputs.

MindSpore's own dropout has a state that cannot be saved.  Here every random draw is a function of (seed, step).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from nonlocal_core.config.train import TrainConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader, sampling
from nonlocal_core.models import trunk
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.models.pairwise import keep_in_float32
from nonlocal_core.training import accumulation, optimizers
from nonlocal_core.training.collectives import ALONE, Ranks
from nonlocal_core.training.compiled import Graph
from nonlocal_core.training.loss_scale import LossScale


class Inputs(NamedTuple):
    """The inputs of one step."""

    clip_NCTHW: NDArray[np.generic]
    """clips (uint8) or, where features are kept, what the trunk gave for them (float32)"""
    label_N: NDArray[np.int32]
    keep_NC: NDArray[np.float32]
    """dropout: each feature's factor, 0 or 1 / (share that is kept)"""
    partner_N: NDArray[np.int32]
    """mixup: index, in the micro batch, of the clip that each clip is mixed with"""
    share: NDArray[np.float32]
    """mixup: the share that each clip keeps of itself (0.5…1)"""


Step = Callable[[Inputs], tuple[float, NDArray[np.float32]]]


def inputs(batch: loader.Batch, config: Config, step: int, ranks: Ranks = ALONE) -> Inputs:
    """The inputs of a step on one device: its part of the batch and of the random draws for the whole batch."""
    num_clips = len(batch.rows) * ranks.num_ranks
    partner_N, share = mixing(config.train, step, num_clips)
    keep_NC = dropout_mask(config, step, num_clips)
    return Inputs(batch.clip_NCTHW, batch.label_N, ranks.part(keep_NC), ranks.part(partner_N), share)


def dropout_mask(config: Config, step: int, num_clips: int) -> NDArray[np.float32]:
    """The dropout mask of one step's pooled features, already divided by the share that is kept.

    Shape:  (num_clips, channels of res5)
    """
    share_kept = 1.0 - config.model.dropout
    rng = sampling.generator(config.train.seed, step, "", "dropout")
    mask = rng.random((num_clips, config.model.num_features)) < share_kept
    return (mask / share_kept).astype(np.float32)


def mixing(train: TrainConfig, step: int, num_clips: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The partner that each clip of a step is mixed with, perhaps itself, and the share that the clip keeps.

    Shape:  (num_clips,) int32, indices within the micro batch; () float32 of 0.5…1.
    Source: Zhang et al. 2018, mixup: one share a batch, drawn from Beta(mixup, mixup).
    """
    micro = num_clips // train.num_parts
    if not train.mixup:
        return np.tile(np.arange(micro, dtype=np.int32), train.num_parts), np.array(1.0, np.float32)
    rng = sampling.generator(train.seed, step, "", "mixup")
    drawn = rng.beta(train.mixup, train.mixup)
    partners = [rng.permutation(micro) for _ in range(train.num_parts)]
    return np.concatenate(partners).astype(np.int32), np.array(max(drawn, 1 - drawn), np.float32)


def class_weights(train: TrainConfig, label_N: NDArray[np.int64], num_labels: int) -> NDArray[np.float32] | None:
    """The weight of each label's clips in the loss, by the labels of the train videos; None for no weights.

    inverse  N / (number of labels with videos * number of the label's videos), whose mean over the videos is 1

    Shape:  (num_labels,); 0 where a label has no video.
    """
    if train.class_weights == "none":
        return None
    num_K = np.bincount(label_N, minlength=num_labels)
    weights_K = len(label_N) / (np.count_nonzero(num_K) * np.maximum(num_K, 1))
    return np.where(num_K > 0, weights_K, 0.0).astype(np.float32)


def make_step(
    net: I3D,
    optimizer: nn.Optimizer,
    train: TrainConfig,
    ranks: Ranks = ALONE,
    weights_K: NDArray[np.float32] | None = None,
    last: str = "",
    loss_scale: LossScale | None = None,
) -> Step:
    """A function that takes one step and returns its loss and logits for this device's part of the batch.

    Its input are clips or, where features are kept, what the trunk up to `last` gave.  With `weights_K`, a clip's
    loss is multiplied by the weight of its label.
    It is one graph.  With micro batches there are two: one adds up gradients, one updates.  With several devices,
    each updates with the mean of all their gradients.  In fp16 a third graph looks at the gradients in between:
    where they overflow on any device, no device updates, and `loss_scale` counts that.
    """
    optimizers.set_training(net, train.freeze)
    num_ranks = ranks.num_ranks
    gradients = ms.value_and_grad(_forward(net, train, weights_K, last), None, optimizer.parameters, has_aux=True)
    reduce_mean: Any = nn.DistributedGradReducer(optimizer.parameters, True, num_ranks) if num_ranks > 1 else None
    num_parts = train.num_parts // num_ranks

    def update(grads: Any) -> Tensor:
        if num_ranks > 1:
            grads = reduce_mean(grads)
        if train.clip_norm:
            grads = accumulation.clipped(grads, train.clip_norm)
        return optimizer(grads)

    identity = (net.model, train, last)
    if train.precision == "fp16" or num_parts > 1:
        sums = accumulation.make_sums(gradients, update, optimizer.parameters, identity)
        overflow = accumulation.Overflow(loss_scale or LossScale(), ranks) if train.precision == "fp16" else None
        return accumulation.accumulating(sums, num_parts, overflow)

    def whole(clip: Tensor, label: Tensor, keep: Tensor, partner: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        (loss, logits_NK), grads = gradients(clip, label, keep, partner, share)
        return ops.depend(loss, update(grads)), logits_NK

    compiled = Graph(whole, "the training step", *identity)

    def take_step(step_inputs: Inputs) -> tuple[float, NDArray[np.float32]]:
        loss, logits_NK = compiled.run(*(Tensor(array) for array in step_inputs))
        return float(loss.asnumpy()), logits_NK.asnumpy()

    return take_step


def _loss(smoothing: float, weights_K: NDArray[np.float32] | None) -> Callable[[Tensor, Tensor], Tensor]:
    weights = None if weights_K is None else Tensor(weights_K)

    def loss_of(logits_NK: Tensor, label_N: Tensor) -> Tensor:
        if weights is None:
            return ops.cross_entropy(logits_NK, label_N, label_smoothing=smoothing)
        # Not divided by the weights of the batch: micro batches and devices would count unequally.
        loss_N = ops.cross_entropy(logits_NK, label_N, reduction="none", label_smoothing=smoothing)
        return (loss_N * ops.gather(weights, label_N, 0)).mean()

    return loss_of


def _forward(
    net: I3D, train: TrainConfig, weights_K: NDArray[np.float32] | None, last: str
) -> Callable[..., tuple[Tensor, Tensor]]:
    """The loss and the logits of clips; in fp16 of one more input, the factor that the loss is multiplied by.

    In half precision, convolutions and matrix products take half precision.  MindSpore keeps BN and the loss in
    float32, and here so stays what a non-local block computes of all pairs of positions.
    """
    features, loss_of = trunk.features(net, last), _loss(train.label_smoothing, weights_K)

    def plain(
        clip_NCTHW: Tensor, label_N: Tensor, keep_NC: Tensor, partner_N: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        features_NC = features(clip_NCTHW) * keep_NC
        logits_NK = net.classify(features_NC)
        return loss_of(logits_NK, label_N), logits_NK

    def mixed(
        clip_NCTHW: Tensor, label_N: Tensor, keep_NC: Tensor, partner_N: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        x_NCTHW = normalise(clip_NCTHW, net.model)
        x_NCTHW = share * x_NCTHW + (1.0 - share) * x_NCTHW[partner_N]
        logits_NK = net.classify(net.features(x_NCTHW) * keep_NC)
        loss = share * loss_of(logits_NK, label_N) + (1.0 - share) * loss_of(logits_NK, label_N[partner_N])
        return loss, logits_NK

    forward = mixed if train.mixup else plain
    if train.precision == "fp32":
        return forward
    keep_in_float32(net)
    dtype = ms.float16 if train.precision == "fp16" else ms.bfloat16
    automatic: Callable[..., tuple[Tensor, Tensor]] = ms.amp.auto_mixed_precision(forward, "auto", dtype)
    if train.precision == "bf16":  # it has the range of float32
        return automatic

    def scaled(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        loss, logits_NK = automatic(*arguments[:-1])
        return loss * arguments[-1], logits_NK

    return scaled
