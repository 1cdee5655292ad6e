"""The factor of the loss in fp16, which keeps small gradients; a step whose gradients overflow is skipped."""

from __future__ import annotations

import logging
import math

import numpy as np

from nonlocal_core.errors import DivergenceError
from nonlocal_core.models.checkpoint import Tensors

log = logging.getLogger(__name__)

FIRST = 2.0**16
LEAST = 1.0
"""below it, it is not the factor that makes the gradients overflow"""
GROWS_AFTER = 2000
"""steps without overflow after which the factor is doubled"""


class LossScale:
    """The factor, which follows the gradients, and the number of steps that were skipped.

    Source: Micikevicius et al. 2018, Mixed precision training; the constants are those of PyTorch's GradScaler.
    """

    def __init__(self) -> None:
        self.factor = FIRST
        self.num_good = 0
        self.num_skipped = 0

    def follow(self, norm: float) -> bool:
        """Whether a step can be taken with gradients of this norm; the factor is halved if they overflow.

        Raises: DivergenceError if they overflow at the least factor too.
        """
        if math.isfinite(norm):
            self.num_good += 1
            if self.num_good == GROWS_AFTER:
                self.factor, self.num_good = self.factor * 2, 0
            return True
        if self.factor <= LEAST:
            raise DivergenceError(
                f"the gradients overflow in fp16, and still do with a loss scale of {LEAST:g}:"
                " take train.precision=fp32 or a lower train.base_lr"
            )
        self.factor, self.num_good, self.num_skipped = self.factor / 2, 0, self.num_skipped + 1
        log.info(
            "gradients overflow in fp16: a step is skipped, the %d. so far; the loss scale is now %g",
            self.num_skipped, self.factor,
        )  # fmt: skip
        return False

    def tensors(self) -> Tensors:
        """What a step checkpoint keeps."""
        return {
            "factor": np.array([self.factor], np.float32),
            "counts": np.array([self.num_good, self.num_skipped], np.int32),
        }

    def restore(self, tensors: Tensors) -> None:
        """Go on from what a step checkpoint has kept."""
        self.factor = float(tensors["factor"][0])
        self.num_good, self.num_skipped = (int(count) for count in tensors["counts"])
