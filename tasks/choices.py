"""What the form of a run lets a person choose from."""

from __future__ import annotations

from typing import Annotated

from pydantic import WithJsonSchema

from nonlocal_core.config.presets import PRESETS
from tasks.policy import RUNNERS

Preset = Annotated[str, WithJsonSchema({"type": "string", "enum": list(PRESETS)})]
PresetOrNone = Annotated[str, WithJsonSchema({"type": "string", "enum": ["", *PRESETS]})]
Runner = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "title": "on this machine", "enum": list(RUNNERS)},
                {"type": "string", "title": "address of a cluster", "pattern": "^(tcp|tls|ray)://"},
            ]
        }
    ),
]
