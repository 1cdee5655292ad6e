"""Named settings: what differs from the defaults of the sections, as dotted keys.

Names are block_net_depth_LENxINTERVAL, then whose network it is and what is special about it.  Here are `tiny`,
the seed's and mmaction2's; `paper_presets.py` has the paper's, `repository_presets.py` those of others.
The accuracies are what the sources published on Kinetics-400 val; nothing here claims to have reproduced them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isfunction

from nonlocal_core.config import presets_paper, presets_repositories
from nonlocal_core.config.presets_paper import C2D, JITTER, NO_BLOCKS, Preset
from nonlocal_core.config.presets_repositories import EIGHT
from nonlocal_core.config.recipes import MMACTION2, PAPER_128F, SEED


def tiny() -> Preset:
    """The whole chain in minutes on two cores, on videos that are made on the spot.

    Command:  python flows/full.py
    Time:     1 to 2 minutes on 2 cores
    Expected: val top-1 of 0.93 to 1.00 on the four toy motions (chance 0.25); benchmarks/tiny_learns.py
    """
    return {
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
    }


def nl_i3d_r50_32x2() -> Preset:
    """Non-local I3D ResNet-50, 32 frames, five dot-product blocks.

    Command:  python flows/full.py nl_i3d_r50_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.9 / 91.6 (paper, Table 2f), 74.80 / 92.07 (mmaction2), 30 views
    """
    return {**JITTER, **MMACTION2}


def nl_i3d_r50_32x2_embedded_gaussian() -> Preset:
    """mmaction2's network with five blocks that compare by the embedded Gaussian.

    Command:  python flows/full.py nl_i3d_r50_32x2_embedded_gaussian videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.73 / 91.80 (mmaction2)
    """
    return {**JITTER, **MMACTION2, "model.pairwise": "embedded_gaussian"}


def nl_i3d_r50_32x2_gaussian() -> Preset:
    """mmaction2's network with five blocks that compare their inputs themselves.

    Command:  python flows/full.py nl_i3d_r50_32x2_gaussian videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.97 / 91.33 (mmaction2)
    """
    return {**JITTER, **MMACTION2, "model.pairwise": "gaussian"}


def nl_i3d_r50_8x8() -> Preset:
    """Non-local I3D ResNet-50, 8 frames over the same time, for 89 % of the multiply-adds.

    Command:  python flows/full.py nl_i3d_r50_8x8 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 74.7 / 91.6 (video-nonlocal-net), 74.0 / 91.1 (PySlowFast, from scratch), 30 views
    """
    return {**JITTER, **MMACTION2, **EIGHT}


def nl_i3d_r50_128x1() -> Preset:
    """Non-local I3D ResNet-50 on every frame of 128, trained on from a 32-frame model with frozen statistics.

    Command:  python flows/full.py nl_i3d_r50_128x1 videos_dir=DIR train.init=champion
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 76.5 / 92.6 (paper, Table 2g), 30 views
    """
    return {
        **JITTER,
        **PAPER_128F,
        "model.nl_norm": "frozen",
        "clip.clip_len": 128,
        "clip.frame_interval": 1,
    }


def nl_i3d_r50_32x6() -> Preset:
    """The seed's network and recipe: no temporal stride before res2, clips of 32 frames 6 apart.

    Command:  python flows/full.py nl_i3d_r50_32x6 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 72.48 / 90.72 (the seed, fine-tuned from imported weights, one random clip a video)
    """
    return {
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
    }


def i3d_r50_32x2() -> Preset:
    """The baseline without non-local blocks, 32 frames.

    Command:  python flows/full.py i3d_r50_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.3 / 90.7 (paper, Table 2f), 73.47 / 91.27 (mmaction2), 30 views
    """
    return {**JITTER, **MMACTION2, **NO_BLOCKS}


def i3d_r50_8x8() -> Preset:
    """The baseline without non-local blocks, 8 frames.

    Command:  python flows/full.py i3d_r50_8x8 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 73.4 / 90.9 (video-nonlocal-net), 73.5 / 90.8 (PySlowFast, from scratch), 30 views
    """
    return {**JITTER, **MMACTION2, **EIGHT, **NO_BLOCKS}


def c2d_r50_32x2() -> Preset:
    """Temporal kernels of 1 everywhere: time is only pooled.

    Command:  python flows/full.py c2d_r50_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 71.8 / 89.7 (paper, Table 2f), 30 views
    """
    return {**JITTER, **MMACTION2, **NO_BLOCKS, **C2D}


def c2d_r50_8x8() -> Preset:
    """Temporal kernels of 1 everywhere, 8 frames.

    Command:  python flows/full.py c2d_r50_8x8 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 71.9 / 90.0 (video-nonlocal-net), 30 views
    """
    return {**EIGHT, **c2d_r50_32x2()}


def i3d_r50_32x2_heavy() -> Preset:
    """mmaction2's heavy I3D ResNet-50: every block is inflated, and pool2 alone shortens the time.

    Command:  python flows/full.py i3d_r50_32x2_heavy videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: 76.21 / 92.48 (mmaction2), 30 views
    """
    every: Preset = {"model.inflated_blocks": "every", "model.stem_stride_t": 1, "model.pool1_stride_t": 1}
    return {**i3d_r50_32x2(), **every}


def i3d_r18_32x2() -> Preset:
    """I3D ResNet-18: basic blocks, inflated to 3x3x3.

    Command:  python flows/full.py i3d_r18_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: not published (23.4 M parameters)
    """
    return {**nl2_i3d_r18_32x2(), **NO_BLOCKS}


def nl2_i3d_r18_32x2() -> Preset:
    """Non-local I3D ResNet-18: a block after the last residual block of res3 and of res4.

    Command:  python flows/full.py nl2_i3d_r18_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: not published (23.5 M parameters)
    """
    return {**nl_i3d_r34_32x2(), "model.stage_blocks": (2, 2, 2, 2), "model.nl_res3": (1,), "model.nl_res4": (1,)}


def i3d_r34_32x2() -> Preset:
    """I3D ResNet-34: basic blocks, inflated to 3x3x3.

    Command:  python flows/full.py i3d_r34_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: not published (38.9 M parameters)
    """
    return {**nl_i3d_r34_32x2(), **NO_BLOCKS}


def nl_i3d_r34_32x2() -> Preset:
    """Non-local I3D ResNet-34, with the blocks of the ResNet-50.

    Command:  python flows/full.py nl_i3d_r34_32x2 videos_dir=DIR
    Time:     days on 8 GPUs for Kinetics-400; not run by us
    Expected: not published (39.4 M parameters)
    """
    return {**nl_i3d_r50_32x2(), "model.block": "basic", "model.inflate": "3x3x3"}


PRESETS: dict[str, Callable[[], Preset]] = {
    name: preset
    for room in (globals(), vars(presets_paper), vars(presets_repositories))
    for name, preset in room.items()
    if isfunction(preset) and preset.__module__ == room["__name__"]
}
