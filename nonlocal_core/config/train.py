"""The section `train` of the tree of settings: the recipe, from the first weights to the one that is handed on.

The defaults add nothing to plain SGD with momentum; `recipes.py` has what others published, by name.
docs/guides/training.md explains each group.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nonlocal_core.config.section import Fraction, Positive, Section, later
from nonlocal_core.errors import ConfigError

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Amount = Annotated[float, Field(ge=0.0)]
MULTI_SCALES = (1.0, 0.875, 0.75, 0.66)
"""TSN's scales, the defaults of mmaction2's and gluon-cv's multi-scale crop"""


class TrainConfig(Section):
    """What train reads beside the clip and the network."""

    init: str = ""
    """first weights: champion, champion_if_any, an alias, an entry (v0003), published, a file (empty: drawn)"""
    init_head: Literal["keep", "match", "new", "fitted"] = "keep"
    """classifier of train.init: kept, kept for labels that both have, drawn anew, or fitted to kept features"""
    freeze: Literal["none", "stem", "res2", "res3", "res4", "res5"] = "none"
    """last part of the network that does not learn, like all parts before it"""
    optimizer: Annotated[Literal["sgd", "lbfgs"], later("sgd")] = "sgd"
    """SGD with momentum, or L-BFGS for a classifier alone: the optimum for the features of all train videos"""
    epochs: Positive = 100
    """passes over the train split"""
    steps: Count = 0
    """length of the training in steps; then train.milestones are steps, too (0: train.epochs decides)"""
    batch_size: Positive = 8
    """clips of one step, which makes one update of the weights"""
    micro_batch: Count = 0
    """clips of a step that go through the network together, for BN too (0: the whole batch)"""
    schedule: Literal[
        "step", "relative_steps", "cosine", "cosine_whole", "cosine_by_epoch", "cosine_twice", "dynamic"
    ] = "step"
    """how the learning rate falls after the warm-up; docs/guides/training.md has the formulas"""
    base_lr: Annotated[float, Field(gt=0.0)] = 0.01
    """learning rate after the warm-up"""
    lr_batch: Count = 0
    """batch that base_lr is for: all rates are multiplied by batch_size over it (clips; 0: by 1)"""
    milestones: tuple[Positive, ...] = (40, 80)
    """epochs after which the rate changes: step multiplies it by gamma, relative_steps takes its next rate"""
    gamma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """factor of the learning rate at each milestone of train.schedule=step"""
    relative_lrs: tuple[Annotated[float, Field(gt=0.0)], ...] = (1.0, 0.1, 0.01)
    """rates of train.schedule=relative_steps before, between and after the milestones (times base_lr)"""
    end_lr: Amount = 0.0
    """learning rate at the end of the cosine schedules"""
    cosine_epochs: Count = 0
    """epochs in which cosine_by_epoch and the first part of cosine_twice reach end_lr (0: the whole training)"""
    warmup_epochs: Amount = 0.0
    """length of the warm-up, in which the learning rate rises linearly (epochs; 0: none)"""
    warmup_start_lr: Amount = 0.0
    """learning rate that the warm-up starts from"""
    momentum: Share = 0.9
    """momentum of SGD"""
    nesterov: bool = False
    """SGD takes Nesterov's form of the momentum"""
    weight_decay: Amount = 1e-4
    """weight decay of the parameters that train.decayed names"""
    decayed: Literal["kernels", "not_norms", "all"] = "kernels"
    """parameters with weight decay: weights of convolutions and classifier, their biases too, or BN's as well"""
    clip_norm: Amount = 0.0
    """greatest norm of all gradients together; greater ones are scaled down to it (0: no limit)"""
    label_smoothing: Share = 0.0
    """share of the target that is spread over all labels (0…1)"""
    mixup: Amount = 0.0
    """alpha of mixup: two clips are mixed in shares drawn from Beta(alpha, alpha) (0: off)"""
    ema: Share = 0.0
    """decay a step of the averaged weights (EMA), which are evaluated and handed on instead (0: off)"""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """number format of convolutions and products with weights; fp16 needs a GPU or Ascend, bf16 an Ascend"""
    precise_bn_batches: Count = 0
    """batches that BN's statistics are computed over for evaluation and the final weights (0: running ones)"""
    balance: Annotated[Fraction, later(0.0)] = 0.0
    """how even the labels of an epoch are: 0 every video once, 1 all labels equally often, 0.5 between them"""
    class_weights: Annotated[Literal["none", "inverse"], later("none")] = "none"
    """weight of a clip's loss: the same for all, or inverse to the number of its label's train videos"""
    crop_size: Annotated[int, Field(ge=32)] = 224
    """side of a training crop (pixels)"""
    flip_probability: Fraction = 0.5
    """share of training clips that are mirrored (0…1)"""
    scale_min: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    """least scale of training frames before the crop; each clip draws its own (times cache.short_side)"""
    scale_max: Annotated[float, Field(gt=0.0, le=4.0)] = 1.0
    """greatest scale of training frames before the crop (times cache.short_side; both 1: never scaled)"""
    crop: Literal["random", "multi_scale"] = "random"
    """training crop: crop_size anywhere, or crop_scales of the short side at a corner or the centre, resized"""
    crop_scales: Annotated[tuple[Annotated[float, Field(gt=0.0, le=1.0)], ...], later(MULTI_SCALES)] = MULTI_SCALES
    """sides that a multi_scale crop may have (times the short side of a cached frame)"""
    crop_gap: Annotated[Count, later(1)] = 1
    """greatest distance of a multi_scale crop's height and width in train.crop_scales (0: only squares)"""
    colour_jitter: Fraction = 0.0
    """greatest change of brightness, contrast and saturation of a training clip (0…1 of each; 0: off)"""
    val_epochs: Count = 1
    """epochs between validations, of one centre crop a val video; the last epoch has one too (0: never)"""
    select: Literal["last", "best"] = "last"
    """weights that are handed on: those of the last step, or those with the best top-1 of a validation"""
    patience: Count = 0
    """validations without a better top-1 after which the training ends (0: never)"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """seed of weights, order, sampling, crops, flips, dropout and mixup"""

    @property
    def num_parts(self) -> int:
        """Micro batches of a batch; a batch that is smaller than one is one."""
        return -(-self.batch_size // self.micro_batch) if self.micro_batch else 1

    def shared_by(self, num_devices: int) -> TrainConfig:
        """The recipe with the micro batch that each of several devices sees.

        A training on several devices is that of one device which takes their parts one after the other.

        Raises: ConfigError if the devices cannot share a batch equally.
        """
        if num_devices == 1:
            return self
        size, left = divmod(self.batch_size, num_devices)
        if left or (size > self.micro_batch > 0 and size % self.micro_batch):
            parts = f" in parts of train.micro_batch={self.micro_batch} clips" if self.micro_batch else ""
            raise ConfigError(
                f"train.batch_size={self.batch_size} cannot be shared by runtime.num_devices={num_devices}{parts}:"
                " take a multiple"
            )
        return self.model_copy(update={"micro_batch": min(self.micro_batch or size, size)})

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.batch_size > self.micro_batch > 0 and self.batch_size % self.micro_batch:
            raise ConfigError(
                f"train.batch_size={self.batch_size} cannot be cut into parts of"
                f" train.micro_batch={self.micro_batch} clips: take a multiple"
            )
        if self.schedule == "relative_steps" and len(self.relative_lrs) != len(self.milestones) + 1:
            raise ConfigError(
                f"train.relative_lrs has {len(self.relative_lrs)} rates for {len(self.milestones)} of"
                " train.milestones: it needs one more than there are milestones"
            )
        if max(self.end_lr, self.warmup_start_lr) > self.base_lr:
            raise ConfigError("train.end_lr and train.warmup_start_lr must not be above train.base_lr")
        if self.balance and self.class_weights != "none":
            raise ConfigError(
                "train.balance and train.class_weights both make up for rare labels: set one of them"
            )
        if not self.val_epochs and (self.patience or self.select == "best"):
            raise ConfigError("train.select=best and train.patience need validations: set train.val_epochs")
        return self
