from __future__ import annotations

import math

import numpy as np
import pytest

from nonlocal_core.train_section import TrainConfig
from nonlocal_core.training.schedules import learning_rates


def by_hand(train: TrainConfig, per_epoch: int) -> list[float]:
    """The same rates, step by step."""
    num_steps = train.epochs * per_epoch
    num_warmup = min(int(train.warmup_epochs * per_epoch + 0.5), num_steps)
    rates = []
    for step in range(num_steps):
        if step < num_warmup:
            rates.append(train.base_lr * (step + 1) / num_warmup)
        elif train.schedule == "cosine":
            turned = math.pi * (step - num_warmup) / (num_steps - num_warmup)
            rates.append(train.base_lr * (1 + math.cos(turned)) / 2)
        else:
            rate = train.base_lr
            for milestone in train.milestones:
                if step >= milestone * per_epoch:
                    rate *= train.gamma
            rates.append(rate)
    return rates


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
        {"epochs": 6, "schedule": "cosine"},
        {"epochs": 6, "schedule": "cosine", "warmup_epochs": 1.0},
        {"epochs": 2, "schedule": "cosine", "warmup_epochs": 0.1},
        {"epochs": 1, "schedule": "cosine"},
        {"epochs": 2, "schedule": "cosine", "warmup_epochs": 2.0},
        {"epochs": 2, "schedule": "step", "warmup_epochs": 7.0},
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
    rates = learning_rates(TrainConfig(epochs=3, base_lr=1.0, milestones=(1,), gamma=0.1, warmup_epochs=2.0), 2)
    np.testing.assert_allclose(rates, [0.25, 0.5, 0.75, 1.0, 0.1, 0.1])
