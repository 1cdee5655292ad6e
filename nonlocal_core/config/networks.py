"""How others built these networks, as settings; presets are put together from them.

docs/reference/networks.md has the choices side by side.

Source: Wang, Girshick, Gupta, He 2018, section 5.1; the code of video-nonlocal-net (resnet_video_org), PySlowFast,
mmaction2 and gluon-cv.
"""

from __future__ import annotations

from nonlocal_core.config import recipes
from nonlocal_core.config.section import Settings

NO_BLOCKS: Settings = {"model.nl_res3": (), "model.nl_res4": ()}
TEN_R50: Settings = {"model.nl_res3": (0, 1, 2, 3), "model.nl_res4": (0, 1, 2, 3, 4, 5)}
FIVE_R101: Settings = {"model.nl_res3": (1, 3), "model.nl_res4": (6, 13, 20)}
TEN_R101: Settings = {"model.nl_res3": (0, 1, 2, 3), "model.nl_res4": (2, 6, 10, 14, 18, 22)}
"""gluon-cv's places; the paper does not say which ten it has"""

C2D: Settings = {"model.inflate": "none", "model.stem_kernel_t": 1}
R18: Settings = {"model.stage_blocks": (2, 2, 2, 2)}
R101: Settings = {"model.stage_blocks": (3, 4, 23, 3)}
BASIC: Settings = {"model.block": "basic", "model.inflate": "3x3x3"}
SPACE: Settings = {"model.nl_axes": "space"}
TIME: Settings = {"model.nl_axes": "time", "model.nl_sub_sample": "none"}
"""pooling places would mix them"""

JITTER: Settings = {"train.scale_max": 1.25}
"""the short side of a clip is drawn from 256 to 320 pixels, then 224 are cut out; cached frames have 256"""
ONE_LEVEL: Settings = {"model.input_mean": (114.75, 114.75, 114.75), "model.input_std": (57.375, 57.375, 57.375)}
"""0.45 and 0.225 of 255 for every colour: Caffe2 and SlowFast"""
EIGHT: Settings = {
    "clip.clip_len": 8,
    "clip.frame_interval": 8,
    "model.stem_stride_t": 1,
    "model.pool1_stride_t": 1,
}

EVEN: Settings = {"evaluate.crops": "even"}
"""the three test crops of mmaction2 and video-nonlocal-net"""
LOOP: Settings = {"clip.short_videos": "loop"}
"""a clip that is longer than its video goes on from the start, as in mmaction2 and video-nonlocal-net"""
MMACTION2 = LOOP | EVEN | recipes.MMACTION2

EMBEDDED: Settings = {"model.pairwise": "embedded_gaussian", "model.nl_scale": True, "model.nl_out_bias": True}
FULLY_CONV: Settings = {"model.nl_sub_sample": "before_conv", "model.head": "fully_conv"}
CAFFE2: Settings = {
    **LOOP,
    **JITTER,
    **ONE_LEVEL,
    **EMBEDDED,
    **FULLY_CONV,
    "model.pool1_pad": 0,
    "model.nl_out_init": "normal",
    **recipes.PAPER_32F,
    "evaluate.offsets": "paper",
    **EVEN,
}
"""what all networks of video-nonlocal-net share; the rate falls after 150,000 and 300,000 of 400,000 steps"""
CAFFE2_32X2: Settings = CAFFE2 | {"model.pool1_kernel_t": 2}
FROZEN: Settings = {
    "model.nl_norm": "none",
    "model.nl_out_init": "zeros",
    "model.nl_group_frames": (0, 4, 0, 0),
    "model.head_window": (16, 7, 7),
    **recipes.PAPER_128F,
}
"""the long clips of video-nonlocal-net: frozen BN, no norm in the blocks, groups of 4 frames in res3"""
CAFFE2_128X1: Settings = CAFFE2_32X2 | FROZEN | {"clip.clip_len": 128, "clip.frame_interval": 1}
CAFFE2_8X8: Settings = CAFFE2 | EIGHT
CAFFE2_32X4: Settings = CAFFE2_8X8 | FROZEN | {"clip.clip_len": 32, "clip.frame_interval": 4}

SLOWFAST: Settings = {
    **JITTER,
    **ONE_LEVEL,
    **EIGHT,
    **EMBEDDED,
    **FULLY_CONV,
    "model.nl_init": "msra",
    "clip.fps": 30.0,
    **recipes.SLOWFAST_SCRATCH,
    "evaluate.offsets": "slowfast",
    "evaluate.crops": "slowfast",
}
GLUON: Settings = {
    **JITTER,
    **EMBEDDED,
    "model.zero_gamma": False,
    "model.nl_sub_sample": "none",
    "model.nl_zero_gamma": False,
    **recipes.GLUON,
}
"""gluon-cv starts from ImageNet; its blocks have PyTorch's own random weights and are no identity at first"""

INCEPTION_NET: Settings = {
    "model.backbone": "inception",
    "model.input_mean": (127.5, 127.5, 127.5),
    "model.input_std": (127.5, 127.5, 127.5),
    "model.head": "two_frames",
    "evaluate.num_clips": 2,
    "evaluate.num_crops": 1,
    "evaluate.crop_size": 224,
    "evaluate.batch_clips": 1,
}
INCEPTION: Settings = {
    **INCEPTION_NET,
    "clip.clip_len": 64,
    "clip.frame_interval": 1,
    **recipes.KINETICS_I3D,
}
"""DeepMind's network on clips of 64 frames; it was tested on whole videos, where 2 clips are half of 10 s"""
SMALL_DATA: Settings = {
    **INCEPTION_NET,
    **NO_BLOCKS,
    "clip.clip_len": 16,
    "clip.frame_interval": 2,
    "features.num_clips": 2,
    "train.init": "i3d_inception_k400",
}
"""features of Kinetics' network for clips of 31 frames, of two places in each video"""
PROBE: Settings = {
    **SMALL_DATA,
    "train.init_head": "new",
    "train.freeze": "res5",
    "train.optimizer": "lbfgs",
    "train.weight_decay": 0.03,
}
FINETUNE: Settings = {
    **SMALL_DATA,
    "model.norm": "frozen",
    "model.nl_res5": (0,),
    "model.nl_norm": "frozen",
    "features.mirrored": True,
    "train.init_head": "fitted",
    "train.freeze": "res4",
    "train.epochs": 10,
    "train.base_lr": 0.0003,
    "train.schedule": "cosine",
    "train.warmup_epochs": 1.0,
    "train.val_epochs": 5,
}
"""res5 with a non-local block learns on, slowly, from the classifier that probe gives"""
SMALL: Settings = {
    **BASIC,
    **R18,
    "model.nl_res3": (1,),
    "model.nl_res4": (1,),
    "cache.short_side": 128,
    "clip.clip_len": 16,
    "train.crop_size": 112,
    "train.epochs": 20,
    "train.base_lr": 0.02,
    "train.schedule": "cosine",
    "train.warmup_epochs": 2.0,
    "train.val_epochs": 5,
    "evaluate.num_clips": 2,
    "evaluate.num_crops": 1,
    "evaluate.crop_size": 112,
}
"""an I3D ResNet-18 of 3.9 billion multiply-adds, for clips of 16 frames of 112 pixels"""
