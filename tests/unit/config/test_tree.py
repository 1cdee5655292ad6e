from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_core.config import key_value
from nonlocal_core.config.sections import ClipConfig, IndexConfig
from nonlocal_core.config.tree import Config, resolve, settings
from nonlocal_core.errors import ConfigError

PACKAGE = Path(__file__).parents[3] / "nonlocal_core"


def test_a_preset_differs_from_the_defaults_and_overrides_differ_from_it():
    published = resolve("nl_i3d_r50_32x2", {})
    assert (published.index, published.cache, published.model) == (Config().index, Config().cache, Config().model)
    assert (published.train.clip_norm, published.train.decayed, published.train.crop_gap) == (40, "all", 0)
    tiny = resolve("tiny", {"train.epochs": 3})
    assert (tiny.train.epochs, tiny.model.width, tiny.cache.jpeg_quality) == (3, 8, Config().cache.jpeg_quality)


@pytest.mark.parametrize(
    ("text", "section", "name", "value"),
    [
        ("2", "train", "epochs", 2),
        ("1e-3", "train", "base_lr", 0.001),
        ("1", "train", "base_lr", 1.0),
        ("true", "train", "nesterov", True),
        ("cosine", "train", "schedule", "cosine"),
        ("1,3", "train", "milestones", (1, 3)),
        ("[1, 3]", "train", "milestones", (1, 3)),
        ("[]", "model", "nl_res3", ()),
        ("[0]", "model", "nl_res3", (0,)),
        ("0", "model", "nl_res3", (0,)),
        ("3", "train", "milestones", (3,)),
        ("3,4,6,3", "model", "stage_blocks", (3, 4, 6, 3)),
        ("none", "model", "inflate", "none"),
        ("1", "evaluate", "num_crops", 1),
        ("0.8", "train", "crop_scales", (0.8,)),
        ("2024", "index", "frozen_val", "2024"),
        (2024, "index", "frozen_val", "2024"),
    ],
)
def test_text_means_what_a_person_means(text, section, name, value):
    found = getattr(getattr(resolve("tiny", {f"{section}.{name}": text}), section), name)
    assert (found, type(found)) == (value, type(value))


def test_dotted_keys_and_nested_mappings_are_the_same_and_make_a_round_trip():
    dotted = resolve("tiny", {"train.epochs": 2, "train.base_lr": 0.5, "clip.clip_len": 16})
    assert dotted == resolve("tiny", {"train": {"epochs": 2, "base_lr": 0.5}, "clip": {"clip_len": 16}})
    assert dotted == resolve("tiny", {"train": {"epochs": 2}, "train.base_lr": 0.5, "clip.clip_len": "16"})
    assert resolve("nl_i3d_r50_32x6", dotted.model_dump()) == dotted
    assert resolve("nl_i3d_r50_32x6", json.loads(dotted.model_dump_json())) == dotted


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("tinny", {}, r"no preset 'tinny': did you mean tiny\?"),
        ("xyz", {}, r"no preset 'xyz': python flows/full.py --help presets lists all of them"),
        ("tiny", {"train.epoch": 2}, r"no setting 'train.epoch': did you mean train.epochs"),
        ("tiny", {"epochs": 2}, r"no setting 'epochs': did you mean train.epochs"),
        ("tiny", {"crop_size": 2}, r"did you mean features.crop_size or train.crop_size or evaluate.crop_size"),
        ("tiny", {"train": 2}, r"no setting 'train'"),
        ("tiny", {"train.epochs.x": 2}, r"no setting 'train.epochs.x'"),
        ("tiny", {"qqqqqq": 2}, r"python flows/full.py --help all lists all of them"),
        ("tiny", {"train.epochs": 0}, r"^train.epochs=0 does not fit: .*greater than or equal to 1.*passes over"),
        ("tiny", {"train.epochs": "two"}, r"^train.epochs=two does not fit: .*integer"),
        ("tiny", {"train.epochs": "1.5"}, r"^train.epochs=1.5 does not fit: .*integer"),
        ("tiny", {"train.epochs": "true"}, r"^train.epochs=true does not fit: true is not a number"),
        ("tiny", {"train.epochs": None}, r"^train.epochs=None does not fit"),
        ("tiny", {"train.base_lr": "NaN"}, r"^train.base_lr=nan does not fit: .*finite"),
        ("tiny", {"train.schedule": "linear"}, r"^train.schedule=linear .*'step', 'relative_steps', 'cosine'"),
        ("tiny", {"model.nl_res3": "x"}, r"^model.nl_res3=x does not fit: .*tuple"),
        ("tiny", {"model.nl_res3": "9"}, r"^model.nl_res3 names block 9: the stage has blocks 0 to 0"),
        ("tiny", {"model.stem_kernel_t": 4}, r"^model.stem_kernel_t=4 does not fit: .*1, 3, 5 or 7"),
        ("tiny", {"train.seed": -1}, r"^train.seed=-1 does not fit"),
        ("tiny", {"runtime.device": "gpu"}, r"'auto', 'CPU', 'GPU' or 'Ascend'"),
        ("tiny", {"model.nl_res3": "0,-1"}, r"^model.nl_res3=\[0, -1\] does not fit"),
        ("tiny", {"model.stage_blocks": "3,4,6"}, r"^model.stage_blocks=\[3, 4, 6\] does not fit"),
        ("tiny", {"evaluate.num_crops": 2}, r"^evaluate.num_crops=2 does not fit: .*1 or 3"),
        ("tiny", {"train.crop_size": 128}, r"train.crop_size=128 is larger .*cache.short_side=64"),
        ("tiny", {"evaluate.crop_size": 128}, r"evaluate.crop_size=128 is larger .*cache.short_side=64"),
        ("tiny", {"train.scale_min": 0.8}, r"train.crop_size=56 is larger .*short_side=64 .*train.scale_min=0.8"),
        ("tiny", {"train.scale_max": 0.9}, r"train.scale_min=1.0 is above train.scale_max=0.9"),
        (
            "tiny",
            {"train.scale_max": 1.5, "train.crop": "multi_scale"},
            r"train.crop=multi_scale has its own scales",
        ),
        ("nl_i3d_r50_32x2", {"clip.clip_len": 4}, r"clip.clip_len=4 is too short .*: nothing is left after pool2"),
        ("c2d_r50_8x8", {"model.pool1_kernel_t": 2, "clip.clip_len": 1}, r"nothing is left after pool1"),
        (
            "tiny",
            {"model.block": "basic"},
            r"^model.inflate=3x1x1 .*set model.inflate=3x3x3 or model.inflate=none",
        ),
        ("tiny", {"model.nl_axes": "time"}, r"model.nl_sub_sample=after_conv .*set model.nl_sub_sample=none"),
        (
            "tiny",
            {"model.nl_axes": "space", "model.nl_group_frames": "0,2,0,0"},
            r"leave model.nl_group_frames out",
        ),
        (
            "tiny",
            {"model.nl_group_frames": "0,0,3,0"},
            r"cuts res4 into groups of 3 .*leaves 4: .*divisor of 4, or 0",
        ),
        ("tiny", {"model.nl_res5": "0", "train.crop_size": 32}, r"train.crop_size=32 leaves 1x1 in res5: set"),
        ("tiny", {"model.nl_res5": "0", "evaluate.crop_size": 32}, r"evaluate.crop_size=32 leaves 1x1 in res5"),
        ("tiny", {"model.nl_res2": "1"}, r"^model.nl_res2 names block 1: the stage has blocks 0 to 0"),
        ("tiny", {"model.head": "fully_conv"}, r"^model.head_window=4,7,7 .*: set model.head_window=4,2,2$"),
        (
            "nl5_i3d_r50_8x8_slowfast",
            {"evaluate.crop_size": 192},
            r"^evaluate.crop_size=192 is smaller than train.crop_size=224.*model.head=pooled",
        ),
        ("tiny", {"model.input_std": "0,1,1"}, r"^model.input_std=\[0, 1, 1\] does not fit: .*greater than 0"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(preset, overrides, words):
    with pytest.raises(ConfigError, match=words) as caught:
        resolve(preset, overrides)
    assert "\n" not in str(caught.value)


@given(key=st.sampled_from([setting.key for setting in settings()]), value=st.text() | st.integers() | st.floats())
def test_any_value_fits_or_is_refused_with_its_name(key, value):
    try:
        config, said = resolve("tiny", {key: value}), ""
    except ConfigError as error:
        config, said = None, str(error)
    if config is None:
        assert any(name in said for name in (key, "crop_size", "clip_len"))
    else:
        assert resolve("tiny", config.model_dump()) == config


def test_every_setting_says_what_it_is_and_is_read_somewhere():
    names_only = ("config.py", "presets.py", "recipes.py")
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py") if not path.name.endswith(names_only))
    listed = list(settings())
    assert len(listed) == len({setting.key for setting in listed}) > 40
    for key, text, *_ in listed:
        assert text, key
        assert "\n" not in text
        assert f".{key.partition('.')[2]}" in code, f"nobody reads {key}"


def test_a_setting_is_read_without_the_one_above_it():
    """No line begins with a pronoun or points back; two settings never have the same line."""
    texts = [setting.text for setting in settings()]
    assert len({*texts}) == len(texts)
    pointing = re.compile(
        r"^(that|its|they|it|this|the same)\b|\b(that|this|these) (pool|split|window|norm|convolution|one)\b"
    )
    assert [text for text in texts if pointing.search(text)] == []


@pytest.mark.parametrize("preset", ["tiny", "nl5_i3d_r101_128x1_caffe2"])
def test_a_value_can_be_typed_as_it_is_shown(preset):
    config = resolve(preset, {})
    shown = {
        f"{section}.{name}": key_value.text_of(value)
        for section, leaves in config.model_dump().items()
        for name, value in leaves.items()
    }
    assert resolve("nl_i3d_r50_32x6", shown) == config
    assert shown["train.milestones"].count(",") == 1


def test_settings_are_frozen_and_closed():
    config = Config()
    with pytest.raises(ValueError, match="frozen"):
        config.index = IndexConfig()
    with pytest.raises(ValueError, match="Extra inputs"):
        ClipConfig(clip_length=3)  # type: ignore[call-arg]
