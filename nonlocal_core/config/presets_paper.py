"""The networks of the paper's Tables 2a to 2g, as the authors' Caffe2 code builds them.

`nl1_`, `nl5_`, `nl10_` say how many non-local blocks a network has; without another word they compare by the
embedded Gaussian.  The training is the paper's: it starts from ImageNet, and makes its BN precise.  Clips of 128
frames start from the network of 32, with its BN statistics as they are.
"""

from __future__ import annotations

from nonlocal_core.config.networks import (
    C2D,
    CAFFE2_32X2,
    CAFFE2_128X1,
    FIVE_R101,
    NO_BLOCKS,
    R101,
    SPACE,
    TEN_R50,
    TEN_R101,
    TIME,
)
from nonlocal_core.config.preset_record import Preset, Published, from_imagenet, paper
from nonlocal_core.config.section import Settings

VNN = "video-nonlocal-net"
CAFFE2_DIFFERS = "scaled frames are rounded to whole pixels, not cut off; else only as all presets do"
ONE_RES4: Settings = {"model.nl_res3": (), "model.nl_res4": (4,)}
UNSCALED: Settings = {"model.nl_scale": False}

_PAPER = (
    Preset(
        "c2d_r50_32x2_caffe2",
        "C2D ResNet-50: time is only pooled",
        CAFFE2_32X2 | C2D | NO_BLOCKS,
        (paper(71.8, 89.7, "2a", "2c", "2f"), Published(72.0, 90.0, VNN)),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2",
        "C2D ResNet-50 with one block, before the last residual block of res4",
        CAFFE2_32X2 | C2D | ONE_RES4,
        (paper(72.7, 90.5, "2a", "2b", "2c"),),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2_gaussian",
        "C2D ResNet-50 with one Gaussian block, unscaled as in equation 2",
        CAFFE2_32X2 | C2D | ONE_RES4 | UNSCALED | {"model.pairwise": "gaussian"},
        (paper(72.5, 90.2, "2a"),),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2_dot_product",
        "C2D ResNet-50 with one dot-product block",
        CAFFE2_32X2 | C2D | ONE_RES4 | UNSCALED | {"model.pairwise": "dot_product"},
        (paper(72.9, 90.3, "2a"),),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2_concatenation",
        "C2D ResNet-50 with one concatenation block",
        CAFFE2_32X2 | C2D | ONE_RES4 | UNSCALED | {"model.pairwise": "concatenation"},
        (paper(72.8, 90.5, "2a"),),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2_res2",
        "C2D ResNet-50 with one block, before the last residual block of res2",
        CAFFE2_32X2 | C2D | NO_BLOCKS | {"model.nl_res2": (1,)},
        (paper(72.7, 90.3, "2b"),),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2_res3",
        "C2D ResNet-50 with one block, before the last residual block of res3",
        CAFFE2_32X2 | C2D | NO_BLOCKS | {"model.nl_res3": (2,)},
        (paper(72.9, 90.4, "2b"),),
    ),
    Preset(
        "nl1_c2d_r50_32x2_caffe2_res5",
        "C2D ResNet-50 with one block, before the last residual block of res5",
        CAFFE2_32X2 | C2D | NO_BLOCKS | {"model.nl_res5": (1,)},
        (paper(72.3, 90.1, "2b"),),
    ),
    Preset(
        "nl5_c2d_r50_32x2_caffe2",
        "C2D ResNet-50 with five blocks: after every second residual block of res3 and res4",
        CAFFE2_32X2 | C2D,
        (paper(73.8, 91.0, "2c", "2d"), Published(73.9, 91.0, VNN)),
    ),
    Preset(
        "nl10_c2d_r50_32x2_caffe2",
        "C2D ResNet-50 with ten blocks: after every residual block of res3 and res4",
        CAFFE2_32X2 | C2D | TEN_R50,
        (paper(74.3, 91.2, "2c"),),
    ),
    Preset(
        "c2d_r101_32x2_caffe2",
        "C2D ResNet-101: time is only pooled",
        CAFFE2_32X2 | C2D | R101 | NO_BLOCKS,
        (paper(73.1, 91.0, "2c", "2e", "2f"),),
    ),
    Preset(
        "nl1_c2d_r101_32x2_caffe2",
        "C2D ResNet-101 with one block, before the last residual block of res4",
        CAFFE2_32X2 | C2D | R101 | NO_BLOCKS | {"model.nl_res4": (21,)},
        (paper(74.3, 91.3, "2c"),),
    ),
    Preset(
        "nl5_c2d_r101_32x2_caffe2",
        "C2D ResNet-101 with five blocks: two in res3, then after every seventh of res4",
        CAFFE2_32X2 | C2D | R101 | FIVE_R101,
        (paper(75.1, 91.7, "2c", "2d", "2e"),),
    ),
    Preset(
        "nl10_c2d_r101_32x2_caffe2",
        "C2D ResNet-101 with ten blocks, in gluon-cv's places: the paper names none",
        CAFFE2_32X2 | C2D | R101 | TEN_R101,
        (paper(75.1, 91.6, "2c"),),
    ),
    Preset(
        "nl5_c2d_r50_32x2_caffe2_space",
        "C2D ResNet-50 with five blocks; a position looks at its own frame only",
        CAFFE2_32X2 | C2D | SPACE,
        (paper(72.9, 90.8, "2d"),),
    ),
    Preset(
        "nl5_c2d_r50_32x2_caffe2_time",
        "C2D ResNet-50 with five blocks; a position looks at its own place in all frames",
        CAFFE2_32X2 | C2D | TIME,
        (paper(73.1, 90.5, "2d"),),
    ),
    Preset(
        "nl5_c2d_r101_32x2_caffe2_space",
        "C2D ResNet-101 with five blocks; a position looks at its own frame only",
        CAFFE2_32X2 | C2D | R101 | FIVE_R101 | SPACE,
        (paper(74.4, 91.3, "2d"),),
    ),
    Preset(
        "nl5_c2d_r101_32x2_caffe2_time",
        "C2D ResNet-101 with five blocks; a position looks at its own place in all frames",
        CAFFE2_32X2 | C2D | R101 | FIVE_R101 | TIME,
        (paper(74.4, 90.5, "2d"),),
    ),
    Preset(
        "i3d_r101_32x2_caffe2",
        "I3D ResNet-101, inflated to 3x1x1",
        CAFFE2_32X2 | R101 | NO_BLOCKS,
        (paper(74.4, 91.1, "2e", "2f"),),
    ),
    Preset(
        "i3d_r101_32x2_caffe2_3x3x3",
        "I3D ResNet-101, inflated to 3x3x3",
        CAFFE2_32X2 | R101 | NO_BLOCKS | {"model.inflate": "3x3x3"},
        (paper(74.1, 91.2, "2e"),),
    ),
    Preset(
        "i3d_r50_32x2_caffe2",
        "I3D ResNet-50, inflated to 3x1x1",
        CAFFE2_32X2 | NO_BLOCKS,
        (paper(73.3, 90.7, "2f"), Published(73.6, 90.8, VNN)),
    ),
    Preset(
        "nl5_i3d_r50_32x2_caffe2",
        "Non-local I3D ResNet-50",
        CAFFE2_32X2,
        (paper(74.9, 91.6, "2f"), Published(74.9, 91.6, VNN)),
    ),
    Preset(
        "nl5_i3d_r101_32x2_caffe2",
        "Non-local I3D ResNet-101",
        CAFFE2_32X2 | R101 | FIVE_R101,
        (paper(76.0, 92.1, "2f"),),
    ),
    Preset(
        "c2d_r50_128x1_caffe2",
        "C2D ResNet-50 on 128 frames",
        CAFFE2_128X1 | C2D | NO_BLOCKS,
        (paper(73.8, 91.2, "2g"),),
        init="FILE",
    ),
    Preset(
        "i3d_r50_128x1_caffe2",
        "I3D ResNet-50 on 128 frames",
        CAFFE2_128X1 | NO_BLOCKS,
        (paper(74.9, 91.7, "2g"), Published(75.2, 92.0, VNN)),
        init="FILE",
    ),
    Preset(
        "nl5_i3d_r50_128x1_caffe2",
        "Non-local I3D ResNet-50 on 128 frames",
        CAFFE2_128X1,
        (paper(76.5, 92.6, "2g"), Published(76.5, 92.7, VNN)),
        init="FILE",
    ),
    Preset(
        "c2d_r101_128x1_caffe2",
        "C2D ResNet-101 on 128 frames",
        CAFFE2_128X1 | R101 | C2D | NO_BLOCKS,
        (paper(75.3, 91.8, "2g"),),
        init="FILE",
    ),
    Preset(
        "i3d_r101_128x1_caffe2",
        "I3D ResNet-101 on 128 frames",
        CAFFE2_128X1 | R101 | NO_BLOCKS,
        (paper(76.4, 92.7, "2g"),),
        init="FILE",
    ),
    Preset(
        "nl5_i3d_r101_128x1_caffe2",
        "Non-local I3D ResNet-101 on 128 frames",
        CAFFE2_128X1 | R101 | FIVE_R101,
        (paper(77.7, 93.3, "2g"),),
        init="FILE",
    ),
)
PAPER = from_imagenet(_PAPER, CAFFE2_DIFFERS)
