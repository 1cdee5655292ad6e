"""The training loop: one visible loop over steps that can be cut anywhere and goes on as if it had not been."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from nonlocal_core.artifacts import write_atomically
from nonlocal_core.config import Config
from nonlocal_core.data import loader, sampling
from nonlocal_core.data.records import RecordReader
from nonlocal_core.errors import DivergenceError
from nonlocal_core.models.i3d import I3D
from nonlocal_core.progress import Progress
from nonlocal_core.training import checkpoint, device
from nonlocal_core.training.schedules import learning_rates

log = logging.getLogger(__name__)

LOG_FILE = "log.jsonl"
KEEP_CHECKPOINTS = 2
SAME_SIGNAL_S = 2.0

Step = Callable[[ms.Tensor, ms.Tensor, ms.Tensor], tuple[ms.Tensor, ms.Tensor]]


def run(
    reader: RecordReader, rows: list[int], described: checkpoint.Description, config: Config, folder: Path
) -> float:
    """Train on the given records and leave the last checkpoint in `folder`; what comes back is the last loss.

    A checkpoint that lies in the folder is where it goes on.

    Raises: DivergenceError if the loss is not finite; DamagedError if a record does not match its checksum.
    """
    train = config.train
    log.info("training on the %s", device.use(config.runtime))
    ms.set_seed(train.seed)
    net = I3D(config.model, len(described.labels))
    per_epoch = loader.steps_per_epoch(len(rows), train.batch_size)
    rates = learning_rates(train, per_epoch)
    optimizer = make_optimizer(net, rates, config)
    step = 0
    if path := checkpoint.latest(folder):
        step = checkpoint.restore(path, net, optimizer).step
        log.info("going on after step %d of %d", step, len(rates))
    loss = _cut_log(folder / LOG_FILE, step)
    take_step = make_step(net, optimizer)
    progress = Progress("train", f"{train.epochs} epochs", len(rates), "steps", done=step)
    with stop_between_steps() as stop:
        for epoch in range(step // per_epoch, train.epochs):
            for batch in loader.train_batches(reader, rows, config, epoch, skip=step % per_epoch):
                started_s = time.monotonic()
                keep = dropout_mask(config, step, len(batch.rows))
                loss_, logits_NK = take_step(
                    ms.Tensor(batch.clip_NCTHW), ms.Tensor(batch.label_N), ms.Tensor(keep)
                )
                loss = float(loss_.asnumpy())
                if not np.isfinite(loss):
                    raise DivergenceError(_diverged(reader, batch.rows, step + 1, rates[step]))
                top1 = float(np.mean(logits_NK.asnumpy().argmax(1) == batch.label_N))
                step += 1
                clips_per_s = len(batch.rows) / (time.monotonic() - started_s)
                line = {"step": step, "epoch": epoch, "loss": loss, "lr": float(rates[step - 1]), "top1": top1}
                _append(folder / LOG_FILE, {**line, "clips_per_s": round(clips_per_s, 2)})
                progress.advance(1, f"loss {loss:.3f}, lr {line['lr']:.2g}, {clips_per_s:.1f} clips/s")
                if step % config.runtime.checkpoint_steps == 0 or step == len(rates) or stop.is_set():
                    described = described.model_copy(update={"step": step})
                    checkpoint.save(checkpoint.step_path(folder, step), net, optimizer, described)
                    checkpoint.keep_last(folder, KEEP_CHECKPOINTS)
                if stop.is_set():
                    log.info("stopped after step %d of %d; the same command goes on from there", step, len(rates))
                    raise KeyboardInterrupt
    return loss


@contextlib.contextmanager
def stop_between_steps() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets instead of cutting a step in two; another one, later, cuts.

    A Ctrl-C comes twice at once: from the terminal, and from the parent process, which passes it on.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    asked_s = float("inf")

    def request(number: int, frame: object) -> None:
        nonlocal asked_s
        if not stop.is_set():
            asked_s = time.monotonic()
            stop.set()
        elif time.monotonic() - asked_s > SAME_SIGNAL_S:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()


def make_optimizer(net: I3D, rates: np.ndarray[Any, np.dtype[np.float32]], config: Config) -> nn.Optimizer:
    """SGD with momentum; BN and biases are not decayed."""
    decayed = [p for p in net.trainable_params() if p.ndim > 1]
    plain = [p for p in net.trainable_params() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.train.weight_decay},
        {"params": plain, "weight_decay": 0.0},
        {"order_params": net.trainable_params()},
    ]
    momentum = config.train.momentum
    if config.train.nesterov and momentum > 0:  # on CPUs, Momentum does not look at use_nesterov
        return nn.SGD(groups, rates.tolist(), momentum, nesterov=True)
    return nn.Momentum(groups, rates.tolist(), momentum)


def make_step(net: I3D, optimizer: nn.Optimizer) -> Step:
    """One compiled graph: forward, gradients, update; gives the loss and the logits."""
    net.set_train(True)

    def forward(clip_NCTHW: ms.Tensor, label_N: ms.Tensor, keep_NC: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        features_NC = net.features(loader.normalise(clip_NCTHW, net.model)) * keep_NC
        logits_NK = net.classify(features_NC)
        return ops.cross_entropy(logits_NK, label_N), logits_NK

    gradients = ms.value_and_grad(forward, None, optimizer.parameters, has_aux=True)

    def step(clip_NCTHW: ms.Tensor, label_N: ms.Tensor, keep_NC: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        (loss, logits_NK), grads = gradients(clip_NCTHW, label_N, keep_NC)
        return ops.depend(loss, optimizer(grads)), logits_NK

    compiled: Step = ms.jit(step)
    return compiled


def dropout_mask(config: Config, step: int, num_clips: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The mask of one step's pooled features, already divided by the share that is kept.

    MindSpore's own dropout has a state that cannot be saved; this one is a function of (seed, step).

    Shape:  (num_clips, channels of res5)
    """
    kept = 1.0 - config.model.dropout
    rng = sampling.generator(config.train.seed, step, "", "dropout")
    mask = rng.random((num_clips, config.model.num_features)) < kept
    return (mask / kept).astype(np.float32)


def _append(path: Path, line: dict[str, object]) -> None:
    with path.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def _cut_log(path: Path, step: int) -> float:
    """Drop the lines after a step, which will be taken again; gives that step's loss."""
    content = path.read_text() if path.exists() else ""
    lines = [line for line in content.splitlines(keepends=True) if line.endswith("\n")][:step]
    write_atomically(path, "".join(lines).encode())
    return float(json.loads(lines[-1])["loss"]) if lines else float("nan")


def _diverged(reader: RecordReader, rows: list[int], step: int, rate: float) -> str:
    videos = ", ".join(str(reader.rows["video_id"].iloc[row]) for row in rows[:4])
    return (
        f"the loss is not finite at step {step} with learning rate {rate:.3g} (videos {videos}, …): "
        "lower train.base_lr or lengthen train.warmup_epochs"
    )
