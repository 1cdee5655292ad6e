"""What a person sees of a training: its log, progress, epochs, curves and TensorBoard files.

log.jsonl      one line a step, written before the step counts as done
epochs.jsonl   one line an epoch, made from the log and the validations, so it can be made again
curves.png     the curves of both as a picture
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nonlocal_core.artifacts.files import read_json_lines, write_atomically
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.config.train import TrainConfig
from nonlocal_core.models.checkpoint import Validation
from nonlocal_core.process.progress import Progress
from nonlocal_core.training import curves

log = logging.getLogger(__name__)

SHOWN_STEPS = 20
"""the figures beside the progress are means of the last so many steps"""
DRAW_EVERY_S = 10.0
DECODING_SHARE = 0.1
"""decoding is called the bottleneck if at least this share of an epoch is spent waiting for clips"""
LEAST_SPEED = 0.005
"""clips a second where a log has 0.0: earlier versions rounded to two decimals"""

Line = dict[str, Any]


class Watch:
    """Keeps the log of a training and shows how far it is."""

    def __init__(self, folder: Path, train: TrainConfig, num_steps: int, step: int) -> None:
        self.folder, self.train, self.num_steps = folder, train, num_steps
        cut_log(folder / Checkpoint.LOG, step)
        length = f"{train.steps} steps" if train.steps else f"{train.epochs} epochs"
        self.progress = Progress("train", length, num_steps, "steps", done=step)
        self.shown: deque[Line] = deque(maxlen=SHOWN_STEPS)
        self.drawn_s = time.monotonic()
        self.board = _board(folder, step)

    def step(self, line: Line) -> None:
        """Write a step into the log and advance the progress."""
        with (self.folder / Checkpoint.LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.shown.append(line)
        self._to_board(line["step"], {f"train/{name}": line[name] for name in ("loss", "lr", "top1")})
        names = ("loss", "top1", "clips_per_s", "waits")
        loss, top1, clips_per_s, waits = (float(np.mean([shown[name] for shown in self.shown])) for name in names)
        figures = f"loss {loss:.3f}, top-1 {top1:.0%}, lr {line['lr']:.2g}, {clips_per_s:.1f} clips/s"
        self.progress.advance(1, f"{figures}, {waits:.0%} of it waiting for clips")

    def epoch(self, validations: Iterable[Validation]) -> None:
        """Log how an epoch went, and draw the curves if the last picture, or the start, is `DRAW_EVERY_S` ago.

        Do nothing if a power cut took the lines of all steps.
        """
        lines = read_json_lines(self.folder / Checkpoint.LOG)
        if not lines:
            return
        epochs = summaries(lines, validations)
        content = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
        write_atomically(self.folder / Checkpoint.EPOCHS, content.encode())
        last = epochs[-1]
        log.info("%s", _sentence(last, lines[-1]["step"], self.num_steps))
        if "val_top1" in last:
            self._to_board(last["step"], {"val/top1": last["val_top1"], "val/loss": last["val_loss"]})
        if time.monotonic() - self.drawn_s >= DRAW_EVERY_S:
            self.draw(validations)

    def draw(self, validations: Iterable[Validation]) -> None:
        """Draw the curves."""
        lines = read_json_lines(self.folder / Checkpoint.LOG)
        if lines:
            curves.draw(self.folder / Checkpoint.CURVES, lines, summaries(lines, validations))
        self.drawn_s = time.monotonic()
        if self.board:
            self.board.flush()

    def _to_board(self, step: int, figures: dict[str, float]) -> None:
        if self.board:
            for name, figure in figures.items():
                self.board.add_scalar(name, figure, step)


def cut_log(path: Path, step: int) -> None:
    """Drop the log's lines after a step, because those steps are taken again, and a line that is cut short."""
    content = path.read_bytes() if path.exists() else b""
    lines = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
    # A power cut may have taken lines before the step, so their number says nothing, or left zeros in their place.
    write_atomically(path, b"".join(line for line in lines if _step_of(line) <= step))


def _step_of(line: bytes) -> float:
    """The step of a line of the log; infinite for what is no line."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def rounded(clips_per_s: float) -> float:
    """A speed with four digits, however slow it is."""
    return float(f"{clips_per_s:.4g}")


def summaries(lines: list[Line], validations: Iterable[Validation]) -> list[Line]:
    """One line an epoch: the means of its steps, its speed, and its validation if there was one."""
    by_epoch: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        by_epoch[line["epoch"]].append(line)
    by_step = {validation.step: validation for validation in validations}
    epochs = []
    for epoch, steps in sorted(by_epoch.items()):
        # The first step of a process compiles the network: the slowest step is left out.
        timed = sorted(steps, key=lambda line: float(line["clips_per_s"]))[1:] or steps
        seconds = np.array([1.0 / (line["clips_per_s"] or LEAST_SPEED) for line in timed])  # a clip
        line = {
            "epoch": epoch,
            "step": steps[-1]["step"],
            "loss": float(np.mean([line["loss"] for line in steps])),
            "top1": float(np.mean([line["top1"] for line in steps])),
            "clips_per_s": rounded(1.0 / float(seconds.mean())),
            "waits": round(float(np.average([line["waits"] for line in timed], weights=seconds)), 3),
        }
        if "skipped" in steps[-1]:
            line["skipped"] = steps[-1]["skipped"]
        if validation := by_step.get(steps[-1]["step"]):
            line |= {"val_top1": validation.top1, "val_loss": validation.loss}
        epochs.append(line)
    return epochs


def _sentence(epoch: Line, step: int, num_steps: int) -> str:
    val = f", val top-1 {epoch['val_top1']:.1%} (loss {epoch['val_loss']:.3f})" if "val_top1" in epoch else ""
    decoding = epoch["waits"] >= DECODING_SHARE
    val += f", {epoch['skipped']} steps skipped in fp16" if epoch.get("skipped") else ""
    return (
        f"epoch {epoch['epoch']}, step {step} of {num_steps}: loss {epoch['loss']:.3f}, top-1 {epoch['top1']:.1%}"
        f"{val}; {epoch['clips_per_s']:.1f} clips/s, {'decoding' if decoding else 'computing'} is the bottleneck:"
        f" {epoch['waits']:.0%} of the time waiting for clips"
    )


def _board(folder: Path, step: int) -> Any:
    """A writer of TensorBoard's event files, if tensorboardX is installed."""
    if importlib.util.find_spec("tensorboardX") is None:
        return None
    return importlib.import_module("tensorboardX").SummaryWriter(
        str(folder), purge_step=step + 1, filename_suffix=f".after-{step:08d}"
    )
