"""The learning rate of every step, as an array."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.train import TrainConfig

Rates = NDArray[np.float64]

FROM_START = ("relative_steps", "cosine_whole", "dynamic")
"""schedules whose warm-up gives the first step its start rate, and ends at the schedule's rate of that time"""


def num_steps(train: TrainConfig, steps_per_epoch: int) -> int:
    """The number of steps of the whole training."""
    return train.steps or train.epochs * steps_per_epoch


def learning_rates(train: TrainConfig, steps_per_epoch: int) -> NDArray[np.float32]:
    """The learning rate of every step of the training.

    Linear warm-up, in which step i of n has i + 1 parts, or i parts in the schedules of `FROM_START`; then the
    schedule.  A warm-up longer than the training ends with it.  Milestones count from the start of the training.
    With train.lr_batch, every rate is multiplied by batch_size / lr_batch.

    Shape:  (num_steps,)
    Source: Goyal et al. 2017 (warm-up and linear scaling); Loshchilov and Hutter 2017, equation 5 (cosine);
            SlowFast's lr_policy (relative_steps, cosine_whole); the seed's schedules (cosine_by_epoch,
            cosine_twice, dynamic) without their faults, which docs/guides/training.md lists.
    """
    step = np.arange(num_steps(train, steps_per_epoch), dtype=np.float64)
    warm = min(train.warmup_epochs * steps_per_epoch, float(len(step)))
    from_start = train.schedule in FROM_START
    if not from_start:
        warm = round(warm)
    rate = _scheduled(train, step, warm, steps_per_epoch)
    if warm:
        top = _scheduled(train, np.array([warm]), warm, steps_per_epoch)[0] if from_start else train.base_lr
        parts = (step if from_start else step + 1) / warm
        rate = np.where(step < warm, train.warmup_start_lr + (top - train.warmup_start_lr) * parts, rate)
    scale = train.batch_size / train.lr_batch if train.lr_batch else 1.0
    return (scale * rate).astype(np.float32)


def _scheduled(train: TrainConfig, step: Rates, warm: float, per_epoch: int) -> Rates:
    """The rates without warm-up and scaling."""
    total = num_steps(train, per_epoch)
    match train.schedule:
        case "step":
            return np.asarray(train.base_lr * train.gamma ** _passed(train, step, per_epoch))
        case "relative_steps":
            return train.base_lr * np.array(train.relative_lrs)[_passed(train, step, per_epoch)]
        case "cosine" | "dynamic":
            return _cosine(train.base_lr, train.end_lr, (step - warm) / max(total - warm, 1))
        case "cosine_whole":
            return _cosine(train.base_lr, train.end_lr, step / total)
        case "cosine_by_epoch":
            return _cosine(train.base_lr, train.end_lr, step // per_epoch / _first_cosine(train, per_epoch))
        case "cosine_twice":
            return _cosine_twice(train, step, warm, per_epoch)


def _cosine(top: float, bottom: float, share: Rates) -> Rates:
    """Half a cosine: `top` at a share of 0, `bottom` at 1."""
    return np.asarray(bottom + (top - bottom) * 0.5 * (1 + np.cos(np.pi * share)))


def _passed(train: TrainConfig, step: Rates, per_epoch: int) -> NDArray[np.int64]:
    """How many milestones each step has passed."""
    unit = 1 if train.steps else per_epoch
    return np.searchsorted(np.sort(train.milestones) * unit, step, side="right")


def _first_cosine(train: TrainConfig, per_epoch: int) -> float:
    """The length (epochs) of a cosine that changes once an epoch."""
    return float(train.cosine_epochs or num_steps(train, per_epoch) / per_epoch)


def _cosine_twice(train: TrainConfig, step: Rates, warm: float, per_epoch: int) -> Rates:
    """A cosine over two thirds of the steps, then a second one that starts at the rate where the first ended."""
    total = num_steps(train, per_epoch)
    epoch = step // per_epoch
    first = _cosine(train.base_lr, train.end_lr, epoch / _first_cosine(train, per_epoch))
    last = math.ceil(total * 2 / 3) - 1  # the last step of the first one
    if last < warm:  # the warm-up takes all of it
        top, turn = train.base_lr, warm // per_epoch
    else:
        turn = last // per_epoch
        top = float(_cosine(train.base_lr, train.end_lr, np.array(turn / _first_cosine(train, per_epoch))))
    second = _cosine(top, train.end_lr, (epoch - turn) / max(1, int(total / per_epoch / 3)))
    return np.where(step <= last, first, second)
