"""Recipes against the figures that the authors published."""

from __future__ import annotations

import numpy as np
import pytest

from nonlocal_core.config import recipes
from nonlocal_core.config.tree import resolve
from nonlocal_core.training.schedules import learning_rates

KINETICS_VIDEOS = 234_643


def rates(recipe, **overrides):
    """The rates of a recipe on Kinetics-400, and its settings."""
    train = resolve("tiny", {**TINY_OFF, **recipe, **overrides}).train
    return learning_rates(train, KINETICS_VIDEOS // train.batch_size), train


TINY_OFF = {"train.schedule": "step", "train.warmup_epochs": 0.0}


@pytest.mark.parametrize(
    ("recipe", "clips", "top", "end"),
    [
        (recipes.PAPER_32F, 400_000 * 64, 0.01, 1e-4),
        (recipes.PAPER_128F, 400_000 * 16, 0.0025, 2.5e-5),
        (recipes.SLOWFAST_SCRATCH, 196 * KINETICS_VIDEOS, 0.09276, 0.0),  # the cosine at epoch 34
        (recipes.SLOWFAST_IMAGENET, 118 * KINETICS_VIDEOS, 0.01, 1e-4),
        (recipes.MMACTION2, 100 * KINETICS_VIDEOS, 0.01, 1e-4),
        (recipes.SEED, 5 * KINETICS_VIDEOS, 3e-4, 3e-5),
        (recipes.KINETICS_I3D, 115_000 * 384, 0.1, 1e-3),
    ],
)
def test_length_and_rates_are_the_published_ones(recipe, clips, top, end):
    found, train = rates(recipe)
    assert len(found) * train.batch_size == pytest.approx(clips, rel=1e-3)
    assert found.max() == pytest.approx(top, rel=1e-3)
    assert found[-1] == pytest.approx(end, rel=1e-3, abs=1e-6)


def test_a_smaller_batch_has_a_smaller_rate_where_the_authors_scale_it():
    for recipe, scaled in ((recipes.PAPER_32F, True), (recipes.MMACTION2, True), (recipes.SEED, False)):
        found = [rates(recipe, **{"train.batch_size": size})[0].max() for size in (8, 32)]
        assert found[1] / found[0] == pytest.approx(4.0 if scaled else 1.0)


def test_what_differs_between_the_authors():
    sets = {name: rates(getattr(recipes, name))[1] for name in dir(recipes) if name.isupper()}
    assert {name for name, train in sets.items() if train.nesterov} == {
        "PAPER_32F", "PAPER_128F", "SLOWFAST_SCRATCH", "SLOWFAST_IMAGENET",
    }  # fmt: skip
    assert {name for name, train in sets.items() if train.decayed == "all"} == {"MMACTION2", "GLUON", "SEED"}
    assert {name for name, train in sets.items() if train.clip_norm} == {"MMACTION2"}
    assert {name for name, train in sets.items() if train.weight_decay != 1e-4} == {"KINETICS_I3D", "GLUON"}
    assert sets["KINETICS_I3D"].weight_decay == 1e-7
    assert rates(recipes.SLOWFAST_SCRATCH)[0][0] == np.float32(0.01)


@pytest.mark.parametrize(
    ("preset", "recipe"),
    [
        ("nl5_i3d_r50_32x2_caffe2", recipes.PAPER_32F),
        ("nl5_i3d_r50_128x1_caffe2", recipes.PAPER_128F),
        ("nl_i3d_r50_128x1", recipes.PAPER_128F),
        ("nl5_i3d_r50_8x8_slowfast", recipes.SLOWFAST_SCRATCH),
        ("nl5_i3d_r50_8x8_slowfast_imagenet", recipes.SLOWFAST_IMAGENET),
        ("nl_i3d_r50_32x2", recipes.MMACTION2),
        ("nl_i3d_r50_32x6", recipes.SEED),
        ("nl5_i3d_r50_32x2_gluon", recipes.GLUON),
        ("i3d_inception", recipes.KINETICS_I3D),
    ],
)
def test_presets_take_recipes_whole(preset, recipe):
    config = resolve(preset, {})
    assert resolve(preset, recipe) == config
