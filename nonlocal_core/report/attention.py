"""What one position of a non-local block attends to: the weights of one query, and the strongest of them.

Only the row of this query is computed, with the block's own pairwise function.  The cost is the same for every
pairwise form, even for those that never compute the whole P x Q weights.

Shapes: N batch, C channels, T frames, H W places, P query positions, Q key positions.

Source: Wang, Girshick, Gupta, He 2018, figure 3.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import ConfigError
from nonlocal_core.models import inception
from nonlocal_core.models.i3d import I3D
from nonlocal_core.models.nonlocal_block import NonlocalBlock
from nonlocal_core.models.normalise import normalise
from nonlocal_core.report import arrows

Place = tuple[int, int, int]
"""step in time, row and column of a block's map"""
STRONGEST = 20
"""number of connections that are drawn, as in the paper"""


class Connection(NamedTuple):
    """The weight that a query gives to one key position."""

    key: Place
    weight: float
    """the pairwise function over its normaliser; only a dot product can be negative"""


class Attention(NamedTuple):
    """The connections of one query of one block for one clip."""

    block: str
    pairwise: str
    query: Place
    map_size: Place
    """size of the map of queries"""
    weights_THW: NDArray[np.float32]
    """of every key position; NaN where the query sees no key"""
    strongest: list[Connection]
    """in descending order"""

    @property
    def share(self) -> float:
        """The share of the strongest connections in the sum of all absolute weights (0…1)."""
        total = float(np.nansum(np.abs(self.weights_THW)))
        return sum(abs(connection.weight) for connection in self.strongest) / total if total else 0.0


def blocks(net: I3D) -> dict[str, NonlocalBlock]:
    """The non-local blocks of a network by their names, such as res3.nl1, in order."""
    return {name: cell for name, cell in net.cells_and_names() if isinstance(cell, NonlocalBlock)}


def find_block(net: I3D, name: str) -> str:
    """The full name of a block: res4.nl5 for res4.5; without a name, the last block of the first stage with one.

    Raises: ConfigError if the network has no such block.
    """
    names = list(blocks(net))
    if not names:
        raise ConfigError("this network has no non-local block, so there is no attention to draw")
    if not name:
        return [block for block in names if block.split(".")[0] == names[0].split(".")[0]][-1]
    stage, _, number = name.partition(".")
    full = f"{stage}.nl{number.removeprefix('nl')}"
    if full not in names:
        raise ConfigError(f"there is no non-local block {name!r}: this network has {', '.join(names)}")
    return full


def look(net: I3D, clip_CTHW: NDArray[np.uint8], block: str = "", query: Place | None = None) -> Attention:
    """The attention of one position of a block in a clip; by default, of the position with the most motion.

    Raises: ConfigError if there is no such block or position.
    """
    name = find_block(net, block)
    x_NCTHW = block_input(net, name, clip_CTHW)
    T, H, W = x_NCTHW.shape[2:]
    query = moving(clip_CTHW, (T, H, W), net.model, name) if query is None else query
    if not all(0 <= place < size for place, size in zip(query, (T, H, W), strict=True)):
        raise ConfigError(
            f"there is no position {','.join(map(str, query))}: {name} has {T} steps in time, {H} rows and"
            f" {W} columns, counted from 0"
        )
    weights_THW = row(blocks(net)[name], x_NCTHW, query)
    return Attention(name, net.model.pairwise, query, (T, H, W), weights_THW, strongest(weights_THW))


def block_input(net: I3D, name: str, clip_CTHW: NDArray[np.uint8]) -> ms.Tensor:
    """The input of a block for one clip.

    Shape: (1, C, T, H, W) of (3, T, H, W).
    """
    block_inputs: list[ms.Tensor] = []

    def keep(cell: ms.nn.Cell, inputs: Any, output: Any) -> None:
        block_inputs.append(inputs[0])

    mode = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    handle = blocks(net)[name].register_forward_hook(keep)
    try:
        net.feature_map(normalise(ms.Tensor(clip_CTHW[None]), net.model))
    finally:
        handle.remove()
        ms.set_context(mode=mode)
    return block_inputs[0]


def row(block: NonlocalBlock, x_NCTHW: ms.Tensor, query: Place) -> NDArray[np.float32]:
    """The weights of one query: theta of this position alone, with phi of all keys that it sees.

    Shape: (T, H', W') of (1, C, T, H, W), H' and W' half of H and W with sub-sampling; NaN where it sees no key.
    """
    T, H, W = x_NCTHW.shape[2:]
    is_whole = all(isinstance(pool, ms.nn.Identity) for pool in (block.pool_before, block.pool_after))
    halved = 1 if is_whole else 2
    queries = _groups(block, (T, H, W))
    keys = _groups(block, (T, H // halved, W // halved))
    place = int(np.ravel_multi_index(query, (T, H, W)))
    group = int(queries[place])
    index = int((queries[:place] == group).sum())  # of the query within its group
    theta_NCP, phi_NCQ, _ = block.embed(x_NCTHW)
    theta_1C1, phi_1CQ = theta_NCP[group : group + 1, :, index : index + 1], phi_NCQ[group : group + 1]
    weights_11Q = block.response.weights(theta_1C1, phi_1CQ).asnumpy()
    weights = np.full(keys.size, np.nan, np.float32)
    weights[keys == group] = weights_11Q[0, 0]
    return weights.reshape(T, H // halved, W // halved)


def _groups(block: NonlocalBlock, size: Place) -> NDArray[np.int64]:
    """The group number of every position, flat, in the order of `NonlocalBlock.embed`."""
    T, H, W = size
    frames = block.group_frames or T
    step, place = np.divmod(np.arange(T * H * W), H * W)
    group = step // frames
    return group * H * W + place if block.own_pixel else group


def strongest(weights_THW: NDArray[np.float32], count: int = STRONGEST) -> list[Connection]:
    """The connections with the greatest absolute weights, without those of weight 0."""
    flat = weights_THW.ravel()
    order = np.argsort(-np.abs(np.nan_to_num(flat)), kind="stable")[:count]
    connections = []
    for place in order[np.nan_to_num(flat[order]) != 0]:
        t, y, x = (int(number) for number in np.unravel_index(place, weights_THW.shape))
        connections.append(Connection((t, y, x), float(flat[place])))
    return connections


class Grid(NamedTuple):
    """The places of a map's positions in a clip: the centres of their receptive fields."""

    first_frame: float
    frames: int
    """from one step in time to the next"""
    first_px: float
    px: int
    """from one row or column to the next"""

    def frame(self, step: int) -> float:
        """The frame of the clip at a step in time of the map."""
        return self.first_frame + self.frames * step

    def pixel(self, place: float) -> float:
        """The pixel row or column of the clip at a row or column of the map."""
        return self.first_px + self.px * place


def grid(model: ModelConfig, block: str, clip_len: int, side: int) -> Grid:
    """The places of a block's positions in a clip of so many frames, each `side` pixels wide and high."""
    stage = int(block[3])
    if model.backbone == "inception":
        time, space = (
            _padded([(kernel[axis], stride[axis]) for kernel, stride in inception.strided_layers(stage)], size)
            for axis, size in enumerate((clip_len, side))
        )
        return Grid(*_centres(time), *_centres(space))
    time = [
        (model.stem_kernel_t, model.stem_stride_t, model.stem_kernel_t // 2),
        (model.pool1_kernel_t, model.pool1_stride_t, (model.pool1_kernel_t - 1) // 2),
    ]
    if stage > 2:
        time.append((model.pool2_kernel_t, model.pool2_stride_t, (model.pool2_kernel_t - 1) // 2))
    space = [(7, 2, 3), (3, 2, model.pool1_pad), *[(3, 2, 1)] * (stage - 2)]
    return Grid(*_centres(time), *_centres(space))


def _padded(layers: list[tuple[int, int]], size: int) -> list[tuple[int, int, int]]:
    """Layers of (kernel, stride) over a map of `size`, with the padding that SAME puts before it."""
    padded = []
    for kernel, stride in layers:
        num_outputs = -(-size // stride)
        padded.append((kernel, stride, max((num_outputs - 1) * stride + kernel - size, 0) // 2))
        size = num_outputs
    return padded


def _centres(layers: list[tuple[int, int, int]]) -> tuple[float, int]:
    """The place of the first position and the distance to the next, after layers of (kernel, stride, padding)."""
    first, step = 0.0, 1
    for kernel, stride, pad in layers:
        first += step * ((kernel - 1) / 2 - pad)
        step *= stride
    return first, step


def moving(clip_CTHW: NDArray[np.uint8], size: Place, model: ModelConfig, block: str) -> Place:
    """The position with the most motion, away from the edges of the map.

    Motion is the difference between the frames before and after, blurred to the size of a position.
    """
    T, H, W = size
    at = grid(model, block, clip_CTHW.shape[1], clip_CTHW.shape[2])
    grey_THW = clip_CTHW.astype(np.float32).mean(0)
    motion_THW = np.abs(np.gradient(grey_THW, axis=0)) if len(grey_THW) > 1 else np.zeros_like(grey_THW)
    motion_at = np.stack([_motion_at(motion_THW, at, step, (H, W)) for step in range(T)])
    edges = tuple(slice(1, -1) if count > 2 else slice(None) for count in size)
    inner = motion_at[edges]
    t, y, x = (
        int(number) + int(count > 2)
        for number, count in zip(np.unravel_index(int(inner.argmax()), inner.shape), size, strict=True)
    )
    return t, y, x


def _motion_at(motion_THW: NDArray[np.float32], at: Grid, step: int, size: tuple[int, int]) -> NDArray[np.float32]:
    frame = min(max(round(at.frame(step)), 0), len(motion_THW) - 1)
    blurred = cv2.GaussianBlur(motion_THW[frame], (0, 0), at.px * 0.75)
    rows, columns = (
        np.clip(np.rint([at.pixel(place) for place in range(count)]).astype(int), 0, side - 1)
        for count, side in zip(size, blurred.shape, strict=True)
    )
    motion_HW: NDArray[np.float32] = blurred[np.ix_(rows, columns)]
    return motion_HW


def scene(attention: Attention, clip_CTHW: NDArray[np.uint8], model: ModelConfig) -> arrows.Scene:
    """The frames of a clip, and the places in them where the arrows of its attention start and end."""
    at = grid(model, attention.block, clip_CTHW.shape[1], clip_CTHW.shape[2])
    last_frame, steps = clip_CTHW.shape[1] - 1, range(attention.map_size[0])
    wide = 1 if model.nl_sub_sample == "none" else 2  # a key is the greatest of 2 x 2 positions with sub-sampling
    middle = (wide - 1) / 2
    step, row_, column = attention.query
    arrows_to = [
        arrows.Arrow(t, at.pixel(wide * x + middle), at.pixel(wide * y + middle), weight)
        for (t, y, x), weight in attention.strongest
    ]
    return arrows.Scene(
        frames_THWC=np.ascontiguousarray(clip_CTHW.transpose(1, 2, 3, 0)),
        shown=[min(max(round(at.frame(step)), 0), last_frame) for step in steps],
        start=arrows.Arrow(step, at.pixel(column), at.pixel(row_), 1.0),
        arrows=arrows_to,
        title=f"{attention.block}, {attention.pairwise.replace('_', ' ')}",
        share=attention.share,
    )
