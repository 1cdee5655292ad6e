from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nonlocal_core.prediction import timeline
from nonlocal_core.prediction.results import Guess, Prediction, Window
from nonlocal_core.report import video_files
from nonlocal_core.report.fonts import UNKNOWN, letter

TEXTS = ['falls <b> & "more"', "падает", "太极拳 falls", "\U0010fffd of nobody", ""]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_keeps_its_length_and_what_can_be_written(text):
    """No text makes matplotlib or Pillow complain, whichever fonts are installed: warnings are errors here."""
    lettered = letter(text)
    assert len(lettered.text) == len(text)
    assert all(shown in (sign, UNKNOWN) for shown, sign in zip(lettered.text, text, strict=True))
    assert lettered.text == text or not text.isascii()
    captioned = video_files.with_caption(np.full((90, 160, 3), 200, np.uint8), [text or "x"])
    assert captioned.shape == (90, 160, 3)
    assert captioned[:40].min() == 200
    assert captioned[-6:, :3].max() < 120


@pytest.mark.parametrize("text", [*TEXTS[:4], "line\nbreak \x1b[31m", r"$\frac{$"])
def test_timeline_of_labels_in_any_script(text, tmp_path):
    both = [Guess(label=text, score=0.9), Guess(label="other", score=0.1)]
    spans = [Window(start_s=s, end_s=s + 2, guesses=tuple(both[:: 1 if s < 5 else -1])) for s in range(10)]
    one = Prediction(video="v", status="ok", guesses=tuple(both), windows=tuple(spans))
    timeline.draw(one, tmp_path / "timeline.png")
    with Image.open(tmp_path / "timeline.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    blue = (pixels[..., 2] - pixels[..., 0]) > 100
    assert blue.mean() > 0.1


def test_a_label_of_several_lines_is_one_line_of_a_picture():
    assert letter("a\nb").text == r"a\nb"
    assert video_files.with_caption(np.zeros((90, 160, 3), np.uint8), ["a\nb\x1b[31m"]).any()


def test_an_odd_size_is_written(tmp_path):
    video_files.write_mp4(tmp_path / "odd.mp4", [np.zeros((33, 47, 3), np.uint8)] * 3, 12.5)
    assert [file.name for file in tmp_path.iterdir()] == ["odd.mp4"]
