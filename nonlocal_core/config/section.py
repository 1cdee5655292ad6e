"""What every section of the tree of settings is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Blocks = tuple[Annotated[int, Field(ge=0)], ...]
Settings = dict[str, object]
"""values of dotted keys such as train.epochs"""


def later(default: object) -> Any:
    """A setting that came after the first release.

    It is written only where it is not the default, so that the keys and digests of before stay.
    """
    return Field(exclude_if=lambda value: value == default)


class Section(BaseModel):
    """A frozen group of settings without room for unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
