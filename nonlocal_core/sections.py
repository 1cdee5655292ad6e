"""The sections of the tree of settings, each read by the stages that its name says.

One line with the unit under each field.  A setting belongs to the first stage that reads it; `runtime` holds what
changes no result: it enters no key.  The network has a room of its own, `model_section.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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

    layout: Literal["auto", "class_folders", "kinetics", "lists"] = "auto"
    """how the videos lie on disk; auto detects it"""
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """share of each label's videos that goes to val where the layout names no split (0…1)"""
    split_seed: int = 0
    """seed of that split"""
    min_frames: Positive = 2
    """fewest frames of a video that is used (frames)"""
    duplicates: Literal["drop_from_train", "keep"] = "drop_from_train"
    """a video whose content is in another split too: not trained on, or kept where it is; both are reported"""


class CacheConfig(Section):
    """What cache reads."""

    codec: Literal["jpeg", "none"] = "jpeg"
    """frames are stored as JPEG, or not at all: clips are then decoded from the videos themselves"""
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
    video_timeout_s: Annotated[float, Field(gt=0.0)] = 60.0
    """time without a new frame after which a video is given up (seconds)"""
    index_shard_videos: Positive = 2000
    """videos of one index task"""
    cache_shard_videos: Positive = 128
    """videos of one cache task"""
    checkpoint_steps: Positive = 100
    """steps between checkpoints"""
