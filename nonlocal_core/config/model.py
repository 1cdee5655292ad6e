"""The section `model` of the tree of settings: every choice that makes one network differ from another.

The defaults are mmaction2's Non-local I3D ResNet-50 for clips of 32x2.
docs/reference/networks.md says which settings are whose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nonlocal_core.config.section import Blocks, Positive, Section, later
from nonlocal_core.errors import ConfigError

Frames = Annotated[int, Field(ge=0)]
Level = Annotated[float, Field(ge=0.0, le=255.0)]
Spread = Annotated[float, Field(gt=0.0, le=255.0)]


class ModelConfig(Section):
    """The network; how many classes it has comes from the labels."""

    backbone: Annotated[Literal["resnet", "inception"], later("resnet")] = "resnet"
    """network under the blocks: a ResNet, or the Inception-v1 of the first I3D (docs/reference/networks.md)"""
    input_mean: tuple[Level, Level, Level] = (123.675, 116.28, 103.53)
    """mean that is subtracted from red, green and blue (0…255; ImageNet's, as mmaction2)"""
    input_std: tuple[Spread, Spread, Spread] = (58.395, 57.12, 57.375)
    """deviation that red, green and blue are divided by, once the mean is subtracted (0…255)"""
    width: Positive = 64
    """channels after the stem (64 in every published network; a multiple of 8 with model.backbone=inception)"""
    block: Literal["bottleneck", "basic"] = "bottleneck"
    """residual block: 3 convolutions, 4 times the channels (ResNet-50, -101), or two 3x3 ones (ResNet-18, -34)"""
    stage_blocks: tuple[Positive, Positive, Positive, Positive] = (3, 4, 6, 3)
    """residual blocks of res2, res3, res4, res5 (ResNet-18: 2,2,2,2; -34, -50: 3,4,6,3; -101: 3,4,23,3)"""
    inflate: Literal["3x1x1", "3x3x3", "none"] = "3x1x1"
    """kernels of inflated blocks: the first 1x1 becomes 3x1x1, or each 3x3 becomes 3x3x3 (I3D); none: C2D"""
    inflated_blocks: Literal["every_second", "every"] = "every_second"
    """which residual blocks are inflated: all of res2 and every second one after it, or all"""
    norm: Literal["batch", "frozen"] = "batch"
    """batch norm of the network; frozen: mean and variance stay as they are, gamma and beta learn"""
    zero_gamma: bool = True
    """the last gamma of each residual block starts at 0, not at 1"""
    stem_kernel_t: Literal[1, 3, 5, 7] = 5
    """temporal kernel of the stem (frames)"""
    stem_stride_t: Positive = 2
    """temporal stride of the stem (frames)"""
    pool1_kernel_t: Literal[1, 2, 3] = 1
    """temporal kernel of pool1, which follows the stem (frames; 3 is padded by 1)"""
    pool1_stride_t: Positive = 2
    """temporal stride of pool1, which follows the stem (frames)"""
    pool1_pad: Literal[0, 1] = 1
    """spatial padding of pool1, which follows the stem (pixels; 224 become 56 with 1, 55 with 0)"""
    pool2_kernel_t: Literal[1, 2, 3] = 2
    """temporal kernel of pool2, which follows res2 (frames; 3 is padded by 1)"""
    pool2_stride_t: Positive = 2
    """temporal stride of pool2, which follows res2 (frames)"""
    nl_res2: Blocks = ()
    """blocks of res2 that a non-local block follows (numbers from 0; Inception: 2b, 2c)"""
    nl_res3: Blocks = (1, 3)
    """blocks of res3 that a non-local block follows (numbers from 0; Inception: 3b, 3c)"""
    nl_res4: Blocks = (1, 3, 5)
    """blocks of res4 that a non-local block follows (numbers from 0; Inception: 4b to 4f)"""
    nl_res5: Blocks = ()
    """blocks of res5 that a non-local block follows (numbers from 0; Inception: 5b, 5c)"""
    pairwise: Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"] = "dot_product"
    """pairwise function of the non-local blocks: how they compare two positions"""
    nl_scale: bool = False
    """non-local blocks divide what they compare by the square root of its channels"""
    nl_axes: Literal["spacetime", "space", "time"] = "spacetime"
    """what non-local blocks compare a position with: all positions, its frame, or its place in all frames"""
    nl_group_frames: tuple[Frames, Frames, Frames, Frames] = (0, 0, 0, 0)
    """frames of a group in res2, res3, res4, res5: non-local blocks compare within a group (0: all frames)"""
    nl_sub_sample: Literal["after_conv", "before_conv", "none"] = "after_conv"
    """2x2 spatial max pool in non-local blocks: of phi and g (mmaction2), of their input (Caffe2), or none"""
    nl_out_bias: bool = False
    """the last convolution of a non-local block has a bias"""
    nl_norm: Literal["batch", "frozen", "none"] = "batch"
    """norm after the last convolution of a non-local block"""
    nl_zero_gamma: bool = True
    """the gamma of a non-local block's norm starts at 0, not at 1: a new block is the identity"""
    nl_init: Literal["normal", "msra"] = "normal"
    """first weights of theta, phi and g: normal of deviation 0.01, or He's for ReLU by the outputs"""
    nl_out_init: Literal["normal", "msra", "zeros"] = "msra"
    """first weights of a non-local block's last convolution; zeros, without norm: a new block is the identity"""
    head: Literal["pooled", "two_frames", "fully_conv"] = "pooled"
    """what is classified: the mean of the map, of each two frames in turn, or at test of windows (mean score)"""
    head_window: tuple[Positive, Positive, Positive] = (4, 7, 7)
    """window of model.head=fully_conv: the map that a training clip leaves (frames, rows, columns)"""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """share of the pooled features that is dropped in training (0…1)"""

    @property
    def num_features(self) -> int:
        """Channels of res5, which the head classifies."""
        return self.channels(5)

    def channels(self, stage: int) -> int:
        """Channels after a stage, 2 to 5."""
        if self.backbone == "inception":
            return self.width * (192, 480, 832, 1024)[stage - 2] // 64
        return self.width * (4 if self.block == "bottleneck" else 1) << (stage - 2)

    def num_blocks(self, stage: int) -> int:
        """Blocks of a stage, 2 to 5."""
        return ((2, 2, 5, 2) if self.backbone == "inception" else self.stage_blocks)[stage - 2]

    def nl_blocks(self, stage: int) -> Blocks:
        """The blocks of a stage, 2 to 5, that a non-local block follows."""
        return (self.nl_res2, self.nl_res3, self.nl_res4, self.nl_res5)[stage - 2]

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        for stage in (2, 3, 4, 5):
            last = self.num_blocks(stage) - 1
            blocks = self.nl_blocks(stage)
            if blocks and max(blocks) > last:
                raise ConfigError(
                    f"model.nl_res{stage} names block {max(blocks)}: the stage has blocks 0 to {last}"
                )
        if self.backbone == "inception":
            self._fits_inception()
        if self.block == "basic" and self.inflate == "3x1x1":
            raise ConfigError(
                "model.inflate=3x1x1 widens a 1x1 convolution, and a basic block has none:"
                " set model.inflate=3x3x3 or model.inflate=none"
            )
        if self.nl_axes == "time" and self.nl_sub_sample != "none":
            raise ConfigError(
                f"model.nl_axes=time compares one place over time, which model.nl_sub_sample={self.nl_sub_sample}"
                " would mix with its neighbours: set model.nl_sub_sample=none"
            )
        if self.nl_axes == "space" and any(self.nl_group_frames):
            raise ConfigError(
                f"model.nl_group_frames={list(self.nl_group_frames)} groups frames, but with model.nl_axes=space"
                " each frame is alone: leave model.nl_group_frames out"
            )
        return self

    def _fits_inception(self) -> None:
        """Raise ConfigError if a setting of residual networks is set, or the width cannot be shared out."""
        for name in _RESIDUAL:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ConfigError(
                    f"model.{name} is a setting of residual networks: leave it out with model.backbone=inception"
                )
        if self.width % 8:
            raise ConfigError(f"model.width={self.width}: with model.backbone=inception, take a multiple of 8")


_RESIDUAL = (
    *("block", "stage_blocks", "inflate", "inflated_blocks", "zero_gamma", "stem_kernel_t", "stem_stride_t"),
    *("pool1_kernel_t", "pool1_stride_t", "pool1_pad", "pool2_kernel_t", "pool2_stride_t"),
)
"""settings that the Inception network does not read: its kernels, strides and pools are those of the source"""


def looks_over_time(model: ModelConfig, stage: int, block: int) -> bool:
    """Whether a block of a stage is inflated."""
    if model.inflate == "none":
        return False
    return model.inflated_blocks == "every" or stage == 2 or block % 2 == (1 if stage == 5 else 0)


_INCEPTION_STRIDES = (
    *(("stem", 2, 2), ("pool1", 1, 2), ("res2", 1, 1), ("pool2", 1, 2)),
    *(("res3", 1, 1), ("res4", 2, 2), ("res5", 2, 2)),
)
"""strides in time and in space, each padded so that it leaves a map's size over its stride, rounded up"""


def map_sizes(model: ModelConfig, clip_len: int, side: int) -> Iterator[tuple[str, int, int]]:
    """Each part of the network with the frames and rows that it leaves of a square clip."""
    if model.backbone == "inception":
        for part, stride_t, stride in _INCEPTION_STRIDES:
            clip_len, side = -(-clip_len // stride_t), -(-side // stride)
            yield part, clip_len, side
        return

    def size_after(size: int, kernel: int, stride: int, pad: int) -> int:
        return (size + 2 * pad - kernel) // stride + 1

    frames = size_after(clip_len, model.stem_kernel_t, model.stem_stride_t, model.stem_kernel_t // 2)
    side = size_after(side, 7, 2, 3)
    yield "stem", frames, side
    frames = size_after(frames, model.pool1_kernel_t, model.pool1_stride_t, (model.pool1_kernel_t - 1) // 2)
    side = size_after(side, 3, 2, model.pool1_pad)
    yield "pool1", frames, side
    yield "res2", frames, side
    frames = size_after(frames, model.pool2_kernel_t, model.pool2_stride_t, (model.pool2_kernel_t - 1) // 2)
    yield "pool2", frames, side
    for stage in (3, 4, 5):
        side = size_after(side, 3, 2, 1)
        yield f"res{stage}", frames, side


def check_clip(model: ModelConfig, clip_len: int, train_side: int, test_side: int) -> None:
    """Check that the network can take such clips.

    Raises: ConfigError that names the part with too few frames or pixels, or the window or group that does not
            fit.
    """
    for part, frames, _ in map_sizes(model, clip_len, train_side):
        if frames < 1:
            raise ConfigError(
                f"clip.clip_len={clip_len} is too short for the temporal kernels and strides: nothing is left"
                f" after {part}; raise it, or lower model.stem_stride_t, model.pool1_stride_t or"
                " model.pool2_stride_t"
            )
    for name, side in (("train", train_side), ("evaluate", test_side)):
        maps = {part: (frames, rows) for part, frames, rows in map_sizes(model, clip_len, side)}
        for stage in (2, 3, 4, 5):
            if model.nl_blocks(stage):
                _check_stage(model, stage, *maps[f"res{stage}"], f"{name}.crop_size={side}")
    if model.head == "fully_conv":
        frames, rows = [(frames, rows) for _, frames, rows in map_sizes(model, clip_len, train_side)][-1]
        if model.head_window != (frames, rows, rows):
            raise ConfigError(
                f"model.head_window={','.join(map(str, model.head_window))} is not what a training clip of"
                f" clip.clip_len={clip_len} and train.crop_size={train_side} leaves of itself:"
                f" set model.head_window={frames},{rows},{rows}"
            )
        if test_side < train_side:
            raise ConfigError(
                f"evaluate.crop_size={test_side} is smaller than train.crop_size={train_side}, which"
                " model.head_window was made for: raise it, or set model.head=pooled"
            )


def _check_stage(model: ModelConfig, stage: int, frames: int, rows: int, crop: str) -> None:
    """Raise ConfigError where the non-local blocks of a stage cannot take maps of this size."""
    if model.nl_sub_sample != "none" and rows < 2:
        raise ConfigError(
            f"model.nl_sub_sample={model.nl_sub_sample} pools 2x2, but {crop} leaves {rows}x{rows} in res{stage}:"
            f" set model.nl_sub_sample=none, or model.nl_res{stage}=[]"
        )
    group = model.nl_group_frames[stage - 2]
    if group and frames % group:
        raise ConfigError(
            f"model.nl_group_frames={list(model.nl_group_frames)} cuts res{stage} into groups of {group} frames,"
            f" but clip.clip_len leaves {frames}: choose a divisor of {frames}, or 0"
        )
