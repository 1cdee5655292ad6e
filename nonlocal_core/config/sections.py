"""The sections of the tree of settings, each read by the stages that its name says.

One line with the unit under each field.  A setting belongs to the first stage that reads it; `runtime` holds what
changes no result: it enters no key.  The network has a room of its own, `model_section.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nonlocal_core.config.section import Fraction, Positive, Section


class IndexConfig(Section):
    """What index reads."""

    layout: Literal["auto", "class_folders", "kinetics", "lists"] = "auto"
    """how the videos lie on disk; auto detects it"""
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """share of each label's videos that goes to val where the layout names no split (0…1)"""
    split_seed: int = 0
    """seed of that split"""
    frozen_val: Annotated[str, Field(pattern="^[a-z0-9-]*$")] = ""
    """name of a split that the workspace keeps: val stays, new videos go to train (empty: drawn each time)"""
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


class EvaluateConfig(Section):
    """What evaluate reads."""

    split: Literal["val", "test", "train", "all"] = "val"
    """split that is scored; all takes every video"""
    protocol: Literal["own", "1x1", "10x1", "10x3", "mmaction2", "paper", "seed"] = "own"
    """a name for clips, offsets, crops and head (docs/guides/evaluation.md), or own: each is set for itself"""
    num_clips: Positive = 10
    """clips of a video"""
    offsets: Literal["spread", "paper", "random"] = "spread"
    """clips start from the first to the last possible frame; at k/num_clips of the video; or as in training"""
    seed: int = 0
    """seed of random offsets"""
    num_crops: Literal[1, 3] = 3
    """crops of a clip: 1 centre, or 3 along the longer side"""
    crop_size: Annotated[int, Field(ge=32)] = 256
    """side of a test crop (pixels)"""
    head: Literal["trained", "pooled", "fully_conv"] = "trained"
    """the checkpoint's own, or the mean of the map is classified, or each window as large as a training clip's"""
    batch_clips: Positive = 8
    """views that go through the network together; the last digits of a score depend on it"""


class RegistryConfig(Section):
    """What register reads."""

    rule: Literal["margin", "mcnemar"] = "margin"
    """a challenger is better by a gain in top-1 alone, or by one that McNemar's test finds significant too"""
    min_gain: Fraction = 0.0
    """top-1 that a challenger needs above the champion, which it must exceed (fraction; both rules)"""
    max_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """greatest probability of such an uneven split if neither were better (0…1; rule=mcnemar)"""


class RuntimeConfig(Section):
    """What changes no result, so that it enters no key; of num_devices the key has the clips that BN sees."""

    device: Literal["auto", "CPU", "GPU", "Ascend"] = "auto"
    """where the network runs; auto takes a GPU or Ascend if MindSpore finds one"""
    slots_dir: str = ""
    """folder of the locks that keep two runs off one device (empty: one a host, and no lock for the CPU)"""
    num_devices: Positive = 1
    """devices that share each batch of a training; docs/guides/several_devices.md says when BN depends on it"""
    hosts: str = ""
    """HOST:PORT of this machine,HOST,… that have equally many of these devices each (empty: this machine alone)"""
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
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """newest checkpoints that are kept while a training runs; the older ones are there in case one is damaged"""
    keep_every_epochs: Annotated[int, Field(ge=0)] = 0
    """epochs between checkpoints that are kept for good (0: none)"""
    attention_videos: Annotated[int, Field(ge=0)] = 3
    """videos whose attention the HTML report of an entry draws (0: none)"""
