"""One typed tree of settings, those of sections.py, model.py and train.py; `resolve` is the only way in."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, get_args, get_origin

from pydantic import ValidationError, model_validator

from nonlocal_core.config import key_value, protocols
from nonlocal_core.config.model import ModelConfig, check_clip
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.section import Section, later
from nonlocal_core.config.sections import (
    CacheConfig,
    ClipConfig,
    EvaluateConfig,
    FeaturesConfig,
    IndexConfig,
    RegistryConfig,
    RuntimeConfig,
)
from nonlocal_core.config.train import TrainConfig
from nonlocal_core.errors import ConfigError


class Config(Section):
    """All settings of a run; the folders are no settings."""

    index: IndexConfig = IndexConfig()
    cache: CacheConfig = CacheConfig()
    clip: ClipConfig = ClipConfig()
    model: ModelConfig = ModelConfig()
    features: Annotated[FeaturesConfig, later(FeaturesConfig())] = FeaturesConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    registry: RegistryConfig = RegistryConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _sections_fit(self) -> Config:
        train, side = self.train, self.cache.short_side
        check_clip(self.model, self.clip.clip_len, train.crop_size, self.evaluate.crop_size)
        self._features_fit()
        sides = {"train": train.crop_size, "evaluate": self.evaluate.crop_size}
        if self.features.num_clips:
            sides["features"] = self.features.crop_size
        for name, crop_size in sides.items():
            if crop_size > side:
                raise ConfigError(
                    f"{name}.crop_size={crop_size} is larger than a cached frame, cache.short_side={side}:"
                    " lower the one or raise the other"
                )
        if train.scale_min > train.scale_max:
            raise ConfigError(f"train.scale_min={train.scale_min} is above train.scale_max={train.scale_max}")
        if train.crop_size > round(train.scale_min * side):
            raise ConfigError(
                f"train.crop_size={train.crop_size} is larger than a frame of cache.short_side={side} that"
                f" is scaled by train.scale_min={train.scale_min}: lower the one or raise the other"
            )
        if train.crop == "multi_scale" and (train.scale_min, train.scale_max) != (1.0, 1.0):
            raise ConfigError("train.crop=multi_scale has its own scales: set train.scale_min=1 train.scale_max=1")
        return self

    def _features_fit(self) -> None:
        """Raise ConfigError if features cannot be kept, or the optimizer needs them and they are not."""
        train, has_features = self.train, bool(self.features.num_clips)
        if train.optimizer == "lbfgs" and not (has_features and train.freeze == "res5"):
            raise ConfigError(
                "train.optimizer=lbfgs learns a classifier from kept features: set features.num_clips=1 or more"
                " and train.freeze=res5"
            )
        if train.init_head == "fitted" and not has_features:
            raise ConfigError(
                "train.init_head=fitted fits a classifier to kept features: set features.num_clips=1 or more"
            )
        if has_features and (train.freeze == "none" or not train.init):
            raise ConfigError(
                f"features.num_clips={self.features.num_clips} keeps what a part that does not learn gives: set"
                " train.init, and its last such part by train.freeze"
            )
        if has_features and (train.mixup or self.model.head == "fully_conv"):
            raise ConfigError(
                "train.mixup and model.head=fully_conv need whole clips in each step: leave them out, or set"
                " features.num_clips=0"
            )


class Setting(NamedTuple):
    """A leaf of the tree."""

    key: str
    """dotted, such as train.epochs"""
    text: str
    """its one line with the unit"""
    default: object
    choices: tuple[object, ...]
    """what it may be, where that is a closed list"""

    @property
    def section(self) -> str:
        """The part of its key before the dot."""
        return self.key.partition(".")[0]


def settings() -> Iterator[Setting]:
    """Every leaf of the tree."""
    for section, section_field in Config.model_fields.items():
        for name, field in type(section_field.default).model_fields.items():
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            yield Setting(f"{section}.{name}", field.description or "", field.default, choices)


def resolve(
    preset: str, overrides: Mapping[str, object], of_checkpoint: Mapping[str, object] = MappingProxyType({})
) -> Config:
    """The settings of a preset with some of them replaced.

    `overrides` has dotted keys (`{"train.epochs": 2}`), nested mappings or both; a value may be text, as a
    command line gives it (`"2"`, `"1,3"`, `"[1, 3]"`).  `of_checkpoint` has those of a checkpoint, dotted:
    they count more than the preset's, and less than the overrides and the protocol that these name.

    Raises: ConfigError that names the preset or key and what is near it, or the value and what is expected.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}: {_near(preset, list(PRESETS), 'presets')}")
    check_names(overrides)
    defaults = {setting.key: setting.default for setting in settings()}
    tree: dict[str, dict[str, object]] = {section: {} for section in Config.model_fields}
    for key, value in protocols.fill({**PRESETS[preset].settings, **of_checkpoint}, flatten(overrides)).items():
        section, name = key.split(".")
        parsed = _parsed(value, defaults[key])
        if isinstance(parsed, bool) and not isinstance(defaults[key], bool):
            raise ConfigError(f"{key}={value} does not fit: {str(parsed).lower()} is not a number or a name")
        tree[section][name] = parsed
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        section, name = str(first["loc"][0]), str(first["loc"][1])
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(
            f"{section}.{name}={tree[section][name]} does not fit: {problem}"
            f" ({Config.model_fields[section].default.__class__.model_fields[name].description})"
        ) from None


def _parsed(value: object, default: object) -> object:
    """The value of a setting from what a person wrote: a name may be a number, and a number alone a list."""
    if isinstance(default, str):
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    parsed = key_value.value_of(value) if isinstance(value, str) else value
    is_alone = isinstance(parsed, int | float) and not isinstance(parsed, bool)
    return (parsed,) if isinstance(default, tuple) and is_alone else parsed


def check_names(overrides: Mapping[str, object]) -> None:
    """Check that there are such settings.

    Raises: ConfigError that names a key and what is near it.
    """
    keys = [setting.key for setting in settings()]
    for key in flatten(overrides):
        if key not in keys:
            raise ConfigError(f"there is no setting {key!r}: {_near(key, keys, 'all')}")


def differences(of_checkpoint: Mapping[str, object], config: Config) -> list[str]:
    """The settings that are not as a checkpoint has them, in words."""
    resolved = {f"{name}.{leaf}": value for name, section in config for leaf, value in section}
    return [
        f"{key}={key_value.text_of(resolved[key])} instead of {key_value.text_of(value)}"
        for key, value in of_checkpoint.items()
        if resolved[key] != value
    ]


def flatten(overrides: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one with dotted keys."""
    flat: dict[str, object] = {}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _near(name: str, keys: list[str], topic: str) -> str:
    """A hint for a misspelt name: the names near it, or the topic of the help that lists all."""
    leaf = name.rsplit(".", 1)[-1]
    near = [key for key in keys if key.rsplit(".", 1)[-1] == leaf]
    near += [key for key in difflib.get_close_matches(name, keys, n=3, cutoff=0.5) if key not in near]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"python flows/full.py --help {topic} lists all of them"
