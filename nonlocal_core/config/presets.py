"""The presets: named settings, what differs from the defaults of the sections.

Here are `tiny`, the seed's and mmaction2's; `presets_paper.py` has the paper's, `presets_repositories.py` those of
others.  The accuracies are what the sources published; nothing here claims to have reproduced them.
"""

from __future__ import annotations

from nonlocal_core.config.networks import (
    BASIC,
    C2D,
    EIGHT,
    EVEN,
    FINETUNE,
    INCEPTION,
    JITTER,
    LOOP,
    MMACTION2,
    NO_BLOCKS,
    PROBE,
    R18,
    SMALL,
)
from nonlocal_core.config.preset_record import IMAGENET, Preset, Published, paper
from nonlocal_core.config.presets_paper import PAPER, VNN
from nonlocal_core.config.presets_repositories import REPOSITORIES
from nonlocal_core.config.recipes import PAPER_128F, SEED
from nonlocal_core.config.section import Settings

OTHERS_FIGURES = (
    "mmaction2's recipe; mmaction2 did not train this network: the figures are of others, trained their way"
)
NOBODYS = "mmaction2's recipe; no author trained this network"
NOBODYS_OWN = "DeepMind's recipe at a tenth of its rate; no author trained this network"
OURS = "nobody's recipe but ours"
MMA, SCRATCH = "mmaction2", "PySlowFast, from scratch"
HEAVY: Settings = {"model.inflated_blocks": "every", "model.stem_stride_t": 1, "model.pool1_stride_t": 1}

OWN = (
    Preset(
        "tiny",
        "The whole chain in minutes on two cores, on videos that are made on the spot",
        {
            "cache.short_side": 64,
            "clip.clip_len": 8,
            "clip.frame_interval": 3,
            "model.width": 8,
            "model.stage_blocks": (1, 1, 1, 1),
            "model.nl_res3": (0,),
            "model.nl_res4": (0,),
            "model.stem_stride_t": 1,
            "model.pool1_stride_t": 1,
            "model.dropout": 0.0,
            "train.epochs": 18,
            "train.base_lr": 0.03,
            "train.schedule": "cosine",
            "train.warmup_epochs": 2.0,
            "train.crop_size": 56,
            "evaluate.num_clips": 2,
            "evaluate.num_crops": 1,
            "evaluate.crop_size": 64,
        },
        unpublished="val top-1 of 0.93 to 1.00 on the four toy motions (chance 0.25); benchmarks/tiny_learns.py",
        time="1 to 2 minutes on 2 cores",
        differs=OURS,
    ),
    Preset(
        "nl_i3d_r50_32x2",
        "Non-local I3D ResNet-50 on 32 frames, with five dot-product blocks",
        MMACTION2,
        (paper(74.9, 91.6, "2f"), Published(74.80, 92.07, MMA)),
        init="i3d_r50_imagenet",
        differs="the paper's figures are of nl5_i3d_r50_32x2_caffe2; else only as all presets do",
    ),
    Preset(
        "nl_i3d_r50_32x2_embedded_gaussian",
        "Non-local I3D ResNet-50 on 32 frames, with five embedded Gaussian blocks",
        MMACTION2 | {"model.pairwise": "embedded_gaussian"},
        (Published(74.73, 91.80, MMA),),
        init="i3d_r50_imagenet",
    ),
    Preset(
        "nl_i3d_r50_32x2_gaussian",
        "Non-local I3D ResNet-50 on 32 frames, with five Gaussian blocks",
        MMACTION2 | {"model.pairwise": "gaussian"},
        (Published(73.97, 91.33, MMA),),
        init="i3d_r50_imagenet",
    ),
    Preset(
        "nl_i3d_r50_8x8",
        "Non-local I3D ResNet-50 on 8 frames of the same time: 89 % of the multiply-adds",
        MMACTION2 | EIGHT,
        (Published(74.7, 91.6, VNN), Published(74.0, 91.1, SCRATCH)),
        init=IMAGENET,
        differs=OTHERS_FIGURES,
    ),
    Preset(
        "nl_i3d_r50_128x1",
        "Non-local I3D ResNet-50 on 128 frames, trained on from 32 with frozen BN",
        LOOP
        | JITTER
        | PAPER_128F
        | EVEN
        | {"model.nl_norm": "frozen", "clip.clip_len": 128, "clip.frame_interval": 1},
        (paper(76.5, 92.6, "2g"),),
        init="champion",
        differs="the recipe is the paper's, the network mmaction2's with frozen BN, which mmaction2 did not train",
    ),
    Preset(
        "nl_i3d_r50_32x6",
        "The seed's network and recipe: clips of 32 frames 6 apart, no temporal stride before res2",
        {
            "clip.frame_interval": 6,
            "model.input_std": (58.395, 57.12, 65.025),
            "model.zero_gamma": False,
            "model.nl_zero_gamma": False,
            "model.stem_stride_t": 1,
            "model.pool1_stride_t": 1,
            **SEED,
            "evaluate.num_clips": 1,
            "evaluate.num_crops": 1,
            "evaluate.crop_size": 224,
        },
        (Published(72.48, 90.72, "the seed, fine-tuned from imported weights, one random clip a video"),),
        init="FILE",
        differs="it scores the middle clip, evaluate.protocol=seed a random one; docs/start/from_the_seed.md",
    ),
    Preset(
        "i3d_r50_32x2",
        "I3D ResNet-50 on 32 frames: the baseline without non-local blocks",
        MMACTION2 | NO_BLOCKS,
        (paper(73.3, 90.7, "2f"), Published(73.47, 91.27, MMA)),
        init="i3d_r50_imagenet",
        differs="the paper's figures are of i3d_r50_32x2_caffe2; else only as all presets do",
    ),
    Preset(
        "i3d_r50_8x8",
        "I3D ResNet-50 on 8 frames: the baseline without non-local blocks",
        MMACTION2 | EIGHT | NO_BLOCKS,
        (Published(73.4, 90.9, VNN), Published(73.5, 90.8, SCRATCH)),
        init=IMAGENET,
        differs=OTHERS_FIGURES,
    ),
    Preset(
        "c2d_r50_32x2",
        "C2D ResNet-50 on 32 frames: time is only pooled",
        MMACTION2 | NO_BLOCKS | C2D,
        (paper(71.8, 89.7, "2f"),),
        init=IMAGENET,
        differs=OTHERS_FIGURES,
    ),
    Preset(
        "c2d_r50_8x8",
        "C2D ResNet-50 on 8 frames: time is only pooled",
        MMACTION2 | EIGHT | NO_BLOCKS | C2D,
        (Published(71.9, 90.0, VNN),),
        init=IMAGENET,
        differs=OTHERS_FIGURES,
    ),
    Preset(
        "i3d_r50_32x2_heavy",
        "I3D ResNet-50 with every block inflated; pool2 alone shortens the time",
        MMACTION2 | NO_BLOCKS | HEAVY,
        (Published(76.21, 92.48, MMA),),
        init=IMAGENET,
    ),
    Preset(
        "i3d_r18_32x2",
        "I3D ResNet-18: basic blocks, inflated to 3x3x3",
        MMACTION2 | BASIC | R18 | NO_BLOCKS,
        unpublished="not published (23.4 M parameters)",
        init="i3d_r18_imagenet",
        differs=NOBODYS,
    ),
    Preset(
        "nl2_i3d_r18_32x2",
        "I3D ResNet-18 with a non-local block at the end of res3 and of res4",
        MMACTION2 | BASIC | R18 | {"model.nl_res3": (1,), "model.nl_res4": (1,)},
        unpublished="not published (23.5 M parameters)",
        init="i3d_r18_imagenet",
        differs=NOBODYS,
    ),
    Preset(
        "i3d_r34_32x2",
        "I3D ResNet-34: basic blocks, inflated to 3x3x3",
        MMACTION2 | BASIC | NO_BLOCKS,
        unpublished="not published (38.9 M parameters)",
        init="i3d_r34_imagenet",
        differs=NOBODYS,
    ),
    Preset(
        "nl_i3d_r34_32x2",
        "Non-local I3D ResNet-34, with the five blocks of the ResNet-50",
        MMACTION2 | BASIC,
        unpublished="not published (39.4 M parameters)",
        init="i3d_r34_imagenet",
        differs=NOBODYS,
    ),
    Preset(
        "i3d_inception",
        "The first I3D: Inception-v1 inflated over time, on 64 frames",
        INCEPTION | NO_BLOCKS,
        (Published(71.1, 89.3, "DeepMind's kinetics-i3d: test set, whole videos, centre crop"),),
        differs="DeepMind starts from ImageNet, of which there is no importer here, and tests whole videos",
    ),
    Preset(
        "nl_i3d_inception",
        "The first I3D with five non-local blocks: after 3b, 3c, 4b, 4d and 4f",
        INCEPTION | {"model.nl_res3": (0, 1), "model.nl_res4": (0, 2, 4), "train.base_lr": 0.01},
        unpublished="not published; starts from i3d_inception, 71.1 / 89.3",
        init="i3d_inception_k400",
        differs=NOBODYS_OWN,
    ),
    Preset(
        "probe",
        "A classifier of what the first I3D sees, whose Kinetics weights stay as they are",
        PROBE,
        unpublished="83 of 83 and 64 of 80 real clips in cross-validations; docs/evidence/small_data.md",
        time="some 5 minutes on 2 cores for 100 videos of 2 s",
        differs=OURS,
    ),
    Preset(
        "finetune",
        "The first I3D from Kinetics weights: res5, with a non-local block, learns on from what probe gives",
        FINETUNE,
        unpublished="83 of 83 and 63 of 80 real clips in cross-validations, as probe; docs/evidence/small_data.md",
        time="some 7 minutes on 2 cores for 100 videos of 2 s",
        differs=OURS,
    ),
    Preset(
        "small",
        "I3D ResNet-18 on 16 frames of 112 pixels with two non-local blocks, from random weights",
        SMALL,
        unpublished="45 of 83 real clips of nine labels, where probe has 83; docs/evidence/small_data.md",
        time="some 8 minutes on 2 cores for 100 videos of 2 s",
        differs=OURS,
    ),
)

PRESETS = {preset.name: preset for preset in (*OWN, *PAPER, *REPOSITORIES)}
