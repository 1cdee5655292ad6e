"""The first convolution as matrix products on CPUs, rounded as PyTorch rounds it.

With AVX-512 and so few channels, PyTorch adds one product after the other, in the kernel's order of frame, row,
column, channel, and rounds after each.  A matrix product of oneDNN does the same while it adds at most 512.  So a
longer sum takes several matrix products; each after the first begins with the sums so far, times 1.  Then every
number is the same as in PyTorch, and weights from there give the same logits.  docs/evidence/speed.md has the
figures.

Shapes: N batch, C channels, T frames, H W pixels, D output channels, F frames of the kernel, S positions of
one frame of the kernel and their channels, R rows, K rows of one product, P places of a frame.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.ops.operations._grad_ops import Conv3DBackpropFilter
from mindspore.ops.operations.nn_ops import Conv3DBackpropInput

Triple = tuple[int, int, int]
Shape = tuple[int, ...]

MAX_SUM = 512
MAX_COLUMNS = 2**24  # most numbers that go into a product at a time (64 MB)
MAX_UNFOLDED = 2**25  # most numbers of the windows of several clips at a time (128 MB)


class StemProduct(nn.Cell):
    """A convolution of whole clips: each frame is unfolded once, then the rows of the products are gathered.

    The padding is half the kernel on each side; with `same`, as TensorFlow's SAME, there may be less in front.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple, same: bool = False
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.D, self.same = kernel, stride, out_channels, same
        self.S = in_channels * kernel[1] * kernel[2]
        self.sums = _sums(kernel[0], self.S, out_channels)
        pad = tuple(k // 2 for k in kernel)
        self.unfold = ops.Im2Col(kernel[1:], stride[1:], 1, (0, 0) if same else pad[1:])
        self.product = ops.Conv3D(out_channels, 1)
        self.identity_DD = ms.Tensor(np.eye(out_channels, dtype=np.float32))
        padding = {"pad_mode": "pad", "pad": tuple(p for p in pad for _ in range(2))}
        if same:
            padding = {"pad_mode": "same"}
        self.weight_gradient = Conv3DBackpropFilter(out_channels, kernel, stride=stride, **padding)
        self.input_gradient = Conv3DBackpropInput(out_channels, kernel, stride=stride, **padding)
        self.one_after_another, self.along_channels = ops.Concat(0), ops.Concat(1)
        self.zeros, self.slice, self.gather, self.transpose = (
            ops.Zeros(),
            ops.Slice(),
            ops.Gather(),
            ops.Transpose(),
        )

    def construct(self, x_NCTHW: ms.Tensor, weight_DCFHW: ms.Tensor) -> ms.Tensor:
        """The convolution.

        Shape: (N, D, T, H, W), strided, of (N, C, T, H, W) and (D, C, *kernel).
        """
        clips, frames, T_out, H_out, W_out = _plan(x_NCTHW.shape, self.kernel, self.stride)
        x_NCTHW = self.padded(x_NCTHW)
        N, C, frames_in, H, W = x_NCTHW.shape
        F = self.kernel[0]
        weight_DFS = ops.reshape(self.transpose(weight_DCFHW, (0, 2, 3, 4, 1)), (self.D, F, self.S))
        parts: tuple[ms.Tensor, ...] = ()
        for clip in range(0, N, clips):
            some_NCTHW = self.slice(x_NCTHW, (clip, 0, 0, 0, 0), (clips, C, frames_in, H, W))
            windows_RP = ops.reshape(
                self.unfold(ops.reshape(some_NCTHW, (clips * C * frames_in, 1, H, W))), (-1, H_out * W_out)
            )
            for frame in range(0, T_out, frames):
                part = self.some_frames(
                    windows_RP, weight_DFS, (clips, frame, frames, C * frames_in), (H_out, W_out)
                )
                parts += (part,)
                windows_RP = ops.depend(windows_RP, part)
            x_NCTHW = ops.depend(x_NCTHW, parts[-1])
        y_RP = ops.reshape(self.one_after_another(parts), (N * T_out * self.D, H_out * W_out))
        y_RP = self.gather(y_RP, _in_order(N, clips, T_out, frames, self.D), 0)
        return ops.reshape(y_RP, (N, self.D, T_out, H_out, W_out))

    def padded(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The clips with the zeros around them that the unfolding does not add."""
        for axis, front, back in _padding(x_NCTHW.shape, self.kernel, self.stride, self.same):
            before, after = x_NCTHW.shape[:axis], x_NCTHW.shape[axis + 1 :]
            front_NCTHW = self.zeros((*before, front, *after), x_NCTHW.dtype)
            back_NCTHW = self.zeros((*before, back, *after), x_NCTHW.dtype)
            x_NCTHW = ops.cat((front_NCTHW, x_NCTHW, back_NCTHW), axis)
        return x_NCTHW

    def some_frames(
        self, windows_RP: ms.Tensor, weight_DFS: ms.Tensor, part: tuple[int, int, int, int], size: tuple[int, int]
    ) -> ms.Tensor:
        """The convolution of some frames; `part` has the number of clips, first frame, number of frames, all maps.

        Shape: (clips * frames, D, 1, H, W).
        """
        y_NDTHW = None
        for first, last in self.sums:
            rows = _rows(part, self.kernel, self.stride[0], self.S, (first, last))
            columns = ops.reshape(self.gather(windows_RP, rows, 0), (part[0] * part[2], -1, 1, *size))
            weight_DK = ops.reshape(
                self.slice(weight_DFS, (0, first, 0), (self.D, last - first, self.S)), (self.D, -1)
            )
            if first > 0:
                columns = self.along_channels((y_NDTHW, columns))
                weight_DK = self.along_channels((self.identity_DD, weight_DK))
            y_NDTHW = self.product(columns, ops.reshape(weight_DK, (self.D, -1, 1, 1, 1)))
        return y_NDTHW

    def bprop(
        self, x_NCTHW: ms.Tensor, weight_DCFHW: ms.Tensor, y_NDTHW: ms.Tensor, dy_NDTHW: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """The gradients of the clips, which is never computed because nothing needs it, and of the weights."""
        dy_NDTHW = ops.cast(dy_NDTHW, x_NCTHW.dtype)
        dx_NCTHW = self.input_gradient(weight_DCFHW, dy_NDTHW, x_NCTHW.shape)
        return dx_NCTHW, self.weight_gradient(x_NCTHW, dy_NDTHW, weight_DCFHW.shape)


def _sums(frames: int, per_frame: int, out_channels: int) -> tuple[tuple[int, int], ...]:
    """The frames of the kernel that each matrix product adds up: first, and last + 1."""
    sums: list[tuple[int, int]] = []
    while not sums or sums[-1][1] < frames:
        first = sums[-1][1] if sums else 0
        most_frames = max(1, (MAX_SUM - (out_channels if first else 0)) // per_frame)
        sums.append((first, min(frames, first + most_frames)))
    return tuple(sums)


# MindSpore evaluates these while it compiles.


@ops.constexpr  # type: ignore[untyped-decorator]
def _plan(shape: Shape, kernel: Triple, stride: Triple) -> tuple[int, int, int, int, int]:
    """The number of clips that are unfolded at a time, and of their frames in a product; the frames, rows and
    columns of the output.
    """
    N, C, T, H, W = shape
    T_out, H_out, W_out = ((size - 1) // step + 1 for size, step in zip((T, H, W), stride, strict=True))
    per_frame = C * kernel[1] * kernel[2] * H_out * W_out
    clips = _divisor(N, MAX_UNFOLDED // (per_frame * (T + kernel[0] - 1)))
    return clips, _divisor(T_out, MAX_COLUMNS // (clips * per_frame * kernel[0])), T_out, H_out, W_out


@ops.constexpr  # type: ignore[untyped-decorator]
def _padding(shape: Shape, kernel: Triple, stride: Triple, same: bool) -> tuple[tuple[int, int, int], ...]:
    """The zeros in front and behind along each axis that has some."""
    if not same:
        return ((2, kernel[0] // 2, kernel[0] // 2),) if kernel[0] > 1 else ()
    padding = []
    for axis, size, width, step in zip((2, 3, 4), shape[2:], kernel, stride, strict=True):
        front = max(0, ((size - 1) // step) * step + width - size) // 2
        padding.append((axis, front, width - 1 - front))  # what is more than SAME at the back is not used
    return tuple(padding)


def _divisor(number: int, limit: int) -> int:
    """The greatest divisor of a number up to a limit."""
    return max(n for n in range(1, number + 1) if number % n == 0 and n <= max(1, limit))


@ops.constexpr  # type: ignore[untyped-decorator]
def _rows(
    part: tuple[int, int, int, int], kernel: Triple, stride_t: int, S: int, taps: tuple[int, int]
) -> ms.Tensor:
    """The indices of a product's rows among the windows, whose order is clip, channel, frame, row, column."""
    clips, start, frames, maps = part
    places = kernel[1] * kernel[2]
    C = S // places
    clip, frame, tap, place, channel = np.ix_(*map(np.arange, (clips, frames, taps[1] - taps[0], places, C)))
    row = (clip * maps + channel * (maps // C) + (start + frame) * stride_t + taps[0] + tap) * places + place
    return ms.Tensor(row.ravel(), ms.int32)


@ops.constexpr  # type: ignore[untyped-decorator]
def _in_order(N: int, clips: int, T: int, frames: int, D: int) -> ms.Tensor:
    """The indices that sort the output maps, whose order is group of clips, part of the frames, clip, frame, D."""
    indices = np.arange(N * T * D).reshape(N // clips, T // frames, clips, frames, D)
    return ms.Tensor(indices.transpose(0, 2, 4, 1, 3).ravel(), ms.int32)
