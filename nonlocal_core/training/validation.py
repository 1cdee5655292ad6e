"""Validation during a training: top-1 and loss on the val split, and precise BN statistics.

A second network of the same kind is evaluated, so that nothing here changes the one that learns.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from threading import Event

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader
from nonlocal_core.evaluation import metrics
from nonlocal_core.models import checkpoint, inference, trunk
from nonlocal_core.models.checkpoint import Tensors
from nonlocal_core.models.graph import padded
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.normalise import normalise
from nonlocal_core.training import optimizers, step_checkpoint
from nonlocal_core.training.collectives import ALONE, Ranks
from nonlocal_core.training.videos import Videos


class Validator:
    """Evaluates weights on the val split: one clip from the middle of each video, one crop from the centre.

    The crop is as large as in training.  Several devices share the videos.
    """

    def __init__(self, videos: Videos, num_labels: int, config: Config, ranks: Ranks = ALONE) -> None:
        self.videos, self.config, self.num_labels, self.ranks = videos, config, num_labels, ranks
        self.batch_size = config.train.batch_size // config.train.num_parts

    @cached_property
    def net(self) -> I3D:
        """The network that is evaluated, built at its first use."""
        return I3D(self.config.model, self.num_labels)

    def _logits(self, clip_NCTHW: NDArray[np.generic]) -> NDArray[np.float32]:
        """The logits of some clips, at most a batch, or of what the trunk gave for them.

        The network is called directly, not inside a `ms.jit` function, which would not see weights that are
        assigned after its first call.
        """
        batch = ms.Tensor(padded(clip_NCTHW, self.batch_size))
        if last := self.videos.last:
            logits_NK = self.net.classify(trunk.features(self.net, last)(batch))
        else:
            logits_NK = self.net(normalise(batch, self.net.model))
        return np.asarray(logits_NK.asnumpy(), np.float32)[: len(clip_NCTHW)]

    def weights(self, state: step_checkpoint.State, epoch: int) -> Tensors:
        """The weights to use after an epoch: the average if one is kept, with precise BN if it is asked for.

        Raises: DamagedError if a record does not match its checksum.
        """
        # The devices' BN statistics differ, because each saw other batches.
        weights = self.ranks.first(step_checkpoint.weights_of(state))
        num_batches = self.config.train.precise_bn_batches
        if not num_batches:
            return weights
        checkpoint.assign(self.net, weights, Path("the average"))
        return {**weights, **self._statistics(self._parts(epoch, num_batches))}

    def validate(self, weights: Tensors, step: int, stop: Event | None = None) -> checkpoint.Validation:
        """Top-1 and loss of some weights on the val split.

        Raises: KeyboardInterrupt once `stop` is set; DamagedError if a record does not match its checksum.
        """
        checkpoint.assign(self.net, weights, Path("the weights"))
        self.net.set_train(False)
        reader, rows = self.videos.reader, self.videos.val_rows
        own_rows = loader.rows_of_rank(rows, self.ranks.rank, self.ranks.num_ranks)
        views = self.videos.middle_views(own_rows, self.config)
        mine_NK = []
        for logits_K in inference.outputs(self._logits, views, self.batch_size):
            mine_NK.append(logits_K)
            if stop and stop.is_set():
                raise KeyboardInterrupt
        own_NK = np.array(mine_NK, np.float32).reshape(-1, self.num_labels)  # of a rank without videos, too
        logits_NK = self.ranks.gather(own_NK, len(rows)).astype(np.float64)
        label_N = reader.rows["label_id"].to_numpy(np.int64)[rows]
        return checkpoint.Validation(
            step=step, top1=metrics.topk(logits_NK, label_N, 1), loss=metrics.cross_entropy(logits_NK, label_N)
        )

    def _parts(self, epoch: int, num_batches: int) -> Iterator[NDArray[np.generic]]:
        """The clips of the first batches of an epoch and, if it has too few, of the next epochs."""
        epochs = (self.videos.train_batches(self.config, later) for later in itertools.count(epoch))
        for batch in itertools.islice(itertools.chain.from_iterable(epochs), num_batches):
            yield from np.split(batch.clip_NCTHW, self.config.train.num_parts)

    def _statistics(self, parts: Iterator[NDArray[np.generic]]) -> Tensors:
        """Mean and variance over all clips for every BN that learns.

        A running statistic that starts at 0 gives, after one batch, that batch's own.  The variance of all batches
        is the mean of their variances plus the variance of their means.
        """
        optimizers.set_training(self.net, self.config.train.freeze)
        norms = [
            cell
            for _, cell in self.net.cells_and_names()
            if isinstance(cell, nn.BatchNorm2d) and cell.training and cell.use_batch_statistics is None
        ]
        seen: list[list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = []
        for clip_NCTHW in parts:
            for norm in norms:
                norm.moving_mean.set_data(ms.ops.zeros_like(norm.moving_mean))
                norm.moving_variance.set_data(ms.ops.zeros_like(norm.moving_variance))
            self._logits(clip_NCTHW)
            seen.append([(_batch(norm.moving_mean, norm), _batch(norm.moving_variance, norm)) for norm in norms])
        statistics: Tensors = {}
        for norm, pairs in zip(norms, zip(*seen, strict=True), strict=True):
            means, variances = (np.stack(kind) for kind in zip(*pairs, strict=True))
            statistics[norm.moving_mean.name] = means.mean(0).astype(np.float32)
            statistics[norm.moving_variance.name] = (variances.mean(0) + means.var(0)).astype(np.float32)
        return statistics


def _batch(running: ms.Parameter, norm: nn.BatchNorm2d) -> NDArray[np.float64]:
    return np.asarray(running.asnumpy(), np.float64) / norm.momentum
