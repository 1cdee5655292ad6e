from __future__ import annotations

import re
from pathlib import Path

import pytest

from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import resolve
from nonlocal_core.pretrained import table
from nonlocal_core.training import compatibility

INCEPTION = {"i3d_inception": 0, "nl_i3d_inception": 5}  # non-local blocks
RECIPES = ("probe", "finetune", "small")  # for few videos: ways to learn, not networks


@pytest.mark.parametrize("name", INCEPTION)
def test_the_first_i3d_is_deepminds(name):
    config = resolve(name, {})
    model = config.model
    assert sum(len(model.nl_blocks(stage)) for stage in (2, 3, 4, 5)) == INCEPTION[name]
    assert (model.backbone, model.head, model.width, model.dropout) == ("inception", "two_frames", 64, 0.5)
    assert (model.input_mean, model.input_std) == ((127.5,) * 3, (127.5,) * 3)  # from -1 to 1
    assert (config.clip.clip_len, config.clip.frame_interval) == (64, 1)
    assert (config.train.crop_size, config.evaluate.crop_size, config.cache.short_side) == (224, 224, 256)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_and_says_command_time_and_accuracy(name):
    preset, config = PRESETS[name], resolve(name, {})
    assert preset.name == name
    assert "\n" not in preset.title
    words = preset.command.split()
    assert words[:2] == ["python", "flows/full.py"]
    assert name == "tiny" or words[2] == name
    overrides = dict(word.split("=") for word in words[2:] if "=" in word and not word.startswith("videos_dir"))
    assert resolve(name, overrides).train.epochs == config.train.epochs
    assert re.search(r"\d", preset.time)
    assert re.search(r"\d", preset.expected)


def test_a_network_with_frozen_statistics_starts_from_trained_weights():
    frozen = {name for name in PRESETS if resolve(name, {}).model.norm == "frozen"}
    from_videos = {
        name for name, preset in PRESETS.items() if preset.init and "imagenet" not in preset.init.lower()
    }
    assert from_videos == {
        *frozen - {name for name in RECIPES if resolve(name, {}).train.init},
        "nl_i3d_r50_32x6",
        "nl_i3d_inception",
    }


def test_what_its_authors_started_from_imagenet_is_started_so_by_its_command():
    """All of them but PySlowFast's zoo, which starts from random weights, and what starts from videos."""
    images = {name for name, preset in PRESETS.items() if "imagenet" in preset.init.lower()}
    others = {name for name in PRESETS if name.endswith(("_slowfast", "_nopool"))}
    others |= {"tiny", *INCEPTION, *RECIPES, *({name for name, one in PRESETS.items() if one.init} - images)}
    assert images == PRESETS.keys() - others
    for name in images:
        assert f" train.init={PRESETS[name].init} train.init_head=new" in PRESETS[name].command
    assert PRESETS["nl_i3d_r50_32x2"].command == (
        "python flows/full.py nl_i3d_r50_32x2 videos_dir=DIR train.init=i3d_r50_imagenet train.init_head=new"
    )


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.init in table.TABLE])
def test_published_weights_that_a_command_starts_from_fit_its_network(name):
    start = table.find(PRESETS[name].init)
    model = resolve(name, {}).model
    compatibility.check_network(model, resolve(start.preset, {}).model, Path(start.name))


def test_the_recipes_for_few_videos_are_what_they_say():
    probe, finetune, small = (resolve(name, {}) for name in RECIPES)
    for config in (probe, finetune):
        assert (config.model.backbone, config.train.init) == ("inception", "i3d_inception_k400")
        kept = config.features
        assert (kept.num_clips, kept.crop_size) == (config.evaluate.num_clips, config.evaluate.crop_size)
    assert (probe.train.freeze, probe.train.optimizer) == ("res5", "lbfgs")
    assert (finetune.train.freeze, finetune.train.init_head, finetune.model.nl_res5) == ("res4", "fitted", (0,))
    assert (small.train.init, small.train.crop_size, small.model.stage_blocks) == ("", 112, (2, 2, 2, 2))


def test_an_accuracy_is_written_with_the_decimals_of_its_source():
    expected = {name: PRESETS[name].expected for name in PRESETS}
    both = "71.8 / 89.7 (paper, Tables 2a, 2c, 2f), 72.0 / 90.0 (video-nonlocal-net)"
    assert expected["c2d_r50_32x2_caffe2"] == both
    assert expected["nl_i3d_r50_32x2"].endswith("74.80 / 92.07 (mmaction2)")
    assert expected["i3d_r101_32x2_gluon"] == "75.1 top-1 (gluon-cv)"
    log = "67.81 / 86.73 (gluon-cv's log, last epoch, one view a video)"
    assert expected["nl5_i3d_r50_32x2_gluon"] == f"75.17 top-1 (gluon-cv), {log}"
    assert expected["i3d_r18_32x2"].startswith("not published")


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in ("tiny", *INCEPTION, *RECIPES)])
def test_a_name_says_network_and_clip(name):
    config = resolve(name, {})
    model = config.model
    blocks, net, depth, clip, suffix = re.fullmatch(
        r"(?:nl(\d*)_)?(c2d|i3d)_r(18|34|50|101)_(\d+x\d+)((?:_[a-z0-9]+)*)", name
    ).groups()
    assert f"{config.clip.clip_len}x{config.clip.frame_interval}" == clip
    found = sum(len(model.nl_blocks(stage)) for stage in (2, 3, 4, 5))
    assert found == (0 if blocks is None else int(blocks or 5))
    basic = depth in ("18", "34")
    widened = {"c2d": "none", "i3d": "3x3x3" if basic or suffix.endswith("3x3x3") else "3x1x1"}
    assert model.inflate == widened[net]
    assert model.stem_kernel_t == (1 if net == "c2d" else 5)
    assert model.block == ("basic" if basic else "bottleneck")
    assert model.stage_blocks == {"18": (2, 2, 2, 2), "101": (3, 4, 23, 3)}.get(depth, (3, 4, 6, 3))
    assert model.width == 64
    assert (config.train.crop_size, model.dropout) == (224, 0.5)


def family(name):
    """Whose recipe a full-size preset has."""
    suffixes = ("caffe2", "slowfast", "gluon")
    return next((suffix for suffix in suffixes if f"_{suffix}" in name), "mmaction2")


FULL = [name for name in PRESETS if name not in ("tiny", "nl_i3d_r50_32x6", *INCEPTION, *RECIPES)]


@pytest.mark.parametrize("name", FULL)
def test_training_crops_are_the_authors(name):
    """Scales of 256 to 320 pixels: video-nonlocal-net, PySlowFast's yaml and gluon-cv's RandomResize((1, 1.25)).

    mmaction2's configs: MultiScaleCrop(input_size=224, scales=(1, 0.8), random_crop=False, max_wh_scale_gap=0).
    """
    train = resolve(name, {}).train
    multi = family(name) == "mmaction2" and name != "nl_i3d_r50_128x1"  # the paper's recipe
    assert train.crop == ("multi_scale" if multi else "random")
    assert (train.scale_min, train.scale_max) == ((1.0, 1.0) if multi else (1.0, 320 / 256))
    if multi:
        assert (train.crop_scales, train.crop_gap) == ((1.0, 0.8), 0)


@pytest.mark.parametrize("name", FULL)
def test_short_videos_clip_starts_and_test_crops_are_the_authors(name):
    """SampleFrames' out_of_bound_opt is loop, the Caffe2 op counts modulo; PySlowFast clamps, gluon-cv repeats."""
    config = resolve(name, {})
    test = config.evaluate
    assert (test.num_clips, test.num_crops, test.crop_size) == (10, 3, 256)
    assert (config.clip.short_videos, test.offsets, test.crops) == {
        "mmaction2": ("loop", "spread", "even"),
        "caffe2": ("loop", "paper", "even"),
        "slowfast": ("repeat_last", "slowfast", "slowfast"),
        "gluon": ("repeat_last", "spread", "ends"),
    }[family(name)]


def test_gluon_cvs_recipe_is_that_of_its_pytorch_configs():
    """i3d_nl5_resnet50_v1_kinetics400.yaml: 8 clips on each of 8 GPUs, SGD of all parameters, no warm-up."""
    for name in (name for name in PRESETS if name.endswith("_gluon")):
        train = resolve(name, {}).train
        assert (train.epochs, train.milestones, train.gamma, train.base_lr) == (100, (40, 80), 0.1, 0.01)
        assert (train.batch_size, train.micro_batch, train.lr_batch) == (64, 8, 64)
        assert (train.weight_decay, train.decayed, train.momentum, train.nesterov) == (1e-5, "all", 0.9, False)
        assert (train.warmup_epochs, train.clip_norm, train.precise_bn_batches) == (0.0, 0.0, 0)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_where_it_is_not_its_authors(name):
    differs = PRESETS[name].differs
    assert (
        differs.endswith("only as all presets do")
        == (
            name in FULL
            and family(name) != "gluon"
            and name not in ("nl_i3d_r50_128x1", "nl_i3d_r50_8x8", "i3d_r50_8x8", "c2d_r50_32x2", "c2d_r50_8x8")
            and not re.search(r"_r(18|34)_", name)
        )
        or name == "c2d_r50_8x8_slowfast"
    )


def test_pyslowfasts_clips_alone_have_a_rate():
    """TARGET_FPS is 30 in its defaults; neither the paper's code, mmaction2's configs nor gluon-cv resample."""
    rates = {name: resolve(name, {}).clip.fps for name in PRESETS}
    assert {name for name in rates if rates[name]} == {name for name in PRESETS if "_slowfast" in name}
    assert set(rates.values()) == {0.0, 30.0}
