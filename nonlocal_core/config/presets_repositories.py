"""Named settings of the paper's Table 2g and of three repositories, each as its authors built it.

The suffix says whose code it is: `_caffe2` is video-nonlocal-net (and the paper), `_slowfast` PySlowFast and
pytorchvideo, `_gluon` gluon-cv; mmaction2's are the defaults and have none.
All but gluon-cv's train as their authors did.  docs/reference/networks.md has all of them in one table.
Networks with frozen statistics make sense from trained weights only.

Accuracies: Kinetics-400 val, 30 views, top-1 / top-5.
"""

from __future__ import annotations

from nonlocal_core.config.presets_paper import (
    C2D,
    CAFFE2,
    CAFFE2_32X2,
    EVERY_OTHER_R101,
    JITTER,
    NO_BLOCKS,
    ONE_LEVEL,
    R101,
    TEN_R50,
    TEN_R101,
    Preset,
)
from nonlocal_core.config.recipes import PAPER_128F, SLOWFAST_IMAGENET, SLOWFAST_SCRATCH

EIGHT: Preset = {
    "clip.clip_len": 8,
    "clip.frame_interval": 8,
    "model.stem_stride_t": 1,
    "model.pool1_stride_t": 1,
}
FROZEN: Preset = {
    "model.nl_norm": "none",
    "model.nl_out_init": "zeros",
    "model.nl_group_frames": (0, 4, 0, 0),
    "model.head_window": (16, 7, 7),
    **PAPER_128F,
}
"""the long clips of video-nonlocal-net: frozen BN, no norm in the blocks, groups of 4 frames in res3"""
LONG: Preset = {**CAFFE2_32X2, **FROZEN, "clip.clip_len": 128, "clip.frame_interval": 1}
SLOWFAST: Preset = {
    **JITTER,
    **ONE_LEVEL,
    **EIGHT,
    "model.pairwise": "embedded_gaussian",
    "model.nl_scale": True,
    "model.nl_sub_sample": "before_conv",
    "model.nl_out_bias": True,
    "model.nl_init": "msra",
    "model.head": "fully_conv",
    **SLOWFAST_SCRATCH,
}
GLUON: Preset = {
    "model.zero_gamma": False,
    "model.pairwise": "embedded_gaussian",
    "model.nl_scale": True,
    "model.nl_sub_sample": "none",
    "model.nl_out_bias": True,
    "model.nl_zero_gamma": False,
}
"""gluon-cv starts from ImageNet; its blocks have PyTorch's own random weights and are no identity at first"""


def c2d_r50_128x1_caffe2() -> Preset:
    """C2D ResNet-50 on 128 frames.

    Command:  python flows/full.py c2d_r50_128x1_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.8 / 91.2 (Table 2g)
    """
    return {**LONG, **C2D, **NO_BLOCKS}


def i3d_r50_128x1_caffe2() -> Preset:
    """I3D ResNet-50 on 128 frames.

    Command:  python flows/full.py i3d_r50_128x1_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.9 / 91.7 (Table 2g), 75.2 / 92.0 (video-nonlocal-net)
    """
    return {**LONG, **NO_BLOCKS}


def nl5_i3d_r50_128x1_caffe2() -> Preset:
    """Non-local I3D ResNet-50 on 128 frames.

    Command:  python flows/full.py nl5_i3d_r50_128x1_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 76.5 / 92.6 (Table 2g), 76.5 / 92.7 (video-nonlocal-net)
    """
    return {**LONG}


def c2d_r101_128x1_caffe2() -> Preset:
    """C2D ResNet-101 on 128 frames.

    Command:  python flows/full.py c2d_r101_128x1_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.3 / 91.8 (Table 2g)
    """
    return {**LONG, **R101, **C2D, **NO_BLOCKS}


def i3d_r101_128x1_caffe2() -> Preset:
    """I3D ResNet-101 on 128 frames.

    Command:  python flows/full.py i3d_r101_128x1_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 76.4 / 92.7 (Table 2g)
    """
    return {**LONG, **R101, **NO_BLOCKS}


def nl5_i3d_r101_128x1_caffe2() -> Preset:
    """Non-local I3D ResNet-101 on 128 frames.

    Command:  python flows/full.py nl5_i3d_r101_128x1_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 77.7 / 93.3 (Table 2g)
    """
    return {**LONG, **R101, **EVERY_OTHER_R101}


def c2d_r50_8x8_caffe2() -> Preset:
    """C2D ResNet-50 on 8 frames.

    Command:  python flows/full.py c2d_r50_8x8_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 71.9 / 90.0 (video-nonlocal-net)
    """
    return {**CAFFE2, **EIGHT, **C2D, **NO_BLOCKS}


def nl5_c2d_r50_8x8_caffe2() -> Preset:
    """Non-local C2D ResNet-50 on 8 frames.

    Command:  python flows/full.py nl5_c2d_r50_8x8_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.4 / 91.4 (video-nonlocal-net)
    """
    return {**CAFFE2, **EIGHT, **C2D}


def i3d_r50_8x8_caffe2() -> Preset:
    """I3D ResNet-50 on 8 frames.

    Command:  python flows/full.py i3d_r50_8x8_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.4 / 90.9 (video-nonlocal-net)
    """
    return {**CAFFE2, **EIGHT, **NO_BLOCKS}


def nl5_i3d_r50_8x8_caffe2() -> Preset:
    """Non-local I3D ResNet-50 on 8 frames.

    Command:  python flows/full.py nl5_i3d_r50_8x8_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.7 / 91.6 (video-nonlocal-net)
    """
    return {**CAFFE2, **EIGHT}


def i3d_r50_32x4_caffe2() -> Preset:
    """I3D ResNet-50 on 32 frames of the 8-frame network's strides, with frozen BN.

    Command:  python flows/full.py i3d_r50_32x4_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.5 / 92.0 (video-nonlocal-net)
    """
    return {**nl5_i3d_r50_32x4_caffe2(), **NO_BLOCKS}


def nl5_i3d_r50_32x4_caffe2() -> Preset:
    """Non-local I3D ResNet-50 on 32 frames of the 8-frame network's strides.

    Command:  python flows/full.py nl5_i3d_r50_32x4_caffe2 videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 76.5 / 92.6 (video-nonlocal-net)
    """
    return {**CAFFE2, **EIGHT, **FROZEN, "clip.clip_len": 32, "clip.frame_interval": 4}


def c2d_r50_8x8_slowfast() -> Preset:
    """C2D ResNet-50; pool2 halves the frames.

    Command:  python flows/full.py c2d_r50_8x8_slowfast videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 71.46 / 89.68 (pytorchvideo)
    """
    return {**SLOWFAST, **C2D, **NO_BLOCKS}


def c2d_r50_8x8_slowfast_nopool() -> Preset:
    """C2D ResNet-50 whose frames meet only in the head.

    Command:  python flows/full.py c2d_r50_8x8_slowfast_nopool videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 67.2 / 87.8 (PySlowFast)
    """
    return {
        **c2d_r50_8x8_slowfast(),
        "model.pool2_kernel_t": 1,
        "model.pool2_stride_t": 1,
        "model.head_window": (8, 7, 7),
    }


def i3d_r50_8x8_slowfast() -> Preset:
    """I3D ResNet-50.

    Command:  python flows/full.py i3d_r50_8x8_slowfast videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.5 / 90.8 (PySlowFast), 73.27 / 90.70 (pytorchvideo)
    """
    return {**SLOWFAST, **NO_BLOCKS}


def nl5_i3d_r50_8x8_slowfast() -> Preset:
    """Non-local I3D ResNet-50.

    Command:  python flows/full.py nl5_i3d_r50_8x8_slowfast videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.0 / 91.1 (PySlowFast)
    """
    return {**SLOWFAST}


def nl5_i3d_r50_8x8_slowfast_imagenet() -> Preset:
    """Non-local I3D ResNet-50, from ImageNet weights instead of random ones.

    Command:  python flows/full.py nl5_i3d_r50_8x8_slowfast_imagenet videos_dir=DIR train.init=FILE
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: not published; 74.0 / 91.1 from random weights (PySlowFast)
    """
    return {**SLOWFAST, **SLOWFAST_IMAGENET}


def i3d_r50_32x2_gluon() -> Preset:
    """I3D ResNet-50.

    Command:  python flows/full.py i3d_r50_32x2_gluon videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.87 top-1 (gluon-cv)
    """
    return {**GLUON, **NO_BLOCKS}


def nl5_i3d_r50_32x2_gluon() -> Preset:
    """Non-local I3D, five blocks, in ResNet-50.

    Command:  python flows/full.py nl5_i3d_r50_32x2_gluon videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.17 top-1 (gluon-cv)
    """
    return {**GLUON}


def nl10_i3d_r50_32x2_gluon() -> Preset:
    """Non-local I3D, ten blocks, in ResNet-50.

    Command:  python flows/full.py nl10_i3d_r50_32x2_gluon videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.93 top-1 (gluon-cv)
    """
    return {**GLUON, **TEN_R50}


def i3d_r101_32x2_gluon() -> Preset:
    """I3D ResNet-101.

    Command:  python flows/full.py i3d_r101_32x2_gluon videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.1 top-1 (gluon-cv)
    """
    return {**GLUON, **R101, **NO_BLOCKS}


def nl5_i3d_r101_32x2_gluon() -> Preset:
    """Non-local I3D, five blocks, in ResNet-101.

    Command:  python flows/full.py nl5_i3d_r101_32x2_gluon videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.81 top-1 (gluon-cv)
    """
    return {**GLUON, **R101, **EVERY_OTHER_R101}


def nl10_i3d_r101_32x2_gluon() -> Preset:
    """Non-local I3D, ten blocks, in ResNet-101.

    Command:  python flows/full.py nl10_i3d_r101_32x2_gluon videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.93 top-1 (gluon-cv)
    """
    return {**GLUON, **R101, **TEN_R101}
