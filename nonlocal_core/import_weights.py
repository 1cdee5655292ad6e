"""Import published weights: say what was read and which network it is, and write a checkpoint of it.

    python -m nonlocal_core.import_weights FILE --profile mmaction2 --switch pairwise=dot_product

docs/guides/weights.md has the profiles and their switches.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import mindspore as ms
import numpy as np

from nonlocal_core import command
from nonlocal_core.artifacts import label_ids
from nonlocal_core.artifacts.files import sha256_of
from nonlocal_core.config import key_value
from nonlocal_core.config.sections import CacheConfig, ClipConfig, RuntimeConfig
from nonlocal_core.config.train import TrainConfig
from nonlocal_core.errors import ConfigError, InputError, few
from nonlocal_core.models import checkpoint, device
from nonlocal_core.models.published import comparison, weights
from nonlocal_core.models.published.profiles import PROFILES

TOLERANCE = 1e-4
"""of logits and probabilities, relative to the largest of them"""
LAYER_TOLERANCE = 1e-3
"""of the outputs of inner parts, where rounding adds up"""


def main(words: list[str]) -> int:
    """Import as a command line asks; gives the exit status."""
    return command.show(run(_parser().parse_args(words)))


def run(args: argparse.Namespace) -> Iterator[str]:
    """Import a file, and yield the lines to print.

    Raises: ConfigError or InputError if it cannot be imported as asked, or differs from a reference.
    """
    labels = label_ids.read_names(args.labels).names if args.labels else []
    device.use(RuntimeConfig(device="CPU"))
    ms.set_seed(0)
    switched = key_value.pairs(args.switch, ", which --switch takes").items()
    switches = {key: key_value.value_of(text) for key, text in switched}
    if switches.get("head") == "new" and labels:
        switches.setdefault("num_classes", len(labels))
    imported = weights.import_file(args.file, args.profile, switches)
    if args.out and not labels and not imported.labels and args.profile != "ours":
        raise ConfigError(
            "--out needs --labels labels.json: a checkpoint names its classes, and the file does not"
        )
    if labels:
        weights.check_labels(imported, args.profile, labels, args.own_order)
    yield from _summary(imported)
    if labels:
        yield f"labels      {few(labels, 3)}: {_whose_order(imported, args)}"
    elif imported.labels:
        yield f"labels      {few(imported.labels, 3)}: as the file says"
    if args.names:
        yield from (f"  {name:36} {stored}" for name, stored in imported.stored_names.items())
    for reference in filter(None, (args.compare, args.report)):
        yield from _compared(imported, reference, every=reference == args.report)
    if args.out:
        yield _saved(imported, args, tuple(labels) or imported.labels)


def _whose_order(imported: weights.Imported, args: argparse.Namespace) -> str:
    """Why the labels are taken in this order: a wrong one gives every class the name of another."""
    if imported.labels:
        return "the file says the same"
    if args.own_order:
        return "in this order, as --own-order says"
    if not any(name.startswith("head.") for name in imported.stored_names):
        return "of a new classifier"
    return (
        f"in the usual order of {args.profile}, since the file does not say its own; if a training of your own"
        " had another one, give that and --own-order"
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("nonlocal_core.import_weights", __doc__)
    parser.add_argument("file", metavar="FILE", type=Path, help="a .pth, .pyth, .pkl, .ckpt or .safetensors file")
    parser.add_argument("--profile", required=True, metavar="P", help=", ".join(PROFILES))
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="key=value",
        help="a setting of the section model that the file cannot tell; head=keep or head=new; num_classes",
    )
    parser.add_argument("--names", action="store_true", help="list which tensor became which parameter")
    parser.add_argument(
        "--own-order",
        action="store_true",
        help="the file is of a training of your own, whose classes had the order of --labels",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="what the classes are: labels.json of an index, label_map.txt, classInd.txt or CSV",
    )
    parser.add_argument("--clip", metavar="LENxINTERVAL", help="the clips that the network was trained on")
    parser.add_argument("--out", type=Path, metavar="FILE.safetensors", help="write a checkpoint")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE.npz", help="clip and logits of another implementation"
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE.npz", help="clip, logits and activations by our names"
    )
    return parser


def _summary(imported: weights.Imported) -> Iterator[str]:
    net = imported.net
    size = sum(param.size for param in net.trainable_params())
    total = len(list(net.get_parameters()))
    yield f"network     {size:,} parameters, {net.head.fc.weight.shape[0]} classes"
    yield f"tensors     {len(imported.stored_names)} in place, {len(imported.skipped)} that no network needs"
    if new := total - imported.num_filled:
        yield f"new         {new} tensors are not from the file"
    for key, value in net.model.model_dump(mode="json").items():
        yield f"  {key:16} {json.dumps(value):26} {imported.sources.get(key, 'the default')}"


def _compared(imported: weights.Imported, reference: Path, every: bool) -> Iterator[str]:
    """How far the network is from a reference.

    Raises: InputError if the first difference is above the tolerance; it names the part.
    """
    try:
        with np.load(reference, allow_pickle=False) as file:
            expected = dict(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{reference} cannot be read as an .npz file: {error}") from None
    if "clip" not in expected:
        raise InputError(f"{reference} has no array named clip, the normalised input")
    if not np.issubdtype(expected["clip"].dtype, np.floating):
        raise InputError(
            f"clip in {reference} holds {expected['clip'].dtype}, and the network takes the normalised clip:"
            " subtract the mean, divide by the deviation and store floats"
        )
    actual = comparison.activations(imported.net, ms.Tensor(expected["clip"].astype(np.float32)))
    parts = comparison.differences(actual, expected)
    if not every:
        parts = [part for part in parts if part.name in ("logits", "probs")]
    if not parts:
        raise InputError(f"{reference} has nothing to compare with: logits, probs, features or parts by our names")
    for part in parts:
        yield f"  {part.name:24} {part.relative:.2e}"
    for part in parts:
        allowed = TOLERANCE if part.name in ("logits", "probs") else LAYER_TOLERANCE
        if part.relative > allowed:
            raise InputError(
                f"{part.name} is the first that differs from {reference}: by {part.relative:.2e} of its greatest"
                f" value, where {allowed:g} is allowed; shapes {part.shapes}"
            )


def _clip(text: str, seen: ClipConfig) -> ClipConfig:
    """The clips that a network saw, of the length and the interval in a text."""
    match = re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", text)
    if match is None:
        raise ConfigError(
            "--out needs --clip LENxINTERVAL, e.g. --clip 32x2: a checkpoint says what clips it takes"
        )
    return seen.model_copy(update={"clip_len": int(match[1]), "frame_interval": int(match[2])})


def _saved(imported: weights.Imported, args: argparse.Namespace, labels: tuple[str, ...]) -> str:
    digest = sha256_of(args.file)
    seen = imported.described
    described = checkpoint.Description(
        step=0,
        labels=labels,
        model=imported.net.model,
        clip=_clip(args.clip or imported.clip, seen.clip if seen else ClipConfig(fps=imported.clip_fps)),
        cache=seen.cache if seen else CacheConfig(),
        train=seen.train if seen else TrainConfig(),
        cache_digest="",
        manifest_digest="",
        imported_from=f"{args.profile} {digest}",
    )
    try:
        described = checkpoint.save_weights(args.out, checkpoint.weights_of_network(imported.net), described)
    except OSError as error:
        raise InputError(f"{args.out} cannot be written: {error.strerror}") from None
    return f"written     {args.out}, weights {described.weights_digest}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
