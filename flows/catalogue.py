"""The flows as commands: what words each takes.  Nothing here imports Prefect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_core.config.tree import Config
from nonlocal_core.evaluation.ablations import TABLES

SECTIONS = tuple(Config.model_fields)

Parameter = tuple[Callable[[str], Any], str]
"""parameter of a flow: the function that converts its text to a value, and its description"""


class Command(NamedTuple):
    """A flow at the command line."""

    name: str
    """of the file and, but for evaluate, of the flow in it"""
    usage: str
    """what follows `python flows/NAME.py`"""
    purpose: str
    words: dict[str, str]
    """arguments beside parameters and settings, with their descriptions"""
    parameters: dict[str, Parameter]
    sections: Sequence[str] = SECTIONS
    """sections of the settings that the flow uses"""
    preset: str = "tiny"
    """where none is named"""
    stopped: str = "stopped; nothing is lost: the same command goes on from here"
    """what is said after Ctrl-C"""

    @property
    def program(self) -> str:
        """The command without its words."""
        return "python flows/ablate.py long_range" if self.name == "long_range" else f"python flows/{self.name}.py"

    @property
    def has_presets(self) -> bool:
        """Whether the command has a preset."""
        return "PRESET" in self.usage

    @property
    def flow(self) -> str:
        """The name of the flow in its file."""
        return "evaluate_checkpoint" if self.name == "evaluate" else self.name


def _place(text: str) -> Path | str:
    """A path, or a URI as it is."""
    return text if "://" in text else Path(text)


PARAMETERS: dict[str, Parameter] = {
    "videos_dir": (_place, "folder of labelled videos, or a URI such as s3://bucket/videos"),
    "workspace_dir": (_place, "folder that all results live in; default: workspace"),
    "labels_path": (_place, "label ids: JSON, label_map.txt, classInd.txt or CSV; default: alphabetical"),
    "checkpoint": (str, "weights to score: a file, a registry entry such as v0003, or champion (default)"),
    "folds": (str, "number of folds to draw (default: 5), or folder with lists: FOLD/train.txt and val.txt"),
    "out": (_place, "FILE.json for the figures"),
    "runner": (str, "where shards of index and cache run: threads (default), processes, dask, ray, or an address"),
}
PREDICT: dict[str, Parameter] = {
    "workspace_dir": (Path, "workspace whose registry is used; default: workspace"),
    "checkpoint": (str, "champion (default), an entry such as v0001, a .safetensors file, or published weights"),
    "out": (Path, "FILE.parquet or FILE.json for all results"),
    "features": (Path, "FILE.parquet for the pooled features of every video, the numbers before the classifier"),
    "draw": (Path, "folder for a copy of every video with its labels drawn on it (H.264), and for its timeline"),
    "window_s": (float, "length of a sliding window (seconds); default: the whole video is one window"),
    "hop_s": (float, "from one window to the next (seconds); default: half a window"),
}
BEFORE = {"entry": "checkpoint"}
"""parameters by the names that they had before, which are still taken"""

ONE = "[PRESET] [key=value ...]"
PRESET = {
    "PRESET": "named settings of a network and its training; default: tiny",
    "--config FILE": "preset, parameters and settings as YAML or JSON, or an entry: workspace/registry/v0003",
}
VIDEOS = {**PRESET, "--dry-run": "say what videos_dir holds, by names alone, and end: no video is opened"}
VIEWS = {**PRESET, "PRESET": "named settings of index and evaluate; default: the views of the checkpoint"}
SEVERAL = "TABLE|PRESET ... [key=value|value ...]"
NAMES = {"TABLE|PRESET": "networks to compare", "key=a|b": "a setting with several values: a row for each"}
LISTED = "\n".join(f"  {name}  {what}" for name, what in TABLES.items())


def _parameters(*names: str) -> dict[str, Parameter]:
    return {name: PARAMETERS[name] for name in PARAMETERS if name in ("workspace_dir", "labels_path", *names)}


_COMMANDS = (
    Command(
        "full",
        ONE,
        "A folder of labelled videos in, an evaluated and registered network out; tiny makes its own videos.",
        VIDEOS,
        _parameters("videos_dir", "runner"),
    ),
    Command(
        "prepare",
        ONE,
        "A folder of labelled videos in, their decoded frames out.",
        VIDEOS,
        _parameters("videos_dir", "runner"),
        ("index", "cache", "runtime"),
    ),
    Command(
        "evaluate",
        ONE,
        "A checkpoint and a folder of labelled videos in, scores out.",
        VIEWS,
        _parameters("videos_dir", "checkpoint", "runner"),
        ("evaluate", "index", "cache", "clip", "runtime"),
        preset="",
    ),
    Command(
        "ablate",
        SEVERAL,
        f"Variants in, one table out.\n\ntables of the paper:\n{LISTED}\n"
        "or long_range alone: the paper's claim on generated videos; long_range --help says more",
        NAMES,
        _parameters("videos_dir", "runner"),
    ),
    Command(
        "crossval",
        ONE,
        "Every video of a folder is held out once, and scored by a network that never saw it.\n"
        "folds=5 draws five folds; folds=DIR takes those of DIR/FOLD/train.txt and val.txt.",
        VIDEOS,
        _parameters("videos_dir", "folds", "runner", "out"),
    ),
    Command(
        "predict",
        "VIDEO_OR_DIR [key=value ...]",
        "Videos in, their best labels out.",
        {"VIDEO_OR_DIR": "a video, or a folder of videos"},
        PREDICT,
        ("evaluate", "runtime"),
        stopped="stopped",
    ),
)
LONG_RANGE = Command(
    "long_range",
    "[--quick] [key=value ...]",
    "Blocks against none on generated videos whose label is a relation far apart in space and time.\n"
    "Networks, epochs and seeds are fixed: nonlocal_core/config/long_range.json.",
    {"--quick": "a trial with fewer rows and one seed"},
    {name: PARAMETERS[name] for name in ("workspace_dir", "out")},
    (),
)
"""what `python flows/ablate.py long_range` takes"""
COMMANDS = {command.name: command for command in _COMMANDS}
