"""How others trained these networks on Kinetics-400, as settings; presets take them whole.

`lr_batch` is the batch that a recipe's rates are meant for: with another `train.batch_size` they are scaled.
`micro_batch` makes BN see as many clips as one of the authors' GPUs did.  Where a recipe starts from other
weights (ImageNet, or a shorter clip's model), name them with `train.init`.

Source: the paper, section 4.1, and the code of video-nonlocal-net, PySlowFast, mmaction2, gluon-cv and the seed.
"""

from __future__ import annotations

from nonlocal_core.config.section import Settings

EIGHT_GPUS: Settings = {"train.lr_batch": 64, "train.batch_size": 64, "train.micro_batch": 8}
"""8 clips on each of 8 GPUs"""

PAPER_32F: Settings = {
    "train.steps": 400_000,
    "train.milestones": (150_000, 300_000),
    "train.base_lr": 0.01,
    **EIGHT_GPUS,
    "train.nesterov": True,
    "train.weight_decay": 1e-4,
    "train.decayed": "not_norms",
    "train.precise_bn_batches": 200,
}
"""clips of 32 frames from ImageNet weights, 8 on each of 8 GPUs; the code has Nesterov and decays no BN"""

PAPER_128F: Settings = {
    **PAPER_32F,
    "model.norm": "frozen",
    "train.base_lr": 0.0025,
    "train.lr_batch": 16,
    "train.batch_size": 16,
    "train.micro_batch": 2,
    "train.precise_bn_batches": 0,
}
"""clips of 128 frames from the 32-frame model, 2 on each GPU, with its BN statistics as they are"""

SLOWFAST_SCRATCH: Settings = {
    "train.epochs": 196,
    "train.schedule": "cosine_whole",
    "train.base_lr": 0.1,
    **EIGHT_GPUS,
    "train.warmup_epochs": 34.0,
    "train.warmup_start_lr": 0.01,
    "train.nesterov": True,
    "train.weight_decay": 1e-4,
    "train.decayed": "not_norms",
    "train.precise_bn_batches": 200,
}
"""PySlowFast from random weights"""

SLOWFAST_IMAGENET: Settings = {
    **SLOWFAST_SCRATCH,
    "train.epochs": 118,
    "train.schedule": "relative_steps",
    "train.base_lr": 0.01,
    "train.milestones": (44, 88),
    "train.relative_lrs": (1.0, 0.1, 0.01),
    "train.warmup_epochs": 0.0,
    "train.warmup_start_lr": 0.0,
}
"""PySlowFast from ImageNet weights"""

MMACTION2: Settings = {
    "train.epochs": 100,
    "train.milestones": (40, 80),
    "train.base_lr": 0.01,
    **EIGHT_GPUS,
    "train.weight_decay": 1e-4,
    "train.decayed": "all",
    "train.clip_norm": 40.0,
    "train.crop": "multi_scale",
    "train.crop_scales": (1.0, 0.8),
    "train.crop_gap": 0,
}
"""mmaction2 from ImageNet weights: squares of the short side, or 0.8 of it, at a corner or in the centre"""

GLUON: Settings = {
    "train.epochs": 100,
    "train.milestones": (40, 80),
    "train.base_lr": 0.01,
    **EIGHT_GPUS,
    "train.weight_decay": 1e-5,
    "train.decayed": "all",
}
"""gluon-cv's PyTorch configs, from ImageNet weights; its MXNet scripts have 1e-4, and mmaction2's scales"""

SEED: Settings = {
    "train.epochs": 5,
    "train.milestones": (1,),
    "train.base_lr": 3e-4,
    "train.warmup_epochs": 1.0,
    "train.batch_size": 6,
    "train.decayed": "all",
}
"""the seed from imported weights: 6 clips on each of 8 GPUs with the rate for one; not scaled"""

KINETICS_I3D: Settings = {
    "train.steps": 115_000,
    "train.milestones": (97_000, 108_000),
    "train.base_lr": 0.1,
    "train.lr_batch": 384,
    "train.batch_size": 384,
    "train.micro_batch": 6,
    "train.weight_decay": 1e-7,
}
"""DeepMind's first I3D from an inflated ImageNet network: 6 clips on each of 64 GPUs"""
