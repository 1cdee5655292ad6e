"""One step: forward, gradients, update, compiled; and what it draws at random, outside of the graph.

MindSpore's own dropout has a state that cannot be saved.  Here everything drawn is a function of (seed, step) and
an input of the graph.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from numpy.typing import NDArray

from nonlocal_core.config.train import TrainConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader, sampling
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.training import optimizers
from nonlocal_core.training.collectives import ALONE, Ranks

FP16_LOSS_SCALE = 1024.0
"""the loss is multiplied by it and the gradients are divided by it, so that small ones are not lost in fp16"""


class Inputs(NamedTuple):
    """What one step takes."""

    clip_NCTHW: NDArray[np.uint8]
    label_N: NDArray[np.int32]
    keep_NC: NDArray[np.float32]
    """dropout: 0, or 1 over the share that is kept"""
    partner_N: NDArray[np.int32]
    """mixup: the clip that each one is mixed with, in its micro batch"""
    share: NDArray[np.float32]
    """mixup: what each clip keeps of itself (0.5…1)"""


Step = Callable[[Inputs], tuple[float, NDArray[np.float32]]]


def inputs(batch: loader.Batch, config: Config, step: int, ranks: Ranks = ALONE) -> Inputs:
    """A device's part of a batch with what the step draws at random for all of it."""
    num_clips = len(batch.rows) * ranks.num_ranks
    partner_N, share = mixing(config.train, step, num_clips)
    keep_NC = dropout_mask(config, step, num_clips)
    return Inputs(batch.clip_NCTHW, batch.label_N, ranks.part(keep_NC), ranks.part(partner_N), share)


def dropout_mask(config: Config, step: int, num_clips: int) -> NDArray[np.float32]:
    """The mask of one step's pooled features, already divided by the share that is kept.

    Shape:  (num_clips, channels of res5)
    """
    kept = 1.0 - config.model.dropout
    rng = sampling.generator(config.train.seed, step, "", "dropout")
    mask = rng.random((num_clips, config.model.num_features)) < kept
    return (mask / kept).astype(np.float32)


def mixing(train: TrainConfig, step: int, num_clips: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """With whom each clip of a step is mixed, and the share that it keeps; a clip may be mixed with itself.

    Shape:  (num_clips,) int32, places within the micro batch; () float32 of 0.5…1.
    Source: Zhang et al. 2018, mixup: one share a batch, drawn from Beta(mixup, mixup).
    """
    micro = num_clips // train.num_parts
    if not train.mixup:
        return np.tile(np.arange(micro, dtype=np.int32), train.num_parts), np.array(1.0, np.float32)
    rng = sampling.generator(train.seed, step, "", "mixup")
    drawn = rng.beta(train.mixup, train.mixup)
    partners = [rng.permutation(micro) for _ in range(train.num_parts)]
    return np.concatenate(partners).astype(np.int32), np.array(max(drawn, 1 - drawn), np.float32)


class Graph(nn.Cell):
    """A function that is compiled before its first run, and what compiling has freed is given back between them.

    Compiling frees some 100 MB; glibc would keep them, and the run takes none of them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(auto_prefix=False)
        self.function = function
        self.is_compiled = False

    def construct(self, *given: Tensor) -> Any:
        """What the function gives."""
        return self.function(*given)

    def run(self, *given: Tensor) -> Any:
        """What the function gives; the first time, after compiling it."""
        if not self.is_compiled:
            self.compile(*given)
            if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc has it
                trim(0)
            self.is_compiled = True
        return self(*given)


def make_step(net: I3D, optimizer: nn.Optimizer, train: TrainConfig, num_ranks: int = 1) -> Step:
    """A function that takes one step and gives its loss and logits, those of this device's part of the batch.

    One graph does it all.  With micro batches there are two: one adds up gradients, one updates.  With several
    devices the gradients become the mean of all of them before the update.
    """
    optimizers.set_training(net, train.freeze)
    scale = FP16_LOSS_SCALE if train.precision == "fp16" else 1.0
    gradients = ms.value_and_grad(_forward(net, train, scale), None, optimizer.parameters, has_aux=True)

    averaged: Any = nn.DistributedGradReducer(optimizer.parameters, True, num_ranks) if num_ranks > 1 else None
    num_parts = train.num_parts // num_ranks

    def update(grads: Any, divisor: float) -> Tensor:
        if num_ranks > 1:
            grads = averaged(grads)
        if divisor != 1.0:
            grads = ops.HyperMap()(ops.partial(ops.mul, 1.0 / divisor), grads)
        if train.clip_norm:
            grads = _clipped(grads, train.clip_norm)
        return optimizer(grads)

    if num_parts > 1:
        return _accumulating(gradients, update, optimizer.parameters, num_parts, scale)

    def whole(clip: Tensor, label: Tensor, keep: Tensor, partner: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        (loss, logits_NK), grads = gradients(clip, label, keep, partner, share)
        return ops.depend(loss, update(grads, scale)), logits_NK

    compiled = Graph(whole)

    def take_step(given: Inputs) -> tuple[float, NDArray[np.float32]]:
        loss, logits_NK = compiled.run(*(Tensor(array) for array in given))
        return float(loss.asnumpy()) / scale, logits_NK.asnumpy()

    return take_step


def _forward(net: I3D, train: TrainConfig, scale: float) -> Callable[..., tuple[Tensor, Tensor]]:
    smoothing = train.label_smoothing

    def loss_of(logits_NK: Tensor, label_N: Tensor) -> Tensor:
        loss = ops.cross_entropy(logits_NK, label_N, label_smoothing=smoothing)
        return loss if scale == 1.0 else loss * scale

    def plain(
        clip_NCTHW: Tensor, label_N: Tensor, keep_NC: Tensor, partner_N: Tensor, share: Tensor
    ) -> tuple[Tensor, Tensor]:
        features_NC = net.features(normalise(clip_NCTHW, net.model)) * keep_NC
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
    dtype = ms.float16 if train.precision == "fp16" else ms.bfloat16
    automatic: Callable[..., tuple[Tensor, Tensor]] = ms.amp.auto_mixed_precision(forward, "auto", dtype)
    return automatic


def _clipped(grads: Any, most: float) -> Any:
    """Gradients whose norm, that of all of them together, is at most so large.

    On CPUs a division keeps 16 bytes for every number that it divides, a product by one number nothing.
    """
    each = ops.HyperMap()
    norm = ops.sqrt(ops.addn(each(_square_sum, grads)))
    return each(ops.partial(ops.mul, most / ops.maximum(norm, most)), grads)


def _square_sum(grad: Tensor) -> Tensor:
    return 2.0 * ops.L2Loss()(grad)


def _accumulating(
    gradients: Callable[..., Any],
    update: Callable[[Any, float], Tensor],
    parameters: ms.ParameterTuple,
    num_parts: int,
    scale: float,
) -> Step:
    sums = ms.ParameterTuple(
        [ms.Parameter(ops.zeros_like(parameter), name=f"sum.{parameter.name}") for parameter in parameters]
    )

    def add(*given: Tensor) -> tuple[Tensor, Tensor]:
        """The first argument is 0 for the first part, which forgets the sums of the step before, then 1."""
        (loss, logits_NK), grads = gradients(*given[1:])
        for total, grad in zip(sums, grads):  # noqa: B905 (graphs know no strict)
            ops.assign(total, given[0] * total + grad * (1.0 / (scale * num_parts)))
        return loss, logits_NK

    def finish() -> Tensor:
        return update(sums, 1.0)

    adding, finishing = Graph(add), Graph(finish)

    def take_step(given: Inputs) -> tuple[float, NDArray[np.float32]]:
        arrays: list[NDArray[np.generic]] = list(given[:-1])
        losses, logits = [], []
        for number, part in enumerate(zip(*(np.split(array, num_parts) for array in arrays), strict=True)):
            goes_on = np.float32(number > 0)
            loss, logits_NK = adding.run(*(Tensor(array) for array in (goes_on, *part, given.share)))
            losses.append(float(loss.asnumpy()) / scale)
            logits.append(logits_NK.asnumpy())
        finishing.run()
        return float(np.mean(losses)), np.concatenate(logits)

    return take_step


class Average(NamedTuple):
    """The moving average of all weights and BN statistics, and a function that takes a step into it."""

    parameters: tuple[ms.Parameter, ...]
    """`ema.NAME`, in the order of the network's; none if it is off"""
    take: Callable[[int], None]
    """given how many steps were taken before"""


def make_average(net: I3D, decay: float) -> Average:
    """The average of the weights, which starts as they are.

    While few steps are averaged, the decay is at most (1 + step) / (10 + step), so that the first weights fade.
    """
    if not decay:
        return Average((), lambda step: None)
    live = list(net.get_parameters())
    means = ms.ParameterTuple([ms.Parameter(p.value().copy(), name=f"ema.{p.name}") for p in live])

    def follow(keep: Tensor) -> Tensor:
        for mean, parameter in zip(means, live):  # noqa: B905
            ops.assign(mean, keep * mean + (1.0 - keep) * parameter)
        return keep

    compiled = ms.jit(follow)

    def take(step: int) -> None:
        compiled(Tensor(min(decay, (1 + step) / (10 + step)), ms.float32))

    return Average(tuple(means), take)
