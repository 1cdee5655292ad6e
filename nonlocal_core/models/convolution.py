"""3-D convolutions as matrix products, the form that is fast on CPUs.

MindSpore hands oneDNN its tensors in plain layout.  With AVX-512, oneDNN's fast code takes this layout only for
kernels of one position, as matrix products; larger kernels run in its reference code, some 100 times slower.  So
larger kernels are turned into matrix products here.  docs/evidence/speed.md has the figures.

Shapes: N batch, C channels, T frames, H W pixels, D output channels, F frames of the kernel, K channels times
positions of the kernel, P places.
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn, ops
from mindspore.common.initializer import HeNormal, initializer
from mindspore.ops.operations._grad_ops import Conv3DBackpropFilter

from nonlocal_core.models.stem import StemProduct

Pair = tuple[int, int]
Triple = tuple[int, int, int]
Shape = tuple[int, ...]

MAX_COLUMNS = 2**24  # most numbers that are unfolded at a time (64 MB)


class Convolution(nn.Cell):
    """A convolution without bias, padded by half its kernel, or as TensorFlow's SAME.

    The two differ only where the stride is more than 1.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple, same: bool = False
    ) -> None:
        super().__init__()
        self.out_channels, self.kernel_size, self.stride = out_channels, kernel, stride
        self.padding = tuple(k // 2 for k in kernel)
        initial = HeNormal(mode="fan_out", nonlinearity="relu")
        self.weight = ms.Parameter(initializer(initial, (out_channels, in_channels, *kernel)), name="weight")
        pad = tuple(p for p in self.padding for _ in range(2))
        self.operator = (
            ops.Conv3D(out_channels, kernel, pad_mode="same", stride=stride)
            if same
            else ops.Conv3D(out_channels, kernel, pad_mode="pad", pad=pad, stride=stride)
        )
        if ms.get_context("device_target") != "CPU" or (kernel, stride) == ((1, 1, 1), (1, 1, 1)):
            self.product = self.operator
        elif kernel[1:] == (7, 7):
            self.product = StemProduct(in_channels, out_channels, kernel, stride, same)
        elif kernel[1:] == (1, 1) and stride == (1, 1, 1):
            self.product = TemporalProduct(out_channels, kernel[0])
        elif kernel[0] > 1 and stride[0] == 1:
            self.product = SpaceTimeProduct(in_channels, out_channels, kernel, stride[1:])
        else:
            self.product = SpatialProduct(in_channels, out_channels, kernel, stride)

    def construct(self, x_NCTHW: ms.Tensor) -> ms.Tensor:
        """The convolution.

        Shape: (N, D, T, H, W), strided, of (N, C, T, H, W).
        """
        return self.product(x_NCTHW, self.weight)


def use_operators(net: nn.Cell) -> None:
    """Make a network use MindSpore's own convolution operator, as a graph for other machines must."""
    for _, cell in net.cells_and_names():
        if isinstance(cell, Convolution):
            del cell.product
            cell.product = cell.operator


class TemporalProduct(nn.Cell):
    """A kernel of one pixel and several frames: one product for all frames, whose results are shifted and added.

    The results are shifted, not the input, because here they have fewer channels.
    """

    def __init__(self, out_channels: int, kernel_t: int) -> None:
        super().__init__()
        self.product = ops.Conv3D(kernel_t * out_channels, 1)
        # A product with the identity transposes the weights: Transpose would keep a table of 8 bytes a number.
        self.identity = ms.Tensor(np.eye(kernel_t, dtype=np.float32))
        self.transpose = ops.MatMul(transpose_b=True)
        self.shifted_sum = ShiftedSum(kernel_t)

    def construct(self, x_NCTHW: ms.Tensor, weight_DCF11: ms.Tensor) -> ms.Tensor:
        """The convolution.

        Shape: (N, D, T, H, W) of (N, C, T, H, W) and (D, C, F, 1, 1).
        """
        D, C, F = weight_DCF11.shape[:3]
        late_weight = ops.depend(weight_DCF11, x_NCTHW)  # to save memory: see FrameProduct
        weight_PF = ops.reshape(late_weight, (D * C, F))
        stacked = ops.reshape(self.transpose(self.identity, weight_PF), (F * D, C, 1, 1, 1))
        return self.shifted_sum(self.product(x_NCTHW, stacked))


class ShiftedSum(nn.Cell):
    """The sum of F maps shifted in time: the first by F // 2 frames forward, …, the last by F // 2 frames back."""

    def __init__(self, num_maps: int) -> None:
        super().__init__()
        self.num_maps = num_maps
        self.split = ops.Split(1, num_maps)
        self.along_time = ops.Concat(2)
        self.along_channels = ops.Concat(1)
        self.zeros = ops.Zeros()
        self.slice = ops.Slice()

    def construct(self, maps_NCTHW: ms.Tensor) -> ms.Tensor:
        """The sum.

        Shape: (N, C / F, T, H, W) of (N, C, T, H, W).
        """
        N, C, T, H, W = maps_NCTHW.shape
        zeros = self.zeros((N, C, self.num_maps // 2, H, W), maps_NCTHW.dtype)
        maps = self.split(self.along_time((zeros, maps_NCTHW, zeros)))
        shape = (N, C // self.num_maps, T, H, W)
        total = self.slice(maps[0], (0, 0, 0, 0, 0), shape)
        for i in range(1, self.num_maps):
            total = total + self.slice(maps[i], (0, 0, i, 0, 0), shape)
        return total

    def bprop(self, maps_NCTHW: ms.Tensor, total_NCTHW: ms.Tensor, grad_NCTHW: ms.Tensor) -> tuple[ms.Tensor]:
        """The gradient of each map: that of the sum, shifted the other way."""
        N, C, T, H, W = grad_NCTHW.shape
        grad_NCTHW = ops.cast(grad_NCTHW, maps_NCTHW.dtype)
        zeros = self.zeros((N, C, self.num_maps // 2, H, W), grad_NCTHW.dtype)
        padded = self.along_time((zeros, grad_NCTHW, zeros))
        grads: tuple[ms.Tensor, ...] = ()
        for i in range(self.num_maps):
            grads += (self.slice(padded, (0, 0, self.num_maps - 1 - i, 0, 0), (N, C, T, H, W)),)
        return (self.along_channels(grads),)


class SpaceTimeProduct(nn.Cell):
    """Several frames and pixels, no stride in time: each frame is convolved with all frames of the kernel, and the
    results are shifted and added.

    So every window is unfolded once.  With the frames of the kernel as channels it would be for each of them.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Pair) -> None:
        super().__init__()
        self.frames = FrameProduct(in_channels, kernel[0] * out_channels, kernel[1:], stride)
        self.split, self.one_after_another = ops.Split(1, kernel[0]), ops.Concat(0)
        self.shifted_sum = ShiftedSum(kernel[0])

    def construct(self, x_NCTHW: ms.Tensor, weight_DCFHW: ms.Tensor) -> ms.Tensor:
        """The convolution.

        Shape: (N, D, T, H, W), strided in space, of (N, C, T, H, W) and (D, C, *kernel).
        """
        D, C, F, H, W = weight_DCFHW.shape
        late_weight = ops.depend(weight_DCFHW, x_NCTHW)  # to save memory: see FrameProduct
        of_frames = self.split(ops.reshape(late_weight, (D * C, F, H * W)))
        stacked = ops.reshape(self.one_after_another(of_frames), (F * D, C, 1, H, W))
        return self.shifted_sum(self.frames(x_NCTHW, stacked))


class SpatialProduct(nn.Cell):
    """Any kernel and stride: the frames of the kernel become channels, then each frame is convolved alone."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple) -> None:
        super().__init__()
        self.kernel_t, self.stride_t = kernel[0], stride[0]
        self.along_time = ops.Concat(2)
        self.zeros = ops.Zeros()
        self.frames = FrameProduct(kernel[0] * in_channels, out_channels, kernel[1:], stride[1:])

    def construct(self, x_NCTHW: ms.Tensor, weight_DCFHW: ms.Tensor) -> ms.Tensor:
        """The convolution.

        Shape: (N, D, T, H, W), strided, of (N, C, T, H, W) and (D, C, *kernel).
        """
        if self.kernel_t > 1 or self.stride_t > 1:
            N, C, T, H, W = x_NCTHW.shape
            zeros = self.zeros((N, C, self.kernel_t // 2, H, W), x_NCTHW.dtype)
            taps = _taps(T, self.kernel_t, self.stride_t)
            x_NCTHW = ops.gather(self.along_time((zeros, x_NCTHW, zeros)), taps, 2)
            x_NCTHW = ops.reshape(x_NCTHW, (N, C * self.kernel_t, -1, H, W))
        return self.frames(x_NCTHW, weight_DCFHW)


class FrameProduct(nn.Cell):
    """A 2-D convolution of every frame: its windows are unfolded to columns, some frames at a time.

    The frames are stacked to one high picture, with rows of zeros below each.  Only the input is kept for the
    gradient; the columns, which are several times as large, are computed again.  MindSpore computes everything as
    early as possible and keeps it: `ops.depend` makes a computation wait.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Pair, stride: Pair) -> None:
        super().__init__()
        pad = (kernel[0] // 2, kernel[1] // 2)
        self.kernel, self.stride = kernel, stride
        self.D, self.K = out_channels, in_channels * kernel[0] * kernel[1]
        self.unfold = ops.Im2Col(kernel, stride, 1, pad)
        self.fold = ops.Col2Im(kernel, 1, pad, stride)
        self.product = ops.Conv3D(out_channels, 1)
        self.transposed_product = ops.Conv3DTranspose(self.D, self.K, 1)
        pads = (0, 0, pad[0], pad[0], pad[1], pad[1])
        self.weight_gradient = Conv3DBackpropFilter(
            out_channels, (1, *kernel), pad_mode="pad", pad=pads, stride=(1, *stride)
        )
        self.weight_shape = (out_channels, in_channels, 1, *kernel)
        self.along_time, self.along_rows = ops.Concat(2), ops.Concat(3)
        self.zeros, self.slice = ops.Zeros(), ops.Slice()

    def construct(self, x_NCTHW: ms.Tensor, weight: ms.Tensor) -> ms.Tensor:
        """The convolution.

        Shape: (N, D, T, H, W), strided in space, of (N, C, T, H, W) and D * K weights.
        """
        starts, frames, zero_rows, rows, high, wide, _ = _plan(x_NCTHW.shape, self.kernel, self.stride)
        N, _, T = x_NCTHW.shape[:3]
        weight_DK111 = ops.reshape(ops.depend(weight, x_NCTHW), (self.D, self.K, 1, 1, 1))
        parts: tuple[ms.Tensor, ...] = ()
        for start in starts:
            columns_NKP = self.unfold(self.picture(x_NCTHW, start, frames, zero_rows))
            columns_NKTHW = ops.reshape(columns_NKP, (N, self.K, frames, high, wide))
            parts += (self.product(columns_NKTHW, weight_DK111),)
            x_NCTHW = ops.depend(x_NCTHW, parts[-1])
        y_NDTHW = self.along_time(parts)
        if zero_rows > 0:
            y_NDTHW = self.slice(y_NDTHW, (0, 0, 0, 0, 0), (N, self.D, T, rows, wide))
        return y_NDTHW

    def bprop(
        self, x_NCTHW: ms.Tensor, weight: ms.Tensor, y_NDTHW: ms.Tensor, dy_NDTHW: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """The gradients of the input and of the weights."""
        starts, frames, zero_rows, rows, high, wide, size = _plan(x_NCTHW.shape, self.kernel, self.stride)
        N, C, T, H, W = x_NCTHW.shape
        dy_NDTHW = ops.cast(dy_NDTHW, x_NCTHW.dtype)  # with half precision, MindSpore casts nothing in a gradient
        dweight = self.weight_gradient(x_NCTHW, dy_NDTHW, self.weight_shape)
        weight_DK111 = ops.reshape(ops.depend(weight, dy_NDTHW), (self.D, self.K, 1, 1, 1))
        if zero_rows > 0:
            dy_NDTHW = self.along_rows((dy_NDTHW, self.zeros((N, self.D, T, high - rows, wide), dy_NDTHW.dtype)))
        parts: tuple[ms.Tensor, ...] = ()
        for start in starts:
            dy = dy_NDTHW
            if frames < T:
                dy = self.slice(dy_NDTHW, (0, 0, start, 0, 0), (N, self.D, frames, high, wide))
            dcolumns = ops.reshape(self.transposed_product(dy, weight_DK111), (N, C, self.K // C, -1))
            parts += (ops.reshape(self.fold(dcolumns, size), (N, C, frames, -1, W)),)
            dy_NDTHW = ops.depend(dy_NDTHW, parts[-1])
        dx_NCTHW = self.along_time(parts)
        if zero_rows > 0:
            dx_NCTHW = self.slice(dx_NCTHW, (0, 0, 0, 0, 0), (N, C, T, H, W))
        return dx_NCTHW, ops.reshape(dweight, weight.shape)

    def picture(self, x_NCTHW: ms.Tensor, start: int, frames: int, zero_rows: int) -> ms.Tensor:
        """Some frames, one below the other.

        Shape: (N, C, frames * (H + zero_rows), W).
        """
        N, C, T, H, W = x_NCTHW.shape
        if frames < T:
            x_NCTHW = self.slice(x_NCTHW, (0, 0, start, 0, 0), (N, C, frames, H, W))
        if zero_rows > 0:
            x_NCTHW = self.along_rows((x_NCTHW, self.zeros((N, C, frames, zero_rows, W), x_NCTHW.dtype)))
        return ops.reshape(x_NCTHW, (N, C, -1, W))


# MindSpore evaluates these while it compiles.


@ops.constexpr  # type: ignore[untyped-decorator]
def _taps(frames: int, kernel_t: int, stride_t: int) -> ms.Tensor:
    """The indices of the padded frames that each frame of the kernel is multiplied with, in turn."""
    return ms.Tensor([tap + t for tap in range(kernel_t) for t in range(0, frames, stride_t)], ms.int32)


@ops.constexpr  # type: ignore[untyped-decorator]
def _plan(shape: Shape, kernel: Pair, stride: Pair) -> tuple[tuple[int, ...], int, int, int, int, int, ms.Tensor]:
    """How the frames of a shape are unfolded.

    The first frame of each part and its number of frames; the rows of zeros below each frame, which keep windows
    from crossing frames and make those of all frames alike; the output rows of a frame, the same with the useless
    rows that the zeros add, and the output columns; the size of a part's picture.
    """
    N, C, T, H, W = shape
    zero_rows = kernel[0] // 2 + -(H + kernel[0] // 2) % stride[0]
    rows, high, wide = (H - 1) // stride[0] + 1, (H + zero_rows) // stride[0], (W - 1) // stride[1] + 1
    most_frames = MAX_COLUMNS // (N * C * kernel[0] * kernel[1] * high * wide)
    frames = max(n for n in range(1, T + 1) if T % n == 0 and n <= max(1, most_frames))
    size = ms.Tensor([frames * (H + zero_rows), W], ms.int32)
    return tuple(range(0, T, frames)), frames, zero_rows, rows, high, wide, size
