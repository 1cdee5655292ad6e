"""One typed tree of settings; `resolve` is the only way in.

A setting belongs to the first stage that reads it.  `runtime` holds what changes no result: it enters no key.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nonlocal_core.errors import ConfigError
from nonlocal_core.presets import PRESETS

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Blocks = tuple[Annotated[int, Field(ge=0)], ...]


class Section(BaseModel):
    """A frozen group of settings without room for unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )


class IndexConfig(Section):
    """What index reads."""

    layout: Literal["auto", "class_folders", "kinetics"] = "auto"
    """how the videos lie on disk; auto detects it"""
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """share of each label's videos that goes to val where the layout names no split (0…1)"""
    split_seed: int = 0
    """seed of that split"""


class CacheConfig(Section):
    """What cache reads."""

    short_side: Annotated[int, Field(ge=16)] = 256
    """shorter side of a cached frame (pixels)"""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """quality of a cached frame (1…100)"""
    interpolation: Literal["auto", "nearest", "bilinear", "bicubic", "area"] = "auto"
    """how a frame is resized; auto takes area where it shrinks, bicubic where it grows"""


class ClipConfig(Section):
    """Which frames of a video make a clip."""

    clip_len: Positive = 32
    """frames of a clip"""
    frame_interval: Positive = 2
    """source frames from one frame of a clip to the next (sampling=interval)"""
    sampling: Literal["interval", "part", "discrete", "average"] = "interval"
    """a frame every frame_interval, consecutive frames, a random choice in order, or spread over the video"""
    short_videos: Literal["repeat_last", "loop"] = "repeat_last"
    """what follows the last frame of a video that is too short for the clip: that frame, or the first ones"""


class ModelConfig(Section):
    """The network; how many classes it has comes from the labels."""

    width: Positive = 64
    """channels after the stem; res2…res5 give 4, 8, 16, 32 times as many"""
    stage_blocks: tuple[Positive, Positive, Positive, Positive] = (3, 4, 6, 3)
    """bottleneck blocks of res2, res3, res4, res5 (3,4,6,3 is ResNet-50)"""
    inflate: Literal["3x1x1", "none"] = "3x1x1"
    """temporal kernel 3 on the first convolution of every second block (I3D), or nowhere (C2D)"""
    stem_kernel_t: Literal[1, 3, 5, 7] = 5
    """temporal kernel of the stem (frames)"""
    stem_stride_t: Positive = 2
    """temporal stride of the stem (frames)"""
    pool1_stride_t: Positive = 2
    """temporal stride of the pool after the stem (frames)"""
    pool2_stride_t: Positive = 2
    """temporal kernel and stride of the pool after res2 (frames)"""
    nl_res3: Blocks = (1, 3)
    """blocks of res3 that a non-local block follows, 0-based"""
    nl_res4: Blocks = (1, 3, 5)
    """blocks of res4 that a non-local block follows, 0-based"""
    pairwise: Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"] = "dot_product"
    """pairwise function of the non-local blocks"""
    nl_sub_sample: bool = True
    """pool phi and g 2x2 in space"""
    nl_scale: bool = False
    """divide theta·phi by the square root of their channels (the two Gaussian forms)"""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """share of the pooled features that is dropped in training (0…1)"""

    @model_validator(mode="after")
    def _blocks_are_there(self) -> ModelConfig:
        for stage, blocks in ((3, self.nl_res3), (4, self.nl_res4)):
            last = self.stage_blocks[stage - 2] - 1
            if blocks and max(blocks) > last:
                raise ConfigError(
                    f"model.nl_res{stage} names block {max(blocks)}: the stage has blocks 0 to {last}"
                )
        return self


class TrainConfig(Section):
    """What train reads beside the clip and the network."""

    epochs: Positive = 100
    """passes over the train split"""
    batch_size: Positive = 8
    """clips of one step"""
    base_lr: Annotated[float, Field(gt=0.0)] = 0.01
    """learning rate after the warm-up"""
    schedule: Literal["step", "cosine"] = "step"
    """how the learning rate falls after the warm-up"""
    milestones: tuple[Positive, ...] = (40, 80)
    """epochs after which a step schedule multiplies the rate by gamma"""
    gamma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """factor of a step schedule"""
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """epochs of linear warm-up from 0"""
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    """momentum of SGD"""
    nesterov: bool = False
    """Nesterov's form of the momentum"""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    """decay of convolution and fully connected weights, not of BN and biases"""
    crop_size: Annotated[int, Field(ge=32)] = 224
    """side of a training crop (pixels)"""
    flip_probability: Fraction = 0.5
    """share of training clips that are mirrored (0…1)"""
    scale_min: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    """least scale of a frame before the crop (times cache.short_side)"""
    scale_max: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    """greatest one; each clip draws its own (times cache.short_side; both 1: never scaled)"""
    crop: Literal["random", "multi_scale"] = "random"
    """crop_size anywhere, or 1, 0.875, 0.75, 0.66 of the short side at a corner or the centre, resized"""
    colour_jitter: Fraction = 0.0
    """most that brightness, contrast and saturation each change by (0…1 of themselves; 0: off)"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """seed of weights, order, sampling, crops, flips and dropout"""


class EvaluateConfig(Section):
    """What evaluate reads."""

    split: Literal["val", "test"] = "val"
    """split that is scored"""
    num_clips: Positive = 10
    """evenly spread clips of a video"""
    offsets: Literal["spread", "paper"] = "spread"
    """clips start from the first to the last possible frame, or at k/num_clips of the video and wrap at its end"""
    num_crops: Literal[1, 3] = 3
    """crops of a clip: 1 centre, or 3 along the longer side"""
    crop_size: Annotated[int, Field(ge=32)] = 256
    """side of a test crop (pixels)"""
    batch_clips: Positive = 8
    """views that go through the network together; the last digits of a score depend on it"""


class RegistryConfig(Section):
    """What register reads."""

    min_gain: Fraction = 0.0
    """top-1 that a challenger needs above the champion, which it must exceed (fraction)"""


class RuntimeConfig(Section):
    """What changes no result: it enters no key."""

    device: Literal["auto", "CPU", "GPU", "Ascend"] = "auto"
    """where the network runs; auto takes a GPU or Ascend if MindSpore finds one"""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """threads that prepare clips (0: one a core)"""
    max_unreadable: Fraction = 0.1
    """share of unreadable videos above which index and cache stop (0…1)"""
    index_shard_videos: Positive = 2000
    """videos of one index task"""
    cache_shard_videos: Positive = 128
    """videos of one cache task"""
    checkpoint_steps: Positive = 100
    """steps between checkpoints"""


class Config(Section):
    """Everything that a run can be asked for, except where things lie."""

    index: IndexConfig = IndexConfig()
    cache: CacheConfig = CacheConfig()
    clip: ClipConfig = ClipConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    registry: RegistryConfig = RegistryConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _clip_fits(self) -> Config:
        model = self.model
        num_frames = -(-self.clip.clip_len // model.stem_stride_t)
        num_frames = -(-num_frames // model.pool1_stride_t)
        if num_frames < model.pool2_stride_t:
            raise ConfigError(
                f"clip.clip_len={self.clip.clip_len} is too short for the temporal strides: {num_frames} of its"
                f" frames are left for pool2, which takes {model.pool2_stride_t}; raise it, or lower"
                " model.stem_stride_t"
            )
        return self

    @model_validator(mode="after")
    def _crops_fit(self) -> Config:
        for name, crop_size in (("train", self.train.crop_size), ("evaluate", self.evaluate.crop_size)):
            if crop_size > self.cache.short_side:
                raise ConfigError(
                    f"{name}.crop_size={crop_size} is larger than a cached frame, cache.short_side="
                    f"{self.cache.short_side}: lower the one or raise the other"
                )
        return self

    @model_validator(mode="after")
    def _scales_fit(self) -> Config:
        train, side = self.train, self.cache.short_side
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


def settings() -> Iterator[tuple[str, str, object]]:
    """Every leaf of the tree as (dotted key, its one line with the unit, its default)."""
    for section, section_field in Config.model_fields.items():
        for name, field in type(section_field.default).model_fields.items():
            yield f"{section}.{name}", field.description or "", field.default


def resolve(preset: str, overrides: Mapping[str, object]) -> Config:
    """The settings of a preset with some of them replaced.

    `overrides` has dotted keys (`{"train.epochs": 2}`), nested mappings or both; a value may be text, as a
    command line gives it (`"2"`, `"1,3"`, `"[1, 3]"`).

    Raises: ConfigError that names the preset or key and what is near it, or the value and what is expected.
    """
    if preset not in PRESETS:
        raise ConfigError(f"there is no preset {preset!r}: {_near(preset, list(PRESETS))}")
    defaults = {key: default for key, _, default in settings()}
    known = list(defaults)
    tree: dict[str, dict[str, object]] = {section: {} for section in Config.model_fields}
    for key, value in {**PRESETS[preset](), **_flatten(overrides)}.items():
        if key not in known:
            raise ConfigError(f"there is no setting {key!r}: {_near(key, known)}")
        section, name = key.split(".")
        given = _from_text(value) if isinstance(value, str) else value
        tree[section][name] = (given,) if isinstance(defaults[key], tuple) and isinstance(given, int) else given
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


def _flatten(overrides: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _from_text(text: str) -> Any:
    """The value that a text stands for: JSON, a list without its brackets, or the text itself."""
    try:
        return json.loads(f"[{text}]" if "," in text and text[0] != "[" else text)
    except ValueError:
        return text


def _near(name: str, known: list[str]) -> str:
    """What a person may have meant: the near names, or where to look."""
    leaf = name.rsplit(".", 1)[-1]
    near = [key for key in known if key.rsplit(".", 1)[-1] == leaf]
    near += [key for key in difflib.get_close_matches(name, known, n=3, cutoff=0.5) if key not in near]
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are {', '.join(known)}" if len(known) < 20 else "--help lists all of them"
