"""Networks of four repositories that are not in the paper's tables, each as its authors built it.

The suffix says whose code it is: `_caffe2` is video-nonlocal-net, `_slowfast` PySlowFast and pytorchvideo,
`_gluon` gluon-cv.  What a preset has in another way than its authors, `Preset.differs` says.
"""

from __future__ import annotations

from nonlocal_core.config.networks import (
    C2D,
    CAFFE2_8X8,
    CAFFE2_32X4,
    FIVE_R101,
    GLUON,
    NO_BLOCKS,
    R101,
    SLOWFAST,
    TEN_R50,
    TEN_R101,
)
from nonlocal_core.config.preset_record import IMAGENET, Preset, Published, from_imagenet
from nonlocal_core.config.presets_paper import CAFFE2_DIFFERS, VNN
from nonlocal_core.config.recipes import SLOWFAST_IMAGENET
from nonlocal_core.config.section import Settings

PSF, PTV, GCV = "PySlowFast", "pytorchvideo", "gluon-cv"
LOG = "gluon-cv's log, last epoch, one view a video"
PYTORCHVIDEO_DIFFERS = "clips are PySlowFast's; pytorchvideo cuts its own by seconds. Else only as all presets do"
GLUON_DIFFERS = (
    "gluon-cv squeezes frames to 340x256 pixels, spreads 32 frames over the 64 of a training clip, and starts test"
    " clips at even frames; its logs are of MXNet scripts: a weight decay of 1e-4, crops of mmaction2's scales"
)
NO_POOL2: Settings = {"model.pool2_kernel_t": 1, "model.pool2_stride_t": 1, "model.head_window": (8, 7, 7)}

_CAFFE2 = (
    Preset(
        "c2d_r50_8x8_caffe2",
        "C2D ResNet-50 on 8 frames",
        CAFFE2_8X8 | C2D | NO_BLOCKS,
        (Published(71.9, 90.0, VNN),),
    ),
    Preset(
        "nl5_c2d_r50_8x8_caffe2",
        "Non-local C2D ResNet-50 on 8 frames",
        CAFFE2_8X8 | C2D,
        (Published(74.4, 91.4, VNN),),
    ),
    Preset(
        "i3d_r50_8x8_caffe2",
        "I3D ResNet-50 on 8 frames",
        CAFFE2_8X8 | NO_BLOCKS,
        (Published(73.4, 90.9, VNN),),
    ),
    Preset(
        "nl5_i3d_r50_8x8_caffe2",
        "Non-local I3D ResNet-50 on 8 frames",
        CAFFE2_8X8,
        (Published(74.7, 91.6, VNN),),
    ),
    Preset(
        "i3d_r50_32x4_caffe2",
        "I3D ResNet-50 on 32 frames, with the strides of the 8-frame network and frozen BN",
        CAFFE2_32X4 | NO_BLOCKS,
        (Published(75.5, 92.0, VNN),),
        init="FILE",
    ),
    Preset(
        "nl5_i3d_r50_32x4_caffe2",
        "Non-local I3D ResNet-50 on 32 frames, with the strides of the 8-frame network and frozen BN",
        CAFFE2_32X4,
        (Published(76.5, 92.6, VNN),),
        init="FILE",
    ),
)
_SLOWFAST = (
    Preset(
        "c2d_r50_8x8_slowfast",
        "C2D ResNet-50 on 8 frames; pool2 halves them",
        SLOWFAST | C2D | NO_BLOCKS,
        (Published(71.46, 89.68, PTV),),
        differs=PYTORCHVIDEO_DIFFERS,
    ),
    Preset(
        "c2d_r50_8x8_slowfast_nopool",
        "C2D ResNet-50 whose 8 frames meet only in the head",
        SLOWFAST | C2D | NO_BLOCKS | NO_POOL2,
        (Published(67.2, 87.8, PSF),),
    ),
    Preset(
        "i3d_r50_8x8_slowfast",
        "I3D ResNet-50 on 8 frames",
        SLOWFAST | NO_BLOCKS,
        (Published(73.5, 90.8, PSF), Published(73.27, 90.70, PTV)),
    ),
    Preset(
        "nl5_i3d_r50_8x8_slowfast",
        "Non-local I3D ResNet-50 on 8 frames",
        SLOWFAST,
        (Published(74.0, 91.1, PSF),),
    ),
    Preset(
        "nl5_i3d_r50_8x8_slowfast_imagenet",
        "Non-local I3D ResNet-50 on 8 frames, from ImageNet weights instead of random ones",
        SLOWFAST | SLOWFAST_IMAGENET,
        unpublished="not published; 74.0 / 91.1 from random weights (PySlowFast)",
        init=IMAGENET,
    ),
)
_GLUON = (
    Preset(
        "i3d_r50_32x2_gluon",
        "I3D ResNet-50",
        GLUON | NO_BLOCKS,
        (Published(74.87, None, GCV), Published(66.59, 85.98, LOG)),
        init="i3d_r50_imagenet",
    ),
    Preset(
        "nl5_i3d_r50_32x2_gluon",
        "Non-local I3D ResNet-50 with five blocks",
        GLUON,
        (Published(75.17, None, GCV), Published(67.81, 86.73, LOG)),
        init="i3d_r50_imagenet",
    ),
    Preset(
        "nl10_i3d_r50_32x2_gluon",
        "Non-local I3D ResNet-50 with ten blocks",
        GLUON | TEN_R50,
        (Published(75.93, None, GCV), Published(67.41, 86.62, LOG)),
        init="i3d_r50_imagenet",
    ),
    Preset(
        "i3d_r101_32x2_gluon",
        "I3D ResNet-101",
        GLUON | R101 | NO_BLOCKS,
        (Published(75.1, None, GCV),),
    ),
    Preset(
        "nl5_i3d_r101_32x2_gluon",
        "Non-local I3D ResNet-101 with five blocks",
        GLUON | R101 | FIVE_R101,
        (Published(75.81, None, GCV), Published(67.57, 86.43, LOG)),
    ),
    Preset(
        "nl10_i3d_r101_32x2_gluon",
        "Non-local I3D ResNet-101 with ten blocks",
        GLUON | R101 | TEN_R101,
        (Published(75.93, None, GCV), Published(67.79, 86.47, LOG)),
    ),
)
REPOSITORIES = (
    *from_imagenet(_CAFFE2, CAFFE2_DIFFERS),
    *_SLOWFAST,
    *from_imagenet(_GLUON, GLUON_DIFFERS),
)
