"""The switches of the person who imports a file, checked."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from nonlocal_core.config.model import ModelConfig
from nonlocal_core.errors import ConfigError
from nonlocal_core.models.published.profiles import Settings


class Choice(NamedTuple):
    """The choices of the person who imports a file."""

    switches: Settings
    """settings of the section `model`"""
    head: str
    """keep, new, or empty if neither was chosen"""
    num_classes: int
    """number of classes of a new head"""


def chosen(switches: Settings) -> Choice:
    """The choices in switches, as typed values.

    Raises: ConfigError for a switch that does not exist or does not fit.
    """
    settings = dict(switches)
    head = settings.pop("head") if settings.get("head") in ("keep", "new") else ""
    for key, value in settings.items():
        if key not in (*ModelConfig.model_fields, "num_classes"):
            switch_names = ", ".join(["head=keep", "head=new", "num_classes", *ModelConfig.model_fields])
            raise ConfigError(f"there is no switch {key!r}: there are {switch_names}")
        wanted = int if key == "num_classes" else ModelConfig.model_fields[key].rebuild_annotation()
        try:
            settings[key] = TypeAdapter(wanted).validate_python(value)
        except ValidationError as error:
            raise ConfigError(f"{key}={value} does not fit: {error.errors()[0]['msg']}") from None
    if (head == "new") != (settings.get("num_classes", 0) > 0):
        raise ConfigError("head=new and num_classes=K go together")
    return Choice(settings, head, num_classes=settings.pop("num_classes", 0))
