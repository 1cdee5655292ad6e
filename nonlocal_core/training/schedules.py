"""The learning rate of every step, as an array."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nonlocal_core.sections import TrainConfig


def learning_rates(train: TrainConfig, steps_per_epoch: int) -> NDArray[np.float32]:
    """The learning rate of every step of the training.

    Linear warm-up from 0, in which step i has i + 1 parts; then the schedule.  A warm-up longer than the training
    ends with it.  Milestones count from the start of the training.  The cosine
    runs from the end of the warm-up to 0 at the end of the training.

    Shape:  (epochs * steps_per_epoch,)
    Source: Goyal et al. 2017 (warm-up); Loshchilov and Hutter 2017, equation 5 (cosine).
    """
    num_steps = train.epochs * steps_per_epoch
    num_warmup = min(round(train.warmup_epochs * steps_per_epoch), num_steps)
    step = np.arange(num_steps, dtype=np.float64)
    if train.schedule == "cosine":
        after = (step - num_warmup) / max(num_steps - num_warmup, 1)
        rate = train.base_lr * 0.5 * (1 + np.cos(np.pi * after))
    else:
        passed = np.searchsorted(np.sort(train.milestones) * steps_per_epoch, step, side="right")
        rate = train.base_lr * train.gamma**passed
    warmup = train.base_lr * (step + 1) / max(num_warmup, 1)
    return np.where(step < num_warmup, warmup, rate).astype(np.float32)
