"""What every section of the tree of settings is made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Blocks = tuple[Annotated[int, Field(ge=0)], ...]
Settings = dict[str, object]
"""values of dotted keys such as train.epochs"""


class Section(BaseModel):
    """A frozen group of settings without room for unknown names."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
    LATER: ClassVar[tuple[str, ...]] = ()
    """settings that came after the first release: a key holds them only where they are not as they were before"""

    def in_key(self) -> dict[str, Any]:
        """The settings that a key holds."""
        kept = self.model_dump(mode="json")
        return {
            name: value for name, value in kept.items() if name not in self.LATER or not self._is_default(name)
        }

    def _is_default(self, name: str) -> bool:
        return bool(getattr(self, name) == type(self).model_fields[name].default)
