from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nonlocal_core.config.train import TrainConfig
from nonlocal_core.errors import ConfigError
from nonlocal_core.training.schedules import learning_rates


def cosine(top: float, bottom: float, share: float) -> float:
    return bottom + (top - bottom) * (1 + math.cos(math.pi * share)) / 2


def scheduled(train: TrainConfig, step: float, warm: float, per_epoch: int) -> float:
    """The rate of one step without warm-up."""
    total = train.steps or train.epochs * per_epoch
    epochs = total / per_epoch
    unit = 1 if train.steps else per_epoch
    passed = sum(step >= milestone * unit for milestone in train.milestones)
    epoch = step // per_epoch
    first = train.cosine_epochs or epochs
    if train.schedule == "step":
        return train.base_lr * train.gamma**passed
    if train.schedule == "relative_steps":
        return train.base_lr * train.relative_lrs[passed]
    if train.schedule in ("cosine", "dynamic"):
        return cosine(train.base_lr, train.end_lr, (step - warm) / max(total - warm, 1))
    if train.schedule == "cosine_whole":
        return cosine(train.base_lr, train.end_lr, step / total)
    if train.schedule == "cosine_by_epoch" or step < total * 2 / 3:
        return cosine(train.base_lr, train.end_lr, epoch / first)
    turn = [i for i in range(total) if i < total * 2 / 3][-1]
    if turn < warm:
        top, last_epoch = train.base_lr, warm // per_epoch
    else:
        last_epoch = turn // per_epoch
        top = cosine(train.base_lr, train.end_lr, last_epoch / first)
    return cosine(top, train.end_lr, (epoch - last_epoch) / max(1, int(epochs / 3)))


def by_hand(train: TrainConfig, per_epoch: int) -> list[float]:
    """The same rates, step by step."""
    total = train.steps or train.epochs * per_epoch
    from_start = train.schedule in ("relative_steps", "cosine_whole", "dynamic")
    warm = min(train.warmup_epochs * per_epoch, total)
    if not from_start:
        warm = round(warm)
    scale = train.batch_size / train.lr_batch if train.lr_batch else 1
    rates = []
    for step in range(total):
        rate = scheduled(train, step, warm, per_epoch)
        if step < warm:
            top = scheduled(train, warm, warm, per_epoch) if from_start else train.base_lr
            done = step if from_start else step + 1
            rate = train.warmup_start_lr + (top - train.warmup_start_lr) * done / warm
        rates.append(scale * rate)
    return rates


WARM = {"warmup_epochs": 1.5, "warmup_start_lr": 0.02}


@pytest.mark.parametrize("per_epoch", [1, 3, 10])
@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 5, "milestones": (2, 4)},
        {"epochs": 5, "milestones": (4, 2)},
        {"epochs": 5, "milestones": (2, 2)},
        {"epochs": 5, "milestones": ()},
        {"epochs": 5, "milestones": (5, 9)},
        {"epochs": 5, "milestones": (1, 3), "warmup_epochs": 2.0},
        {"epochs": 4, "milestones": (2,), "warmup_epochs": 1.7, "gamma": 0.5},
        {"epochs": 4, "milestones": (1, 3), **WARM},
        {"steps": 17, "milestones": (5, 11), "warmup_epochs": 0.3},
        {"epochs": 6, "schedule": "cosine"},
        {"epochs": 6, "schedule": "cosine", "warmup_epochs": 1.0},
        {"epochs": 6, "schedule": "cosine", "end_lr": 0.01, **WARM},
        {"epochs": 2, "schedule": "cosine", "warmup_epochs": 0.1},
        {"epochs": 1, "schedule": "cosine"},
        {"epochs": 2, "schedule": "cosine", "warmup_epochs": 2.0},
        {"epochs": 2, "schedule": "step", "warmup_epochs": 7.0},
        {"steps": 23, "schedule": "cosine"},
        {"epochs": 6, "schedule": "relative_steps", "milestones": (2, 4), "relative_lrs": (1, 0.1, 0.05), **WARM},
        {"epochs": 6, "schedule": "relative_steps", "milestones": (1,), "relative_lrs": (1, 0.1), **WARM},
        {"epochs": 6, "schedule": "cosine_whole", "end_lr": 0.001, **WARM},
        {"epochs": 6, "schedule": "cosine_whole", "batch_size": 16, "lr_batch": 64, **WARM},
        {"epochs": 6, "schedule": "cosine_by_epoch", "warmup_epochs": 1.0},
        {"epochs": 6, "schedule": "cosine_by_epoch", "cosine_epochs": 100, "end_lr": 0.1},
        {"epochs": 9, "schedule": "cosine_twice", "warmup_epochs": 1.0},
        {"epochs": 10, "schedule": "cosine_twice", "end_lr": 0.01},
        {"epochs": 9, "schedule": "cosine_twice", "cosine_epochs": 12},
        {"epochs": 3, "schedule": "cosine_twice", "warmup_epochs": 2.5},
        {"epochs": 2, "schedule": "cosine_twice"},
        {"epochs": 1, "schedule": "cosine_twice"},
        {"epochs": 5, "schedule": "dynamic", **WARM},
    ],
)
def test_rates_are_those_of_the_formula(settings, per_epoch):
    train = TrainConfig(base_lr=0.3, **settings)
    rates = learning_rates(train, per_epoch)
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, by_hand(train, per_epoch), rtol=1e-6, atol=1e-8)


def test_the_seam_of_warm_up_and_cosine():
    rates = learning_rates(TrainConfig(epochs=3, base_lr=1.0, schedule="cosine", warmup_epochs=1.0), 4)
    assert rates[:5].tolist() == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert (np.diff(rates[4:]) < 0).all()
    assert 0 < rates[-1] < 0.05


def test_a_milestone_is_the_first_step_after_that_many_epochs():
    rates = learning_rates(TrainConfig(epochs=3, base_lr=1.0, milestones=(1, 2), gamma=0.5), 2)
    assert rates.tolist() == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_after_the_warm_up_a_milestone_inside_it_has_passed():
    """The seed's warmup_step_lr loses it."""
    rates = learning_rates(TrainConfig(epochs=3, base_lr=1.0, milestones=(1,), gamma=0.1, warmup_epochs=2.0), 2)
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1.0, 0.1, 0.1])


def test_the_papers_training_is_counted_in_steps():
    rates = learning_rates(TrainConfig(steps=400_000, milestones=(150_000, 300_000)), 3666)
    assert len(rates) == 400_000
    changes = np.flatnonzero(np.diff(rates)) + 1
    assert changes.tolist() == [150_000, 300_000]
    np.testing.assert_allclose(rates[[0, 150_000, 300_000]], [0.01, 0.001, 0.0001], rtol=1e-6)


def test_slowfasts_warm_up_starts_at_its_start_and_meets_the_cosine():
    """196 epochs from 0.1 after 34 epochs from 0.01, as I3D_NLN_8x8_R50 of SlowFast."""
    settings: dict[str, Any] = {"base_lr": 0.1, "epochs": 196, "schedule": "cosine_whole", "warmup_epochs": 34.0}
    rates = learning_rates(TrainConfig(**settings, warmup_start_lr=0.01), 10)
    assert rates[0] == np.float32(0.01)
    assert rates[340] == pytest.approx(0.05 * (1 + math.cos(math.pi * 34 / 196)))
    slope = np.diff(rates)
    assert slope[338] == pytest.approx(slope[0], rel=1e-3)
    assert slope[340] < 0
    assert 0 < rates[-1] < 1e-6


def test_the_seeds_faults_are_gone():
    by_epoch = learning_rates(TrainConfig(epochs=5, base_lr=1.0, schedule="cosine_by_epoch"), 10)
    assert by_epoch[-1] < 0.1  # with its t_max of 100 it is still at 0.996
    dynamic = learning_rates(TrainConfig(epochs=5, base_lr=1.0, schedule="dynamic", warmup_epochs=1.0), 10)
    assert len(dynamic) == 50  # not 60
    assert dynamic[-1] < 0.002  # not 0.08


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"schedule": "relative_steps", "milestones": (1,)}, "3 rates for 1 of train.milestones"),
        ({"end_lr": 0.2}, "must not be above train.base_lr"),
        ({"batch_size": 6, "micro_batch": 4}, "take a multiple"),
        ({"val_epochs": 0, "patience": 2}, "need validations"),
        ({"val_epochs": 0, "select": "best"}, "need validations"),
    ],
)
def test_settings_that_do_not_go_together(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(**settings)
