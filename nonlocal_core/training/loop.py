"""The training loop: one loop over steps, which can be stopped anywhere and then resumes with the same result."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.artifacts.files import link_or_copy, read_json_lines, remove_unfinished
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.config.tree import Config
from nonlocal_core.data import loader
from nonlocal_core.data.loader import Batch
from nonlocal_core.errors import ConfigError, DamagedError, DivergenceError, InputError, few
from nonlocal_core.models import checkpoint, compiling, device
from nonlocal_core.models.checkpoint import Description
from nonlocal_core.models.i3d import I3D
from nonlocal_core.process.signals import stop_between_steps
from nonlocal_core.training import classifier, first_weights, optimizers, step_checkpoint
from nonlocal_core.training.averages import make_average
from nonlocal_core.training.collectives import ALONE, Ranks
from nonlocal_core.training.log import Watch, rounded
from nonlocal_core.training.loss_scale import LossScale
from nonlocal_core.training.schedules import learning_rates
from nonlocal_core.training.step import class_weights, inputs, make_step
from nonlocal_core.training.step_checkpoint import State
from nonlocal_core.training.validation import Validator
from nonlocal_core.training.videos import Videos

log = logging.getLogger(__name__)

STOPPED = "stopped after step %d of %d; the same command goes on from there"
HIGH_STEPS = 50
HIGH_TIMES = 3.0
"""training ends if the median loss of the last HIGH_STEPS steps exceeds HIGH_TIMES the loss of guessing"""


class Run(NamedTuple):
    """The constants of a training: nothing here changes while it runs."""

    videos: Videos
    config: Config
    folder: Path
    rates: NDArray[np.float32]
    steps_per_epoch: int
    ranks: Ranks


def run(
    videos: Videos, described: Description, config: Config, folder: Path, init: Path | None, ranks: Ranks = ALONE
) -> Description:
    """Train on cached videos and write the final weights into `folder`; gives their description.

    A training with a checkpoint in the folder resumes from it.  Of several devices only the first one writes.

    Raises: ConfigError if the device cannot compute in this precision; InputError if the first weights do not fit;
            DivergenceError if the loss is not finite or stays high; DamagedError if a record does not match its
            checksum.
    """
    config = ranks.config(config)
    train = config.train
    per_epoch = loader.steps_per_epoch(len(videos.train_rows), train.batch_size)
    training = Run(videos, config, folder, learning_rates(train, per_epoch), per_epoch, ranks)
    if finished := _read_finished(training):
        return finished
    num_steps = len(training.rates)
    _check(device.use(config.runtime, _is_compiled(training)), config, videos)
    state, take_average, described = _begin(training, described, init)
    label_N = videos.reader.rows["label_id"].to_numpy(np.int64)[videos.train_rows]
    weights_K = class_weights(train, label_N, len(described.labels))
    take_step = make_step(state.net, state.optimizer, train, ranks, weights_K, videos.last, state.loss_scale)
    validator = Validator(videos, len(described.labels), config, ranks)
    with stop_between_steps() as stop:
        watch = Watch(folder, train, num_steps, described.step) if ranks.is_first else None
        lines = read_json_lines(folder / Checkpoint.LOG)
        recent = deque((line["loss"] for line in lines[-HIGH_STEPS:]), HIGH_STEPS)
        for epoch in range(max(described.step - 1, 0) // per_epoch, math.ceil(num_steps / per_epoch)):
            for batch, started_s, waited_s in _batches(training, epoch, described.step):
                step = described.step
                # That of the step which is taken now: skipped ones move no rate, and it may be skipped itself.
                rate = float(training.rates[step - _num_skipped(state)])
                loss, logits_NK = take_step(inputs(batch, config, step, ranks))
                take_average(step)
                loss, top1 = ranks.mean(loss, float(np.mean(logits_NK.argmax(1) == batch.label_N)))
                recent.append(loss)
                if problem := _problem_of(recent, len(described.labels)) or _not_finite(training, state, step):
                    raise DivergenceError(_divergence_text(problem, training, batch, step, rate))
                seconds = time.monotonic() - started_s
                described = described.model_copy(update={"step": step + 1})
                line = {"step": step + 1, "epoch": epoch, "loss": loss, "lr": rate, "top1": top1}
                line |= {"clips_per_s": rounded(train.batch_size / seconds), "waits": round(waited_s / seconds, 3)}
                line |= {"skipped": _num_skipped(state)} if state.loss_scale else {}
                if watch:
                    watch.step(line)
                if _is_checkpoint_step(training, described.step) or stop.is_set():
                    _save_checkpoint(training, state, described)
                if stop.is_set():
                    log.info(STOPPED, described.step, num_steps)
                    raise KeyboardInterrupt
            described = _validate(training, state, described, validator, stop)
            if watch:
                watch.epoch(described.validations)
            if _out_of_patience(described, train.patience):
                log.info("no better top-1 in %d validations: ended after step %d", train.patience, described.step)
                break
    if watch:
        watch.draw(described.validations)
    return _finish(training, state, described, validator)


def _num_skipped(state: State) -> int:
    return state.loss_scale.num_skipped if state.loss_scale else 0


def _is_compiled(training: Run) -> bool:
    """Whether the steps are worth compiling: a function of them all, so that going on later changes no bit."""
    config, videos = training.config, training.videos
    if training.ranks.num_ranks > 1 or config.runtime.compile != "auto":
        return training.ranks.num_ranks > 1 or config.runtime.compile != "never"
    return compiling.pays_for_steps(config, videos.last, len(training.rates))


def _check(target: str, config: Config, videos: Videos) -> None:
    log.info("training on the %s", target)
    precision, have = config.train.precision, device.HALF
    if precision not in ("fp32", *have[target]):
        where = " or ".join(name for name in have if precision in have[name])
        others = " or ".join(f"train.precision={name}" for name in ("fp32", *have[target]))
        raise ConfigError(f"train.precision={precision} needs {where}, and this runs on {target}: set {others}")
    if config.train.val_epochs and not videos.val_rows:
        if config.train.select == "best" or config.train.patience:
            raise InputError(
                "no video of the val split could be decoded, which train.select=best and train.patience need"
            )
        log.warning("no video of the val split could be decoded: there are no validations")


def _begin(training: Run, described: Description, init: Path | None) -> tuple[State, Any, Description]:
    """The state to start or resume from, the function that averages its weights, and its description."""
    train = training.config.train
    if training.ranks.is_first:
        remove_unfinished(training.folder)
    ms.set_seed(train.seed)
    net = I3D(training.config.model, len(described.labels))
    if init:
        first_weights.load(net, init, described.labels, train.init_head)
    if train.init_head == "fitted" and not step_checkpoint.latest(training.folder):
        line = classifier.fit(net, training.videos, train)
        log.info("the classifier is fitted: loss %.3f, top-1 %.1f%%", line["loss"], 100 * line["top1"])
    optimizers.freeze(net, train.freeze)
    average = make_average(net, train.ema)
    loss_scale = LossScale() if train.precision == "fp16" else None
    state = State(net, optimizers.make_optimizer(net, training.rates, train), average.parameters, loss_scale)
    if path := step_checkpoint.latest(training.folder):
        described = step_checkpoint.restore(path, state)
        log.info("going on after step %d of %d", described.step, len(training.rates))
    if training.ranks.num_ranks > 1:
        digest = checkpoint.tensors_digest(step_checkpoint.weights_of(state))
        training.ranks.check_same(f"{described.step} {digest}")
    return state, average.take, described


def _batches(training: Run, epoch: int, step: int) -> Iterator[tuple[Batch, float, float]]:
    """The batches of an epoch after a step, each with the clock time of its request and the wait (seconds)."""
    skip = step - epoch * training.steps_per_epoch
    batches = training.videos.train_batches(training.config, epoch, skip, *training.ranks)
    started_s = time.monotonic()
    for batch in islice(batches, len(training.rates) - step):
        yield batch, started_s, time.monotonic() - started_s
        started_s = time.monotonic()


def _is_checkpoint_step(training: Run, step: int) -> bool:
    """Whether a checkpoint is written after a step."""
    steps = training.config.runtime.checkpoint_steps
    return step % steps == 0 or step == len(training.rates) or _is_permanent(training, step)


def _is_permanent(training: Run, step: int) -> bool:
    every = training.config.runtime.keep_every_epochs * training.steps_per_epoch
    return bool(every) and step % every == 0


def _save_checkpoint(training: Run, state: State, described: Description) -> None:
    if not training.ranks.is_first:
        return
    step_checkpoint.save(step_checkpoint.step_path(training.folder, described.step), state, described)
    count = training.config.runtime.keep_checkpoints
    step_checkpoint.keep_last(training.folder, count, count, lambda step: _is_permanent(training, step))


def _validate(
    training: Run, state: State, described: Description, validator: Validator, stop: Event
) -> Description:
    """Validate if it is due, and write a checkpoint before it and, with its result, after it."""
    train, step = training.config.train, described.step
    epoch, inside = divmod(step, training.steps_per_epoch)
    due = train.val_epochs and not inside and epoch % train.val_epochs == 0
    last = train.val_epochs and step == len(training.rates)
    done = bool(described.validations) and described.validations[-1].step == step
    if done or not (due or last) or not training.videos.val_rows:
        return described
    if not _is_checkpoint_step(training, step):
        _save_checkpoint(training, state, described)
    weights = validator.weights(state, (step - 1) // training.steps_per_epoch)
    validation = validator.validate(weights, step, stop)
    described = described.model_copy(update={"validations": (*described.validations, validation)})
    if training.ranks.is_first and step_checkpoint.best(described.validations) == validation:
        checkpoint.save_weights(step_checkpoint.best_path(training.folder, step), weights, described)
    _save_checkpoint(training, state, described)
    return described


def _out_of_patience(described: Description, patience: int) -> bool:
    validations = described.validations
    best = step_checkpoint.best(validations)
    return bool(patience) and best is not None and len(validations) > patience + validations.index(best)


def _finish(training: Run, state: State, described: Description, validator: Validator) -> Description:
    """Write the weights to hand on, and delete what only a killed training needs."""
    folder, best = training.folder, step_checkpoint.best(described.validations)
    chosen = best if training.config.train.select == "best" else None
    if chosen:
        described, _ = checkpoint.read(step_checkpoint.best_path(folder, chosen.step))
    else:
        weights = validator.weights(state, (described.step - 1) // training.steps_per_epoch)
    if not training.ranks.is_first:
        return described
    if chosen:
        link_or_copy(step_checkpoint.best_path(folder, chosen.step), folder / Checkpoint.WEIGHTS)
    else:
        checkpoint.save_weights(folder / Checkpoint.WEIGHTS, weights, described)
    final = _read_finished(training)
    assert final is not None, "it was just written"
    return final


def _read_finished(training: Run) -> Description | None:
    """The description of the final weights, if the training has ended; deletes what a kill then left behind."""
    file = training.folder / Checkpoint.WEIGHTS
    if not file.exists():
        return None
    try:
        described, _ = checkpoint.read_weights(file)
    except DamagedError as error:
        log.warning("%s; making it again", error)
        return None
    if training.ranks.is_first:
        step_checkpoint.keep_last(training.folder, 0, 1, lambda step: _is_permanent(training, step))
    return described


def _problem_of(recent: deque[float], num_labels: int) -> str:
    """What is wrong with the last losses; empty if nothing is."""
    if not math.isfinite(recent[-1]):
        return "the loss is not finite"
    guessing = math.log(max(num_labels, 2))
    if len(recent) == HIGH_STEPS and np.median(recent) > HIGH_TIMES * guessing:
        limit = f"{HIGH_TIMES * guessing:.3g}, {HIGH_TIMES:g} times that of guessing"
        return f"the loss has a median above {limit}, in the last {HIGH_STEPS} steps"
    return ""


def _not_finite(training: Run, state: State, step: int) -> str:
    """What is wrong with the weights after a step: of the small tensors, and of all where a checkpoint is due.

    The loss does not show it on a CPU, where ReLU makes 0 of NaN and a max pool passes it over.  The running
    variances show it first.
    """
    due = _is_checkpoint_step(training, step + 1) or (step + 1) % training.steps_per_epoch == 0
    arrays = {
        name: parameter.asnumpy()
        for name, parameter in state.net.parameters_and_names()
        if due or parameter.ndim == 1
    }
    names = checkpoint.not_finite(arrays)
    return f"the training has diverged: numbers are not finite in {few(names, 3)}," if names else ""


def _divergence_text(problem: str, training: Run, batch: Batch, step: int, rate: float) -> str:
    ids = training.videos.reader.rows["video_id"]
    videos = ", ".join(str(ids.iloc[row]) for row in batch.rows[:4])
    return (
        f"{problem} at step {step + 1} with learning rate {rate:.3g}"
        f" (videos {videos}, …): lower train.base_lr or lengthen train.warmup_epochs"
    )
