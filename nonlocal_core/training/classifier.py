"""The classifier alone, learned from kept features: multinomial logistic regression, solved by L-BFGS.

The loss has one minimum, so there is no learning rate, no order and no seed.  It is the mean cross-entropy of the
views of all train videos, plus half of train.weight_decay times the squares of the weights; biases do not decay.

Shapes: N views, C features, K classes.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.config.train import TrainConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.models import checkpoint, device, trunk
from nonlocal_core.models.checkpoint import Description
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training import first_weights
from nonlocal_core.training.log import Line, Watch
from nonlocal_core.training.validation import Validator, Videos

log = logging.getLogger(__name__)

MOST_PASSES = 1000
"""some hundred passes over the features reach the optimum"""
DECAY = 0.03
"""weight decay of a classifier that is only fitted to begin with: SGD's own is far less"""


class Solution(NamedTuple):
    """The optimal classifier, and how it was found."""

    weight_KC: NDArray[np.float64]
    bias_K: NDArray[np.float64]
    lines: list[Line]
    """one a pass over the features: loss with the decay, and top-1"""


def learn(videos: Videos, described: Description, config: Config, folder: Path, init: Path) -> Description:
    """Learn the classifier of the trunk's features and write the whole network into `folder`.

    Raises: InputError if the first weights do not fit; DamagedError if features do not match their checksum.
    """
    device.use(config.runtime)
    train = config.train
    ms.set_seed(train.seed)
    net = I3D(config.model, len(described.labels))
    first_weights.load(net, init, described.labels, "new")
    lines = fit(net, videos, train)
    write_atomically(folder / Checkpoint.LOG, "".join(json.dumps(line) + "\n" for line in lines).encode())

    weights, step = checkpoint.weights_of_network(net), len(lines)
    described = described.model_copy(update={"step": step})
    if train.val_epochs and videos.val_rows:
        validation = Validator(videos, len(described.labels), config).validate(weights, step)
        described = described.model_copy(update={"validations": (validation,)})
    watch = Watch(folder, train, step, step)
    watch.epoch(described.validations)
    watch.draw(described.validations)
    return checkpoint.save_weights(folder / Checkpoint.WEIGHTS, weights, described)


def fit(net: I3D, videos: Videos, train: TrainConfig) -> list[Line]:
    """Give a network the classifier with the least loss on the kept views of the train videos; gives the log."""
    kept = videos.features
    assert kept is not None, "the settings say so"
    net.set_train(False)
    features = trunk.features(net, videos.last)
    label_ids = videos.reader.rows["label_id"].to_numpy(np.int64)[videos.train_rows]
    features_NC = np.concatenate([features(ms.Tensor(kept.views(row))).asnumpy() for row in videos.train_rows])
    label_N = np.repeat(label_ids, kept.features.num_views)
    balance = 1.0 if train.class_weights == "inverse" else train.balance
    decay = train.weight_decay if train.optimizer == "lbfgs" else DECAY
    solution = solve(features_NC.astype(np.float64), label_N, net.head.fc.out_channels, decay, balance)
    net.head.fc.weight.set_data(ms.Tensor(solution.weight_KC.astype(np.float32)))
    net.head.fc.bias.set_data(ms.Tensor(solution.bias_K.astype(np.float32)))
    return solution.lines


def solve(
    features_NC: NDArray[np.float64],
    label_N: NDArray[np.int64],
    num_labels: int,
    weight_decay: float,
    balance: float = 0.0,
) -> Solution:
    """The weights and biases with the least loss on some features.

    A view counts as often as train.balance draws it: in proportion to 1 / (views of its label) ** balance.

    Shape:  (K, C) and (K,).
    """
    (num, width), lines = features_NC.shape, list[Line]()
    share_N = np.bincount(label_N)[label_N] ** -balance
    share_N /= share_N.sum()
    target_NK, size = np.eye(num_labels)[label_N], num_labels * width

    def logits(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        product: NDArray[np.float64] = features_NC @ flat[:size].reshape(num_labels, width).T + flat[size:]
        return product

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_scores_NK = log_softmax(logits(flat), axis=1)
        slope_NK = (np.exp(log_scores_NK) - target_NK) * share_N[:, None]
        decayed = flat[:size] * weight_decay
        value = -float(share_N @ (log_scores_NK * target_NK).sum(1)) + 0.5 * float(decayed @ flat[:size])
        return value, np.concatenate([(slope_NK.T @ features_NC).ravel() + decayed, slope_NK.sum(0)])

    started_s = time.monotonic()

    def after_pass(flat: NDArray[np.float64]) -> None:
        top1 = float(np.mean(logits(flat).argmax(1) == label_N))
        speed = num * (len(lines) + 1) / (time.monotonic() - started_s)
        line = {"step": len(lines) + 1, "epoch": len(lines), "loss": loss(flat)[0], "lr": 0.0, "top1": top1}
        lines.append(line | {"clips_per_s": round(speed, 2), "waits": 0.0})

    start = np.zeros(size + num_labels)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", callback=after_pass, options={"maxiter": MOST_PASSES}
    )
    if not lines:
        after_pass(found.x)
    if len(lines) == MOST_PASSES:
        log.warning("the classifier had not converged after %d passes: raise train.weight_decay", MOST_PASSES)
    return Solution(found.x[:size].reshape(num_labels, width), found.x[size:], lines)
