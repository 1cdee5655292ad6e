"""Which settings a key depends on, found by changing every one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from small import SETTINGS

from nonlocal_core.config.tree import Config, resolve

OTHER: dict[str, object] = {
    "index.layout": "class_folders", "index.val_fraction": 0.3, "index.split_seed": 1,
    "index.frozen_val": "nightly", "index.min_frames": 3, "index.duplicates": "keep", "index.fold": 2,
    "index.list_columns": "path,label", "index.frame_name": "img_{:05d}", "index.group_by": "[a-z]+",
    "cache.codec": "none", "cache.short_side": 40, "cache.jpeg_quality": 80, "cache.interpolation": "bicubic",
    "cache.jump": "decord", "cache.pixels": "stored",
    "clip.clip_len": 8, "clip.frame_interval": 2, "clip.sampling": "average", "clip.short_videos": "loop",
    "clip.fps": 30.0,
    "model.input_mean": (1.0, 2.0, 3.0), "model.input_std": (4.0, 5.0, 6.0),
    "model.backbone": "inception", "model.width": 4,
    "model.block": "basic", "model.stage_blocks": (1, 2, 1, 1), "model.inflate": "none",
    "model.inflated_blocks": "every",
    "model.norm": "frozen", "model.zero_gamma": False,
    "model.stem_kernel_t": 3, "model.stem_stride_t": 2,
    "model.pool1_kernel_t": 3, "model.pool1_stride_t": 2, "model.pool1_pad": 0,
    "model.pool2_kernel_t": 1, "model.pool2_stride_t": 1,
    "model.nl_res2": (0,), "model.nl_res3": (0,), "model.nl_res4": (), "model.nl_res5": (0,),
    "model.pairwise": "gaussian", "model.nl_scale": True, "model.nl_axes": "space",
    "model.nl_group_frames": (0, 0, 1, 0), "model.nl_sub_sample": "none", "model.nl_out_bias": True,
    "model.nl_norm": "none", "model.nl_zero_gamma": False, "model.nl_init": "msra", "model.nl_out_init": "zeros",
    "model.head": "fully_conv", "model.head_window": (1, 1, 1), "model.dropout": 0.1,
    "train.epochs": 4, "train.batch_size": 3, "train.base_lr": 0.1, "train.schedule": "step",
    "train.milestones": (1,), "train.gamma": 0.5, "train.warmup_epochs": 0.0, "train.momentum": 0.8,
    "train.nesterov": True, "train.weight_decay": 0.0, "train.crop_size": 34, "train.flip_probability": 0.0,
    "train.seed": 1, "train.scale_min": 0.9, "train.scale_max": 1.2, "train.crop": "multi_scale",
    "train.crop_scales": (1.0, 0.8), "train.crop_gap": 0,
    "train.colour_jitter": 0.2, "train.init": "v0001", "train.init_head": "new", "train.freeze": "res2",
    "train.steps": 5, "train.micro_batch": 1, "train.lr_batch": 4, "train.relative_lrs": (1.0, 0.5, 0.1),
    "train.end_lr": 0.001, "train.cosine_epochs": 4, "train.warmup_start_lr": 0.001, "train.decayed": "all",
    "train.clip_norm": 40.0, "train.label_smoothing": 0.1, "train.mixup": 0.2, "train.ema": 0.9,
    "train.precision": "bf16", "train.precise_bn_batches": 2, "train.val_epochs": 2, "train.select": "best",
    "train.optimizer": "lbfgs", "features.num_clips": 1, "features.num_crops": 3, "features.crop_size": 34,
    "features.mirrored": True,
    "train.patience": 2, "train.balance": 0.5, "train.class_weights": "inverse",
    "evaluate.split": "test", "evaluate.num_clips": 2, "evaluate.num_crops": 3, "evaluate.crop_size": 34,
    "evaluate.offsets": "paper", "evaluate.batch_clips": 3, "evaluate.protocol": "seed", "evaluate.seed": 1,
    "evaluate.head": "fully_conv", "evaluate.crops": "even",
    "registry.rule": "mcnemar", "registry.min_gain": 0.1, "registry.max_p": 0.1,
    "runtime.device": "auto", "runtime.num_workers": 1, "runtime.num_devices": 2, "runtime.hosts": "a:1,b",
    "runtime.max_unreadable": 0.5, "runtime.slots_dir": "slots", "runtime.engine": "mindspore",
    "runtime.compile": "never", "runtime.follow_links": "all",
    "runtime.video_timeout_s": 9.0, "runtime.max_decode_s": 100.0, "runtime.max_memory_gb": 6.0,
    "runtime.max_kept_gb": 2.0, "runtime.max_frame_mpx": 90.0,
    "runtime.index_shard_videos": 3, "runtime.cache_shard_videos": 3, "runtime.checkpoint_steps": 3,
    "runtime.keep_checkpoints": 3, "runtime.keep_every_epochs": 2,
    "runtime.attention_videos": 1,
}  # fmt: skip
KEPT = {"train.init": "a.safetensors", "train.freeze": "res5", "features.num_clips": 2, "features.crop_size": 32}
NEEDS: dict[str, dict[str, object]] = {  # what a value goes with, where not with the small settings
    "train.optimizer": KEPT, "features.num_clips": KEPT, "features.num_crops": KEPT, "features.crop_size": KEPT,
    "features.mirrored": KEPT,
    "model.backbone": {
        "clip.clip_len": 8, "model.width": 8, "model.stage_blocks": (3, 4, 6, 3), "model.stem_stride_t": 2,
        "model.pool1_stride_t": 2,
    },
    "model.block": {"model.inflate": "none"},
    "model.nl_res5": {"model.nl_sub_sample": "none"},
    "model.pool1_pad": {"model.nl_sub_sample": "none"},
    "model.head": {"model.head_window": (2, 1, 1)},
}  # fmt: skip


def settings_in(key: Callable[[Config], str], init: Path = Path("a.safetensors")) -> set[str]:
    """The settings that change a key; `init` is a file that train.init may name."""
    found = set()
    for name, value in OTHER.items():
        section, leaf = name.split(".")
        needs = NEEDS.get(name, {})
        needs = {**needs, "train.init": str(init)} if "train.init" in needs else needs
        base = resolve("tiny", {**SETTINGS, **needs})
        changed = resolve("tiny", {**SETTINGS, **needs, name: value})
        assert getattr(getattr(changed, section), leaf) != getattr(getattr(base, section), leaf), name
        if key(changed) != key(base):
            found.add(name)
    return found


def settings_of(*sections: str) -> set[str]:
    """All settings of some sections."""
    return {name for name in OTHER if name.split(".")[0] in sections}
