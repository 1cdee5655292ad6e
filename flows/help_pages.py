"""The `--help` of the flows: first the settings that a newcomer needs; by topic a section, the presets, or all."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from flows.catalogue import SECTIONS, Command
from nonlocal_core.command import WIDTH
from nonlocal_core.config import key_value
from nonlocal_core.config.preset_record import IMAGENET, Preset
from nonlocal_core.config.presets import PRESETS
from nonlocal_core.config.tree import Setting, settings
from nonlocal_core.errors import ConfigError

COLUMN = 42
"""greatest width of a first column"""
FIRST = (
    *("cache.short_side", "clip.clip_len", "clip.frame_interval", "train.init", "train.epochs"),
    *("train.batch_size", "train.base_lr", "evaluate.protocol", "runtime.device", "runtime.num_workers"),
)
"""settings on the first page"""
SUFFIXES = (
    "",
    "presets; the end of a name says whose code a network is built as: the paper's (_caffe2),",
    "PySlowFast's (_slowfast), gluon-cv's (_gluon), else mmaction2's:",
)


def page(command: Command, topic: str) -> Iterator[str]:
    """The lines of a topic's page; an empty topic is the first page.

    Raises: ConfigError if there is no such topic.
    """
    if topic not in ("", "all", "presets", *SECTIONS, *PRESETS):
        raise ConfigError(f"--help {topic}: name all, presets, a preset, or one of {', '.join(SECTIONS)}")
    if topic in ("", "all"):
        words = command.words | {f"{key}=…": text for key, (_, text) in command.parameters.items()}
        yield from (f"usage: {command.program} {command.usage}", "", *command.purpose.split("\n"), "")
        yield from _columns(words)
    if not topic and command.sections:
        yield from ("", "settings to begin with, and their defaults (a preset may have others):")
        yield from _settings(s for s in settings() if s.key in FIRST and s.section in command.sections)
        *sections, last = command.sections
        topics = {"--help SECTION": f"every setting of {', '.join(sections)} or {last}"}
        if command.has_presets:
            topics["--help presets"] = f"the {len(PRESETS)} presets; --help PRESET says all of one"
        yield from ("", *_columns(topics | {"--help all": "everything"}))
    if topic in PRESETS:
        yield from _preset(PRESETS[topic])
    if topic == "presets" or (topic == "all" and command.has_presets):
        yield from (*SUFFIXES, *_columns({preset.name: preset.title for preset in PRESETS.values()}))
    for section in command.sections if topic == "all" else {topic}.intersection(SECTIONS):
        yield from ("", f"settings of {section}, and their defaults (a preset may have others):")
        yield from _settings(s for s in settings() if s.section == section)


def _preset(preset: Preset) -> Iterator[str]:
    facts = {"network": preset.title, "command": preset.command, "time": preset.time}
    more = {"top-1 / top-5": preset.expected, "not its authors'": preset.differs}
    if IMAGENET in preset.command:
        more[IMAGENET] = "ImageNet's weights, by python -m nonlocal_core.import_weights (docs/guides/weights.md)"
    yield from (preset.name, "", *_columns(facts | more))
    yield from ("", "settings that differ from the defaults:")
    yield from (f"  {key}={key_value.text_of(value)}" for key, value in preset.settings.items())


def _settings(chosen: Iterable[Setting]) -> Iterator[str]:
    """Settings with their defaults, descriptions and choices."""
    rows = {}
    for setting in chosen:
        choices = f" [{', '.join(map(str, setting.choices))}]" if setting.choices else ""
        rows[f"{setting.key}={key_value.text_of(setting.default)}"] = setting.text + choices
    yield from _columns(rows)


def _columns(rows: dict[str, str]) -> Iterator[str]:
    """Two columns, the second one wrapped."""
    column = 4 + min(max(map(len, rows)), COLUMN)
    for left, right in rows.items():
        first = f"  {left}  ".ljust(column)
        yield from textwrap.wrap(
            right, WIDTH, initial_indent=first, subsequent_indent=" " * column, break_on_hyphens=False
        )
