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
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from nonlocal_core.artifacts.files import write_atomically
from nonlocal_core.artifacts.references import Checkpoint, Features
from nonlocal_core.config.train import TrainConfig
from nonlocal_core.config.tree import Config
from nonlocal_core.errors import InputError
from nonlocal_core.evaluation import metrics
from nonlocal_core.models import checkpoint, parts
from nonlocal_core.models.checkpoint import Description, Tensors, Validation
from nonlocal_core.training import curves
from nonlocal_core.training.log import Line, rounded, summaries
from nonlocal_core.training.videos import Videos

if TYPE_CHECKING:
    from nonlocal_core.models.i3d import I3D

log = logging.getLogger(__name__)

MOST_PASSES = 1000
"""some hundred passes over the features reach the optimum"""
NOT_CONVERGED = (
    "the classifier has not converged after %d passes: with train.optimizer=lbfgs, raise train.weight_decay"
)
DECAY = 0.03
"""weight decay of a classifier that is only fitted to begin with: SGD's own is far less"""


class Solution(NamedTuple):
    """The optimal classifier, and how it was found."""

    weight_KC: NDArray[np.float64]
    bias_K: NDArray[np.float64]
    lines: list[Line]
    """one a pass over the features: loss with the decay, and top-1"""


def learn(videos: Videos, described: Description, config: Config, folder: Path, init: Path) -> Description:
    """Learn the classifier of the trunk's features and write the whole network into `folder`; builds no network.

    Raises: InputError if the first weights are not those of the trunk; DamagedError if features do not match their
            checksum.
    """
    feature_reader, train, rows = videos.features, config.train, videos.reader.rows
    assert feature_reader is not None, "the settings say so"
    label_ids = rows["label_id"].to_numpy(np.int64)
    features_NC = np.concatenate([feature_reader.views(row).astype(np.float64) for row in videos.train_rows])
    label_N = np.repeat(label_ids[videos.train_rows], feature_reader.features.num_views)
    solution = solve(features_NC, label_N, len(described.labels), train.weight_decay, _balance(train))
    weights = _with_classifier(init, feature_reader.features, solution)
    lines, step = solution.lines, len(solution.lines)
    write_atomically(folder / Checkpoint.LOG, _text(lines))
    described = described.model_copy(update={"step": step})
    if train.val_epochs and videos.val_rows:
        middle_NC = np.concatenate([feature_reader.views(row, [feature_reader.middle]) for row in videos.val_rows])
        logits_NK, val_N = middle_NC @ solution.weight_KC.T + solution.bias_K, label_ids[videos.val_rows]
        top1, loss = metrics.topk(logits_NK, val_N, 1), metrics.cross_entropy(logits_NK, val_N)
        described = described.model_copy(update={"validations": (Validation(step=step, top1=top1, loss=loss),)})
    validated = [f", val top-1 {each.top1:.1%}" for each in described.validations]
    figures = f"loss {lines[-1]['loss']:.3f}, top-1 {lines[-1]['top1']:.1%}{''.join(validated)}"
    log.info("the classifier is learned, in %d passes over the features: %s", step, figures)
    epochs = summaries(lines, described.validations)
    write_atomically(folder / Checkpoint.EPOCHS, _text(epochs))
    curves.draw(folder / Checkpoint.CURVES, lines, epochs)
    return checkpoint.save_weights(folder / Checkpoint.WEIGHTS, weights, described)


def _balance(train: TrainConfig) -> float:
    return 1.0 if train.class_weights == "inverse" else train.balance


def _with_classifier(init: Path, stored: Features, solution: Solution) -> Tensors:
    """The trunk of some weights with a new classifier.

    Raises: InputError if it is not the trunk whose features were kept.
    """
    _, weights = checkpoint.read_user_file(init, "train.init")
    if stored.trunk_digest != parts.trunk_digest(weights, stored.last):
        raise InputError(f"train.init={init} has another trunk than the one whose features are in {stored.path}")
    trunk = {name: array for name, array in weights.items() if name.startswith(parts.prefixes(stored.last))}
    head = {parts.WEIGHT: solution.weight_KC, parts.BIAS: solution.bias_K}
    return {**trunk, **{name: array.astype(np.float32) for name, array in head.items()}}


def _text(lines: list[Line]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def fit(net: I3D, videos: Videos, train: TrainConfig) -> Line:
    """Give a network the classifier with the least loss on the kept views; gives the last line of the log."""
    import mindspore as ms

    from nonlocal_core.models import trunk

    feature_reader = videos.features
    assert feature_reader is not None, "the settings say so"
    net.set_train(False)
    features = trunk.features(net, videos.last)
    label_ids = videos.reader.rows["label_id"].to_numpy(np.int64)[videos.train_rows]
    views = (feature_reader.views(row) for row in videos.train_rows)
    features_NC = np.concatenate([features(ms.Tensor(views_of_video)).asnumpy() for views_of_video in views])
    label_N = np.repeat(label_ids, feature_reader.features.num_views)
    num_labels = net.head.fc.out_channels
    solution = solve(features_NC.astype(np.float64), label_N, num_labels, DECAY, _balance(train))
    net.head.fc.weight.set_data(ms.Tensor(solution.weight_KC.astype(np.float32)))
    net.head.fc.bias.set_data(ms.Tensor(solution.bias_K.astype(np.float32)))
    return solution.lines[-1]


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
        lines.append(line | {"clips_per_s": rounded(speed), "waits": 0.0})

    start = np.zeros(size + num_labels)
    optimum = minimize(
        loss, start, jac=True, method="L-BFGS-B", callback=after_pass, options={"maxiter": MOST_PASSES}
    )
    if not lines:
        after_pass(optimum.x)
    if len(lines) == MOST_PASSES:
        log.warning(NOT_CONVERGED, MOST_PASSES)
    return Solution(optimum.x[:size].reshape(num_labels, width), optimum.x[size:], lines)
