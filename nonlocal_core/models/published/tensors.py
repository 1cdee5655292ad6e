"""Tensors by our names: the settings of the network that they show, and their conversion to parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from nonlocal_core.errors import InputError
from nonlocal_core.models.checkpoint import MOST_BLOCKS
from nonlocal_core.models.published.pickled import Array
from nonlocal_core.models.published.profiles import Settings

EPSILON = 1e-5
"""epsilon of the batch norms of residual networks"""
HEAD = ("head.fc.weight", "head.fc.bias")
STEM = "stem.conv.weight"
INCEPTION = "b1_reduce.conv.weight"
"""of every mixed block, and of no other"""


def settings_of(arrays: dict[str, Array], stored_names: Iterable[str]) -> Settings:
    """The settings that the tensors of a whole network show, by our names and by those in the file.

    Raises: InputError if there is no stem or no stage.
    """
    if f"res3.0.{INCEPTION}" in arrays and STEM in arrays:
        return {"backbone": "inception", "width": arrays[STEM].shape[0]}
    blocks = tuple(_blocks(arrays, stage, r"(\d+)\.") for stage in (2, 3, 4, 5))
    if STEM not in arrays or not all(blocks) or max(map(max, blocks)) >= MOST_BLOCKS:
        raise InputError("it has no whole residual network: a stem and the stages res2 to res5")
    settings: Settings = {
        "width": arrays[STEM].shape[0],
        "block": "bottleneck" if "res2.0.c.conv.weight" in arrays else "basic",
        "stage_blocks": tuple(indices[-1] + 1 for indices in blocks),
        "norm": "batch" if any(re.match(r"(stem|res\d\.\d).*\.moving_", name) for name in arrays) else "frozen",
    }
    if not is_flat(arrays):
        settings["stem_kernel_t"] = arrays[STEM].shape[2]
        first = {name: arrays.get(f"res2.0.{name}.conv.weight") for name in ("a", "b")}
        wide = [
            name for name, array in first.items() if array is not None and array.ndim == 5 and array.shape[2] > 1
        ]
        settings["inflate"] = {"a": "3x1x1", "b": "3x3x3"}[wide[-1]] if wide else "none"
        second = arrays.get(f"res3.1.{wide[-1]}.conv.weight") if wide else None
        if second is not None and second.ndim == 5 and second.shape[2] > 1:
            settings["inflated_blocks"] = "every"
    nl = [name for name in arrays if ".nl" in name]
    if nl or not is_flat(arrays):
        settings |= {f"nl_res{stage}": _blocks(arrays, stage, r"nl(\d+)\.g\.weight") for stage in (2, 3, 4, 5)}
    return settings | (_nonlocal_settings(nl, list(stored_names)) if nl else {})


def from_flax(name: str, array: Array) -> Array:
    """A tensor of Flax with our axes.

    A kernel has frames, rows, columns, inputs and outputs there; a number a channel may have all five, too.
    """
    if array.ndim != 5 or not name.endswith(("/kernel", "/bias", "/mean", "/var")):
        return array
    return array.transpose(4, 3, 0, 1, 2) if name.endswith("/kernel") else array.reshape(-1)


def is_flat(arrays: dict[str, Array]) -> bool:
    """Whether the kernels are those of a network for images."""
    return STEM in arrays and arrays[STEM].ndim == 4


def _nonlocal_settings(nl: list[str], stored_names: list[str]) -> Settings:
    settings: Settings = {
        "nl_out_bias": any(name.endswith(".out.bias") for name in nl),
        "nl_norm": "batch"
        if any(name.endswith(".moving_mean") for name in nl)
        else "frozen"
        if any(name.endswith(".gamma") for name in nl)
        else "none",
    }
    if any("non_local_block" in name for name in stored_names):  # in mmaction2 and the seed, a pool follows ".0"
        settings["nl_sub_sample"] = "after_conv" if any(".g.0." in name for name in stored_names) else "none"
    if not any(".theta." in name for name in nl):
        settings["pairwise"] = "gaussian"
    elif any(name.endswith(".f.weight") for name in nl):
        settings["pairwise"] = "concatenation"
    return settings


def _blocks(arrays: dict[str, Array], stage: int, pattern: str) -> tuple[int, ...]:
    indices = {match[1] for name in arrays if (match := re.match(rf"res{stage}\.{pattern}", name))}
    return tuple(sorted(int(block) for block in indices))


def with_statistics(arrays: dict[str, Array]) -> dict[str, Array]:
    """The tensors, with statistics (mean 0, variance 1) added to each batch norm that only scales and shifts."""
    completed = dict(arrays)
    for name, scale in arrays.items():
        prefix, _, leaf = name.rpartition(".")
        if leaf == "gamma" and f"{prefix}.moving_mean" not in arrays:
            completed[name] = (scale.astype(np.float64) * np.sqrt(1 + EPSILON)).astype(np.float32)
            completed[f"{prefix}.moving_mean"] = np.zeros(scale.shape, np.float32)
            completed[f"{prefix}.moving_variance"] = np.ones(scale.shape, np.float32)
    return completed


def fitted(array: Array, shape: tuple[int, ...]) -> Array:
    """The tensor as float32, in a parameter's shape if it can be.

    A classifier may be stored as a convolution.  A kernel of images is repeated over time and divided by its new
    length, so that a clip of one repeated image gives what the image gave.

    Source: Wang et al. 2018, section 3.2, Inflated 3D ConvNet; Carreira and Zisserman 2017.
    """
    values = np.ascontiguousarray(array, dtype=np.float32)
    if values.ndim == 4 and len(shape) == 5 and values.shape == (*shape[:2], *shape[3:]):
        values = np.repeat(values[:, :, None], shape[2], axis=2) / np.float32(shape[2])
    if values.ndim > len(shape) and values.shape == (*shape, *[1] * (values.ndim - len(shape))):
        values = values.reshape(shape)
    return values
