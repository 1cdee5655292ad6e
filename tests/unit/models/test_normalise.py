"""What the network takes of a clip: the plain formula, and no tables that stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from nonlocal_core.config.tree import resolve
from nonlocal_core.models.normalise import normalise

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def model(std=STD):
    return resolve("tiny", {"model.input_mean": MEAN, "model.input_std": std}).model


def normalised(clip_NCTHW, settings):
    def function(clip):
        return normalise(clip, settings)

    return ms.jit(function)(ms.Tensor(clip_NCTHW)).asnumpy()


@pytest.mark.parametrize("std", [STD, (225.0, 225.0, 225.0), (1.0, 1.0, 1.0)])
def test_every_byte_is_less_its_channels_mean_and_over_its_deviation(std):
    """Bit for bit the formula in single precision, for each value in each channel."""
    pixels = np.stack([np.roll(np.arange(256), i) for i in range(6)]).reshape(2, 3, 4, 8, 8).astype(np.uint8)
    mean, deviation = (np.array(x, np.float32).reshape(3, 1, 1, 1) for x in (MEAN, std))
    found = normalised(pixels, model(std))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (pixels.astype(np.float32) - mean) / deviation)


def resident_mib(field):
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


def print_bytes_per_number():
    settings = model()
    normalised(np.zeros((1, 3, 2, 8, 8), np.uint8), settings)
    clip = np.ones((4, 3, 32, 112, 112), np.uint8)
    before = resident_mib("VmRSS")
    normalised(clip, settings)
    print((resident_mib("VmHWM") - before) * 2**20 / clip.size)


def test_nothing_is_kept_for_each_number():
    """The clip as indices and what comes out are some 10 bytes a number, the tables 32 more."""
    done = subprocess.run(
        [sys.executable, "-c", "import nonlocal_core, test_normalise as test; test.print_bytes_per_number()"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 24, done.stdout
