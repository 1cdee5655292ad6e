"""The networks of the paper's Tables 2a to 2f: clips of 32x2, as the authors' Caffe2 code builds them.

`nl1_`, `nl5_`, `nl10_` say how many non-local blocks a network has; without another word they compare by the
embedded Gaussian.  The accuracies are the paper's, Kinetics-400 val, 30 views: top-1 / top-5.  The training is
the paper's as far as the settings have it: the paper starts from ImageNet, and makes its BN precise.

Source: Wang, Girshick, Gupta, He 2018, section 5.1 and video-nonlocal-net, resnet_video_org.
"""

from __future__ import annotations

from nonlocal_core.config.recipes import PAPER_32F

Preset = dict[str, object]

JITTER: Preset = {"train.scale_max": 1.25}
"""the short side of a clip is drawn from 256 to 320 pixels, then 224 are cut out; cached frames have 256"""
NO_BLOCKS: Preset = {"model.nl_res3": (), "model.nl_res4": ()}
C2D: Preset = {"model.inflate": "none", "model.stem_kernel_t": 1}
R101: Preset = {"model.stage_blocks": (3, 4, 23, 3)}
EVERY_OTHER_R101: Preset = {"model.nl_res3": (1, 3), "model.nl_res4": (6, 13, 20)}
TEN_R50: Preset = {"model.nl_res3": (0, 1, 2, 3), "model.nl_res4": (0, 1, 2, 3, 4, 5)}
TEN_R101: Preset = {"model.nl_res3": (0, 1, 2, 3), "model.nl_res4": (2, 6, 10, 14, 18, 22)}
ONE_LEVEL: Preset = {"model.input_mean": (114.75, 114.75, 114.75), "model.input_std": (57.375, 57.375, 57.375)}
"""0.45 and 0.225 of 255 for every colour: Caffe2 and SlowFast"""
CAFFE2: Preset = {
    **JITTER,
    **ONE_LEVEL,
    "model.pool1_pad": 0,
    "model.pairwise": "embedded_gaussian",
    "model.nl_scale": True,
    "model.nl_sub_sample": "before_conv",
    "model.nl_out_bias": True,
    "model.nl_out_init": "normal",
    "model.head": "fully_conv",
    **PAPER_32F,
    "evaluate.offsets": "paper",
}
"""what all networks of video-nonlocal-net share; the rate falls after 150,000 and 300,000 of 400,000 steps"""
CAFFE2_32X2: Preset = {**CAFFE2, "model.pool1_kernel_t": 2}


def c2d_r50_32x2_caffe2() -> Preset:
    """C2D ResNet-50: time is only pooled.

    Command:  python flows/full.py c2d_r50_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 71.8 / 89.7 (Tables 2a, 2c and 2f), 72.0 / 90.0 (video-nonlocal-net)
    """
    return {**CAFFE2_32X2, **C2D, **NO_BLOCKS}


def nl1_c2d_r50_32x2_caffe2() -> Preset:
    """One block before the last residual block of res4, in C2D ResNet-50.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.7 / 90.5 (Table 2a, embedded Gaussian; Table 2b, res4; Table 2c, 1 block)
    """
    return {**CAFFE2_32X2, **C2D, **NO_BLOCKS, "model.nl_res4": (4,)}


def nl1_c2d_r50_32x2_caffe2_gaussian() -> Preset:
    """The block compares its inputs themselves, unscaled as in equation 2.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2_gaussian videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.5 / 90.2 (Table 2a, Gaussian)
    """
    return {**nl1_c2d_r50_32x2_caffe2(), "model.pairwise": "gaussian", "model.nl_scale": False}


def nl1_c2d_r50_32x2_caffe2_dot_product() -> Preset:
    """The block compares by dot products.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2_dot_product videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.9 / 90.3 (Table 2a, dot product)
    """
    return {**nl1_c2d_r50_32x2_caffe2(), "model.pairwise": "dot_product", "model.nl_scale": False}


def nl1_c2d_r50_32x2_caffe2_concatenation() -> Preset:
    """The block compares by concatenation.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2_concatenation videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.8 / 90.5 (Table 2a, concatenation)
    """
    return {**nl1_c2d_r50_32x2_caffe2(), "model.pairwise": "concatenation", "model.nl_scale": False}


def nl1_c2d_r50_32x2_caffe2_res2() -> Preset:
    """The one block stands before the last residual block of res2.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2_res2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.7 / 90.3 (Table 2b, res2)
    """
    return {**c2d_r50_32x2_caffe2(), "model.nl_res2": (1,)}


def nl1_c2d_r50_32x2_caffe2_res3() -> Preset:
    """The one block stands before the last residual block of res3.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2_res3 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.9 / 90.4 (Table 2b, res3)
    """
    return {**c2d_r50_32x2_caffe2(), "model.nl_res3": (2,)}


def nl1_c2d_r50_32x2_caffe2_res5() -> Preset:
    """The one block stands before the last residual block of res5.

    Command:  python flows/full.py nl1_c2d_r50_32x2_caffe2_res5 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.3 / 90.1 (Table 2b, res5)
    """
    return {**c2d_r50_32x2_caffe2(), "model.nl_res5": (1,)}


def nl5_c2d_r50_32x2_caffe2() -> Preset:
    """Five blocks: after every second residual block of res3 and res4.

    Command:  python flows/full.py nl5_c2d_r50_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.8 / 91.0 (Tables 2c and 2d), 73.9 / 91.0 (video-nonlocal-net)
    """
    return {**CAFFE2_32X2, **C2D}


def nl10_c2d_r50_32x2_caffe2() -> Preset:
    """Ten blocks: after every residual block of res3 and res4.

    Command:  python flows/full.py nl10_c2d_r50_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.3 / 91.2 (Table 2c)
    """
    return {**nl5_c2d_r50_32x2_caffe2(), **TEN_R50}


def c2d_r101_32x2_caffe2() -> Preset:
    """C2D ResNet-101.

    Command:  python flows/full.py c2d_r101_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.1 / 91.0 (Tables 2c, 2e and 2f)
    """
    return {**c2d_r50_32x2_caffe2(), **R101}


def nl1_c2d_r101_32x2_caffe2() -> Preset:
    """One block before the last residual block of res4, in C2D ResNet-101.

    Command:  python flows/full.py nl1_c2d_r101_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.3 / 91.3 (Table 2c)
    """
    return {**c2d_r101_32x2_caffe2(), "model.nl_res4": (21,)}


def nl5_c2d_r101_32x2_caffe2() -> Preset:
    """Five blocks: two in res3, then after every seventh of res4.

    Command:  python flows/full.py nl5_c2d_r101_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.1 / 91.7 (Tables 2c, 2d and 2e)
    """
    return {**nl5_c2d_r50_32x2_caffe2(), **R101, **EVERY_OTHER_R101}


def nl10_c2d_r101_32x2_caffe2() -> Preset:
    """Ten blocks; the paper does not say which, these are the places of gluon-cv.

    Command:  python flows/full.py nl10_c2d_r101_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 75.1 / 91.6 (Table 2c)
    """
    return {**nl5_c2d_r50_32x2_caffe2(), **R101, **TEN_R101}


def nl5_c2d_r50_32x2_caffe2_space() -> Preset:
    """A position looks at its own frame only.

    Command:  python flows/full.py nl5_c2d_r50_32x2_caffe2_space videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.9 / 90.8 (Table 2d, space-only)
    """
    return {**nl5_c2d_r50_32x2_caffe2(), "model.nl_axes": "space"}


def nl5_c2d_r50_32x2_caffe2_time() -> Preset:
    """A position looks at its own place in all frames; pooling places would mix them.

    Command:  python flows/full.py nl5_c2d_r50_32x2_caffe2_time videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.1 / 90.5 (Table 2d, time-only)
    """
    return {**nl5_c2d_r50_32x2_caffe2(), "model.nl_axes": "time", "model.nl_sub_sample": "none"}


def nl5_c2d_r101_32x2_caffe2_space() -> Preset:
    """A position looks at its own frame only.

    Command:  python flows/full.py nl5_c2d_r101_32x2_caffe2_space videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.4 / 91.3 (Table 2d, space-only)
    """
    return {**nl5_c2d_r101_32x2_caffe2(), "model.nl_axes": "space"}


def nl5_c2d_r101_32x2_caffe2_time() -> Preset:
    """A position looks at its own place in all frames; pooling places would mix them.

    Command:  python flows/full.py nl5_c2d_r101_32x2_caffe2_time videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.4 / 90.5 (Table 2d, time-only)
    """
    return {**nl5_c2d_r101_32x2_caffe2(), "model.nl_axes": "time", "model.nl_sub_sample": "none"}


def i3d_r101_32x2_caffe2() -> Preset:
    """I3D ResNet-101, inflated to 3x1x1.

    Command:  python flows/full.py i3d_r101_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.4 / 91.1 (Tables 2e and 2f)
    """
    return {**CAFFE2_32X2, **R101, **NO_BLOCKS}


def i3d_r101_32x2_caffe2_3x3x3() -> Preset:
    """I3D ResNet-101, inflated to 3x3x3.

    Command:  python flows/full.py i3d_r101_32x2_caffe2_3x3x3 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.1 / 91.2 (Table 2e)
    """
    return {**i3d_r101_32x2_caffe2(), "model.inflate": "3x3x3"}


def i3d_r50_32x2_caffe2() -> Preset:
    """I3D ResNet-50.

    Command:  python flows/full.py i3d_r50_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.3 / 90.7 (Table 2f), 73.6 / 90.8 (video-nonlocal-net)
    """
    return {**CAFFE2_32X2, **NO_BLOCKS}


def nl5_i3d_r50_32x2_caffe2() -> Preset:
    """Non-local I3D ResNet-50.

    Command:  python flows/full.py nl5_i3d_r50_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.9 / 91.6 (Table 2f and video-nonlocal-net)
    """
    return {**CAFFE2_32X2}


def nl5_i3d_r101_32x2_caffe2() -> Preset:
    """Non-local I3D ResNet-101.

    Command:  python flows/full.py nl5_i3d_r101_32x2_caffe2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 76.0 / 92.1 (Table 2f)
    """
    return {**CAFFE2_32X2, **R101, **EVERY_OTHER_R101}
