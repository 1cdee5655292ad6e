"""The first weights of a training: random ones, or those of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from nonlocal_core.errors import InputError
from nonlocal_core.models.i3d import I3D
from nonlocal_core.train_section import TrainConfig
from nonlocal_core.training import checkpoint

HEAD = "head."


def load(net: I3D, path: Path, labels: tuple[str, ...], train: TrainConfig) -> None:
    """Nothing; `net` gets the weights of a checkpoint, all of them, or all but its new classifier.

    Raises: InputError if the checkpoint is of another network, or knows other labels and no new head is asked for;
            DamagedError if it is not whole.
    """
    described, weights = checkpoint.read_weights(path)
    if train.init_head == "keep" and described.labels != labels:
        raise InputError(
            f"train.init={train.init} knows other labels than those of the videos ({len(described.labels)} against"
            f" {len(labels)}): set train.init_head=new, or index the videos with labels_path=FILE in its order"
        )
    own = checkpoint.weights_of_network(net)
    if train.init_head == "new":
        weights = {
            **{name: array for name, array in weights.items() if not name.startswith(HEAD)},
            **{name: array for name, array in own.items() if name.startswith(HEAD)},
        }
    odd = sorted(own.keys() ^ weights.keys())
    odd += [name for name in sorted(own.keys() & weights.keys()) if own[name].shape != weights[name].shape]
    if odd:
        raise InputError(
            f"train.init={train.init} is another network than the settings of model.* describe:"
            f" {', '.join(odd[:5])}{' and others' if odd[5:] else ''}"
        )
    checkpoint.assign(net, weights, path)
