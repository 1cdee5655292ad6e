"""The sections of the tree of settings, each read by the stages that its name says.

One line with the unit under each field.  A setting belongs to the first stage that reads it; `runtime` holds what
changes no result: it enters no key.  `model` and `train` have files of their own.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nonlocal_core.config.section import Fraction, Positive, Section, later
from nonlocal_core.errors import ConfigError


class IndexConfig(Section):
    """What index reads."""

    layout: Literal["auto", "class_folders", "kinetics", "folds", "lists"] = "auto"
    """how the videos lie on disk; auto detects it"""
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """share of each label's videos that goes to val where the layout names no split (0…1)"""
    split_seed: int = 0
    """seed of the draw of val videos, where the layout names no split"""
    frozen_val: Annotated[str, Field(pattern="^[a-z0-9-]*$")] = ""
    """name of a draw of val videos that is kept for later runs; new videos go to train (empty: drawn each time)"""
    min_frames: Positive = 2
    """length of the shortest video that is used (frames)"""
    duplicates: Literal["drop_from_train", "keep"] = "drop_from_train"
    """what happens to a train video whose content val or test has too; reports name it in both cases"""
    fold: Annotated[Positive, later(1)] = 1
    """which of the official splits of UCF101 or HMDB51 is taken (index.layout=folds)"""
    list_columns: Annotated[
        Literal["auto", "path,label", "path,num_frames,label", "path,label,start,end", "number,path,label"],
        later("auto"),
    ] = "auto"
    """what the fields of a list's lines are, where they can be read in two ways"""
    frame_name: Annotated[str, Field(pattern=r"^([^/{}]*\{(:0?\d*d)?\}[^/{}]*)?$"), later("")] = ""
    """series of pictures that is a video, such as img_{:05d}; needed where a folder holds several series"""
    group_by: Annotated[str, later("")] = ""
    """regular expression of paths: a drawn split keeps videos of one match together (empty: UCF101's names)"""

    @model_validator(mode="after")
    def _is_pattern(self) -> IndexConfig:
        try:
            re.compile(self.group_by)
        except re.error as error:
            raise ConfigError(f"index.group_by={self.group_by} is no regular expression: {error}") from None
        return self


class CacheConfig(Section):
    """What cache reads."""

    codec: Literal["jpeg", "none"] = "jpeg"
    """format of cached frames; with none, nothing is stored and clips are decoded from the videos themselves"""
    jump: Annotated[Literal["pyav", "decord"], later("pyav")] = "pyav"
    """library that jumps to the frames of a clip in a video (cache.codec=none)"""
    short_side: Annotated[int, Field(ge=16)] = 256
    """shorter side of a cached frame (pixels)"""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """JPEG quality of a cached frame (1…100)"""
    interpolation: Literal["auto", "nearest", "bilinear", "bicubic", "area"] = "auto"
    """how frames are resized; auto takes area to shrink a frame, bicubic to enlarge it"""
    pixels: Annotated[Literal["shown", "stored"], later("shown")] = "shown"
    """shape of frames whose pixels are no squares: as players show them, or as they are stored"""

    @property
    def frames(self) -> str:
        """What is done to the pixels of a frame, as text: resized by auto, JPEG 90."""
        codec = f"JPEG {self.jpeg_quality}" if self.codec == "jpeg" else "no JPEG"
        shape = ", pixels as stored" if self.pixels == "stored" else ""
        return f"resized by {self.interpolation}, {codec}{shape}"


class ClipConfig(Section):
    """Which frames of a video make a clip."""

    clip_len: Positive = 32
    """length of a clip (frames)"""
    frame_interval: Positive = 2
    """distance from one frame of a clip to the next (source frames; clip.sampling=interval)"""
    sampling: Literal["interval", "part", "discrete", "average"] = "interval"
    """frames of a clip: frame_interval apart, consecutive, random ones in order, or spread over the video"""
    short_videos: Literal["repeat_last", "loop"] = "repeat_last"
    """what fills a clip that is longer than its video: its last frame again, or the video from its start"""
    fps: Annotated[float, Field(ge=0.0), later(0.0)] = 0.0
    """rate that clips are resampled to, as PySlowFast does to 30 (frames per second; 0: each video has its own)"""

    @property
    def name(self) -> str:
        """A clip as text: 32x2, or 8x8 at 30 frames/s."""
        step = 1 if self.sampling == "part" else self.frame_interval
        return f"{self.clip_len}x{step}" + (f" at {self.fps:g} frames/s" if self.fps else "")

    @model_validator(mode="after")
    def _has_an_interval(self) -> ClipConfig:
        if self.fps and self.sampling != "interval":
            raise ConfigError(
                f"clip.fps={self.fps:g} needs clip.sampling=interval: the clips of clip.sampling={self.sampling}"
                " have no rate"
            )
        return self


class FeaturesConfig(Section):
    """What features reads: the views that the network up to train.freeze looks at once, before train."""

    num_clips: Annotated[int, Field(ge=0)] = 0
    """clips of each video, evenly spread, whose features are kept for train (0: each step looks at new clips)"""
    num_crops: Literal[1, 3] = 1
    """crops of each kept clip: 1 in the centre, or 3 along the longer side"""
    crop_size: Annotated[int, Field(ge=32)] = 224
    """side of the crops whose features are kept (pixels)"""
    mirrored: bool = False
    """features of each view in the mirror are kept too, for train to learn from"""


class EvaluateConfig(Section):
    """What evaluate reads."""

    split: Literal["val", "test", "train", "all"] = "val"
    """split that is scored; all takes every video"""
    protocol: Literal[
        "own", "1x1", "10x1", "10x3", "mmaction2", "mmaction2_exact", "paper", "slowfast", "seed"
    ] = "own"
    """name for clips, crops and head (docs/guides/evaluation.md); own: each as it is set"""
    num_clips: Positive = 10
    """clips of each video that are scored"""
    offsets: Literal["spread", "paper", "slowfast", "random"] = "spread"
    """starts of the clips: from first to last possible, at k/num_clips of the video or of its spare, or random"""
    seed: int = 0
    """seed of evaluate.offsets=random"""
    num_crops: Literal[1, 3] = 3
    """crops of each clip that are scored: 1 in the centre, or 3 along the longer side"""
    crops: Annotated[Literal["ends", "even", "slowfast"], later("ends")] = "ends"
    """places of the crops: both ends and the middle, steps of one length, or the ends and the middle rounded up"""
    crop_size: Annotated[int, Field(ge=32)] = 256
    """side of a test crop (pixels)"""
    head: Literal["trained", "pooled", "fully_conv"] = "trained"
    """what is classified: as the checkpoint says, the mean of the map, or windows of a training clip's size"""
    batch_clips: Positive = 8
    """views that go through the network together; the last digits of a score depend on their number"""


class RegistryConfig(Section):
    """What register reads."""

    rule: Literal["margin", "mcnemar"] = "margin"
    """what makes a challenger the champion: a gain in top-1, or one that McNemar's test finds significant too"""
    min_gain: Fraction = 0.0
    """gain in top-1 that a challenger has to exceed to replace the champion (0…1; both rules)"""
    max_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """greatest p of McNemar's test that counts as significant (0…1; registry.rule=mcnemar)"""


class RuntimeConfig(Section):
    """What changes no result, so that it enters no key; of num_devices the key has the clips that BN sees.

    Of follow_links the key of index has the videos that were found.
    """

    device: Literal["auto", "CPU", "GPU", "Ascend"] = "auto"
    """where the network runs; auto takes a GPU or Ascend if MindSpore finds one"""
    compile: Literal["auto", "always", "never"] = "auto"
    """when MindSpore compiles; auto and never go operator by operator on one CPU, auto where little is computed"""
    engine: Literal["auto", "mindspore", "openvino"] = "auto"
    """what computes where nothing is learned; auto takes OpenVINO on a CPU if the extra openvino is installed"""
    slots_dir: str = ""
    """folder of the locks that keep two runs off one device (empty: the host's own, and no lock for the CPU)"""
    num_devices: Positive = 1
    """devices that share the batches of a training or the videos of a stage; docs/guides/several_devices.md"""
    hosts: str = ""
    """experimental: machines that share num_devices equally: HOST:PORT of the first,HOST,… (empty: no others)"""
    num_workers: Annotated[int, Field(ge=0)] = 0
    """threads that prepare clips (0: one for each core)"""
    follow_links: Literal["inside", "all"] = "inside"
    """links to folders that are followed: those that lead to a place inside of the folder of the videos, or all"""
    max_unreadable: Fraction = 0.1
    """share of unreadable videos above which index and cache stop (0…1)"""
    video_timeout_s: Annotated[float, Field(gt=0.0)] = 60.0
    """longest wait for the next frame of a video before it is given up (seconds)"""
    max_decode_s: Annotated[float, Field(gt=0.0)] = 3600.0
    """longest time that decoding one video may take (CPU seconds)"""
    max_memory_gb: Annotated[float, Field(gt=0.0)] = 8.0
    """most memory that decoding one video may take (GB, on Linux)"""
    max_kept_gb: Annotated[float, Field(gt=0.0)] = 3.0
    """most that the cached frames of one video may take (GB)"""
    max_frame_mpx: Annotated[float, Field(gt=0.0)] = 100.0
    """largest frame that is decoded (million pixels)"""
    index_shard_videos: Positive = 2000
    """videos of one shard of index, a task that is retried alone"""
    cache_shard_videos: Positive = 128
    """videos of one shard of cache, a task that is retried alone"""
    checkpoint_steps: Positive = 100
    """steps of a training from one checkpoint to the next"""
    keep_checkpoints: Annotated[int, Field(ge=2)] = 2
    """newest checkpoints that a running training keeps; an older one serves if the newest is damaged"""
    keep_every_epochs: Annotated[int, Field(ge=0)] = 0
    """epochs between checkpoints that are kept for good (0: none)"""
    attention_videos: Annotated[int, Field(ge=0)] = 3
    """videos whose attention the HTML report of an entry draws (0: none)"""
