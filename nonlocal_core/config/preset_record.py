"""The record of a preset: its settings, and the published accuracy of the network that they make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nonlocal_core.config.section import Settings

IMAGENET = "IMAGENET_FILE"
"""a file that `python -m nonlocal_core.import_weights` makes of ImageNet's weights for this network"""
DAYS = "days on 8 GPUs for Kinetics-400; not run by us"


@dataclass(frozen=True)
class Published:
    """An accuracy that a source published, per cent: Kinetics-400 val, 30 views, unless the source says else."""

    top1: float
    top5: float | None
    source: str
    tables: tuple[str, ...] = ()
    """tables of the paper that have it, such as 2a"""

    @property
    def figures(self) -> str:
        """Top-1 / top-5, with the decimals that the source gives."""
        values = [value for value in (self.top1, self.top5) if value is not None]
        decimals = max(len(str(value).partition(".")[2]) for value in values)
        return " / ".join(f"{value:.{decimals}f}" for value in values)

    def __str__(self) -> str:
        """The figures and their source."""
        tables = f", Table{'s' * (len(self.tables) > 1)} {', '.join(self.tables)}" if self.tables else ""
        only = " top-1" if self.top5 is None else ""
        return f"{self.figures}{only} ({self.source}{tables})"


@dataclass(frozen=True)
class Preset:
    """A name of block_net_depth_LENxINTERVAL, then whose network it is and what is special about it."""

    name: str
    title: str
    """the network in one line"""
    settings: Settings
    """what differs from the defaults"""
    published: tuple[Published, ...] = ()
    unpublished: str = "not published"
    """what to expect where nobody published the accuracy"""
    init: str = ""
    """what `train.init` has to name, where the recipe or the network starts from trained weights"""
    differs: str = "only as all presets do"
    """where settings and recipe are not those of the authors; docs/reference/networks.md says what all have"""
    time: str = DAYS

    @property
    def command(self) -> str:
        """The command that trains it."""
        if self.name == "tiny":
            return "python flows/full.py"
        init = f" train.init={self.init}" if self.init else ""
        if "imagenet" in self.init.lower():
            init += " train.init_head=new"
        return f"python flows/full.py {self.name} videos_dir=DIR{init}"

    @property
    def of_paper(self) -> Published | None:
        """The accuracy that the paper has, if it has one."""
        return next((published for published in self.published if published.tables), None)

    @property
    def expected(self) -> str:
        """The published accuracies, or what is known instead."""
        return ", ".join(map(str, self.published)) or self.unpublished


def paper(top1: float, top5: float, *tables: str) -> Published:
    """An accuracy of the paper."""
    return Published(top1, top5, "paper", tables)


def from_imagenet(presets: Iterable[Preset], differs: str) -> tuple[Preset, ...]:
    """Presets of authors who start from ImageNet; those that start from something else keep it."""
    return tuple(replace(preset, init=preset.init or IMAGENET, differs=differs) for preset in presets)
