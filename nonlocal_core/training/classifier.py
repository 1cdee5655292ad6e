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
from nonlocal_core.config.tree import Config
from nonlocal_core.models import checkpoint, device
from nonlocal_core.models.checkpoint import Description
from nonlocal_core.models.i3d import I3D
from nonlocal_core.training import first_weights
from nonlocal_core.training.log import Line, Watch
from nonlocal_core.training.validation import Validator, Videos

log = logging.getLogger(__name__)

MOST_PASSES = 1000
"""some hundred passes over the features reach the optimum"""
HEAD = "head.fc.weight", "head.fc.bias"


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
    kept, train = videos.features, config.train
    assert kept is not None, "the settings say so"
    label_ids = videos.reader.rows["label_id"].to_numpy(np.int64)[videos.train_rows]
    features_NC = np.concatenate([kept.views(row) for row in videos.train_rows]).astype(np.float64)
    label_N = np.repeat(label_ids, kept.features.num_views)
    balance = 1.0 if train.class_weights == "inverse" else train.balance
    solution = solve(features_NC, label_N, len(described.labels), train.weight_decay, balance)
    content = "".join(json.dumps(line) + "\n" for line in solution.lines)
    write_atomically(folder / Checkpoint.LOG, content.encode())

    ms.set_seed(train.seed)
    net = I3D(config.model, len(described.labels))
    first_weights.load(net, init, described.labels, "new")
    head = (array.astype(np.float32) for array in (solution.weight_KC, solution.bias_K))
    weights = {**checkpoint.weights_of_network(net), **dict(zip(HEAD, head, strict=True))}
    step = len(solution.lines)
    described = described.model_copy(update={"step": step})
    if train.val_epochs and videos.val_rows:
        validation = Validator(videos, len(described.labels), config).validate(weights, step)
        described = described.model_copy(update={"validations": (validation,)})
    watch = Watch(folder, train, step, step)
    watch.epoch(described.validations)
    watch.draw(described.validations)
    return checkpoint.save_weights(folder / Checkpoint.WEIGHTS, weights, described)


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
    share_N = share_N / share_N.sum()
    target_NK = np.eye(num_labels)[label_N]
    size = num_labels * width

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
