from __future__ import annotations

import json
import logging

import cv2
import pytest
from small import small_config

from nonlocal_core.artifacts.files import read_json_lines
from nonlocal_core.artifacts.references import Checkpoint
from nonlocal_core.models.checkpoint import Validation
from nonlocal_core.training import curves
from nonlocal_core.training.log import DRAW_EVERY_S, Watch, cut_log, rounded, summaries

TRAIN = small_config().train


def line(step, epoch, clips_per_s=10.0, waits=0.0):
    figures = {"loss": 2.0 / step, "lr": 0.1, "top1": step / 10, "clips_per_s": clips_per_s, "waits": waits}
    return {"step": step, "epoch": epoch, **figures}


def test_a_log_that_a_power_cut_took_does_not_stop_a_training(tmp_path):
    log = tmp_path / Checkpoint.LOG
    cut_log(log, 5)
    assert read_json_lines(log) == []
    log.write_text(f'{json.dumps(line(1, 0))}\n{{"step": 2, "lo')
    cut_log(log, 5)
    assert read_json_lines(log) == [line(1, 0)]
    log.write_bytes(json.dumps(line(1, 0)).encode() + b"\n" + bytes(40) + b"\n")
    cut_log(log, 5)
    assert read_json_lines(log) == [line(1, 0)]
    cut_log(log, 0)
    assert log.read_text() == ""


def test_no_step_counts_twice_where_a_power_cut_took_lines_before_the_checkpoint(tmp_path):
    log = tmp_path / Checkpoint.LOG
    log.write_text("".join(f"{json.dumps(line(step, 0))}\n" for step in (1, 2, 6, 7)))
    watch = Watch(tmp_path, TRAIN, num_steps=8, step=6)
    for step in (7, 8):
        watch.step(line(step, 0))
    assert [logged["step"] for logged in read_json_lines(log)] == [1, 2, 6, 7, 8]


def test_an_epoch_whose_lines_a_power_cut_took_is_passed_over(tmp_path):
    watch = Watch(tmp_path, TRAIN, num_steps=8, step=4)
    watch.epoch([Validation(step=4, top1=0.5, loss=1.25)])
    watch.draw([])
    assert read_json_lines(tmp_path / Checkpoint.EPOCHS) == []
    watch.step(line(5, 1))
    watch.epoch([])
    assert [epoch["step"] for epoch in read_json_lines(tmp_path / Checkpoint.EPOCHS)] == [5]


def test_an_epoch_is_the_mean_of_its_steps_without_the_one_that_compiles():
    lines = [line(1, 0, 0.1), line(2, 0, 10.0, 0.5), line(3, 0, 30.0, 0.1), line(4, 1, 20.0, 0.2)]
    first, second = summaries(lines, [Validation(step=4, top1=0.25, loss=1.5)])
    assert first["loss"] == pytest.approx((2 + 1 + 2 / 3) / 3)
    assert first["top1"] == pytest.approx(0.2)
    assert first["clips_per_s"] == 15.0  # two clips in 1/10 + 1/30 of a second
    assert first["waits"] == pytest.approx((0.5 / 10 + 0.1 / 30) / (1 / 10 + 1 / 30))
    assert "val_top1" not in first
    assert (second["val_top1"], second["val_loss"], second["clips_per_s"], second["waits"]) == (0.25, 1.5, 20, 0.2)


def test_a_speed_of_a_clip_in_minutes_is_a_speed():
    assert [rounded(speed) for speed in (4 / 1500, 12.34567, 0.1)] == [0.002667, 12.35, 0.1]
    (epoch,) = summaries([line(1, 0, 0.002667), line(2, 0, 0.002667)], [])
    assert epoch["clips_per_s"] == 0.002667
    (epoch,) = summaries([line(1, 0, 0.0), line(2, 0, 0.0)], [])  # as earlier versions rounded it
    assert epoch["clips_per_s"] == 0.005


@pytest.mark.parametrize(("waits", "said"), [(0.3, "decoding is the bottleneck: 30%"), (0.02, "computing is the")])
def test_every_epoch_says_how_it_went_and_some_leave_a_picture(tmp_path, caplog, waits, said):
    caplog.set_level(logging.INFO)
    watch = Watch(tmp_path, TRAIN, num_steps=4, step=0)
    for step in (1, 2):
        watch.step(line(step, 0, waits=waits))
    watch.epoch([Validation(step=2, top1=0.5, loss=1.25)])
    told = "epoch 0, step 2 of 4: loss 1.500, top-1 15.0%, val top-1 50.0% (loss 1.250); 10.0 clips/s, "
    assert told + said in caplog.text
    assert len((tmp_path / Checkpoint.EPOCHS).read_text().splitlines()) == 1
    assert not (tmp_path / Checkpoint.CURVES).exists(), "a short training is drawn once, at its end"
    watch.drawn_s -= DRAW_EVERY_S
    watch.epoch([Validation(step=2, top1=0.5, loss=1.25)])
    picture = cv2.imread(str(tmp_path / Checkpoint.CURVES))
    assert picture.shape == (800, 900, 3)
    assert len({tuple(pixel) for pixel in picture.reshape(-1, 3)[::7]}) > 20  # curves, not an empty page
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_long_training_is_drawn_from_some_of_its_steps(tmp_path):
    lines = [line(step, step // 1000) for step in range(1, 10_001)]
    each, train = curves.of_training(lines, summaries(lines, []))["loss"]
    assert (each.steps[0], each.steps[-1], each.values[-1]) == (1, 10_000, 2.0 / 10_000)
    assert curves.MOST_POINTS / 2 < len(each.steps) <= curves.MOST_POINTS + 1
    assert len(train.steps) == 11
    curves.draw(tmp_path / "a.png", lines, summaries(lines, []))
    assert (tmp_path / "a.png").stat().st_size < 200_000


def test_tensorboard_gets_every_step_and_validation(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pytest.importorskip("tensorboardX")
    for first in (1, 3):  # killed after step 4, goes on after step 2
        watch = Watch(tmp_path, TRAIN, num_steps=6, step=first - 1)
        for step in range(first, first + 4):
            watch.step(line(step, 0))
        watch.epoch([Validation(step=first + 3, top1=0.5, loss=1.0)])
        watch.draw([])
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in events.Scalars("train/loss")][-1] == pytest.approx(2 / 6)
    assert events.Scalars("val/top1")[-1].value == 0.5


def test_a_training_without_a_learning_rate_has_no_chart_of_it(tmp_path):
    """L-BFGS logs 0; the picture has the two other charts, in the same size."""
    lines = [line(step, step) | {"lr": 0.0} for step in (1, 2, 3)]
    epochs = summaries(lines, [Validation(step=3, top1=0.5, loss=1.0)])
    assert list(curves.of_training(lines, epochs)) == ["loss", "top-1"]
    assert list(curves.of_training([*lines, line(4, 4)], epochs)) == ["loss", "top-1", "learning rate"]
    curves.draw(tmp_path / "a.png", lines, epochs)
    assert cv2.imread(str(tmp_path / "a.png")).shape == (600, 900, 3)
