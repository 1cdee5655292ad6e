"""An exact box filter of a decoded frame in float64, written without FFmpeg's scaler and without OpenCV.

Each plane is shrunk by itself: a pixel of the result is the mean of what lies in its box, weighted by how much of
it does.  A plane that has fewer samples than the result is interpolated linearly.  Chroma that is halved across
lies on the left one of its two pixels in H.264, between the two where nothing is said; chroma that is halved down
lies between.  Every plane is as long as the picture, also where the picture has an odd number of pixels.  Colours
become RGB last, and are neither rounded nor clipped before.

Source: ITU-T H.264, annex E, figure E-1 (sites); ITU-R BT.601, BT.709 and BT.2020 (colours).
"""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

_LUMA = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}
"""weights of red and blue by the number of the colour space; BT.601's where it has none"""
_FULL_RANGE = 2


def shrunk(frame: av.VideoFrame, height: int, width: int, *, is_left: bool) -> NDArray[np.float64]:
    """A frame in Y'CbCr in another size; `is_left` says where its chroma lies.

    Shape:  (height, width, 3), RGB, 0…255.
    """
    depth = frame.format.components[0].bits
    planes = []
    for plane in frame.planes:
        kind = np.dtype("<u2" if depth > 8 else "u1")
        stored = np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)[:, : plane.width].astype(np.float64)
        shift = 0.25 if is_left and plane.width < frame.width else 0.0
        rows, columns = weights(stored.shape[0], height, 0.0), weights(stored.shape[1], width, shift)
        planes.append(rows @ stored @ columns.T / 2 ** (depth - 8))
    luma, blueness, redness = planes
    if frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj"):
        chroma = 255 / (256 - 2 ** (8 - depth))
    else:
        luma, chroma = (luma - 16) * 255 / 219, 255 / 224
    blueness, redness = (blueness - 128) * chroma, (redness - 128) * chroma
    of_red, of_blue = _LUMA.get(int(frame.colorspace), (0.299, 0.114))
    red, blue = luma + 2 * (1 - of_red) * redness, luma + 2 * (1 - of_blue) * blueness
    green = (luma - of_red * red - of_blue * blue) / (1 - of_red - of_blue)
    return np.clip(np.dstack([red, green, blue]), 0, 255)


def weights(num_from: int, num_to: int, shift: float) -> NDArray[np.float64]:
    """How much each of `num_from` samples has in each of `num_to` results.

    The samples lie `shift` of one to the left.

    Shape:  (num_to, num_from); rows sum to 1.
    """
    found, step = np.zeros((num_to, num_from)), num_from / num_to
    for to in range(num_to):
        start, end = to * step + shift, (to + 1) * step + shift
        if step < 1:
            place = (start + end) / 2 - 0.5
            left = int(np.floor(place))
            shares = {left: 1 - (place - left), left + 1: place - left}
        else:
            inside = range(int(np.floor(start)), int(np.ceil(end)))
            shares = {one: (min(end, one + 1) - max(start, one)) / step for one in inside}
        for one, share in shares.items():
            found[to, min(max(one, 0), num_from - 1)] += share
    return found


def psnr(made: NDArray[np.uint8], exact: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio (dB)."""
    return float(10 * np.log10(255**2 / np.mean((made - exact) ** 2)))
