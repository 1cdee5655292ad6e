"""The optimizer: which parameters learn, and which of them decay."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from nonlocal_core.config.train import TrainConfig
from nonlocal_core.models import parts
from nonlocal_core.models.i3d import I3D


def freeze(net: I3D, last: str) -> None:
    """Freeze the weights and BN statistics of every part of the network up to `last`."""
    for part in parts.parts(last):
        for parameter in getattr(net, part).get_parameters():
            parameter.requires_grad = False


def set_training(net: I3D, last: str) -> None:
    """Put the network into training mode, except the parts that do not learn."""
    net.set_train(True)
    for part in parts.parts(last):
        getattr(net, part).set_train(False)


def make_optimizer(net: I3D, rates: np.ndarray[Any, np.dtype[np.float32]], train: TrainConfig) -> nn.Optimizer:
    """An SGD optimizer with momentum of the parameters that learn, in groups with and without weight decay."""
    parameters = list(net.trainable_params())
    norms = (".gamma", ".beta")

    def decays(parameter: ms.Parameter) -> bool:
        if train.decayed == "kernels":
            return bool(parameter.ndim > 1)
        return train.decayed == "all" or not parameter.name.endswith(norms)

    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if decays(p)], "weight_decay": train.weight_decay},
        {"params": [p for p in parameters if not decays(p)], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    groups.append({"order_params": parameters})
    if train.nesterov and train.momentum > 0:  # on CPUs, Momentum does not look at use_nesterov
        return nn.SGD(groups, rates.tolist(), train.momentum, nesterov=True)
    return nn.Momentum(groups, rates.tolist(), train.momentum)
