"""Settings: one pydantic model per stage; the mark of a field says what a change of it costs.

    Measure   measured values change: rows are measured again
    Decide    only verdicts change: rules are applied again, nothing is measured
    Operate   how the work is done (waits, deadlines, rates, tries, contact, Spark): not part of a key
    Content   names files: their content counts, not their path. MeasuredContent: new content is measured again;
              InputContent: new content is new input, and existing measurements are kept

Models are strict (``"10"`` is not a number) and frozen; they reject unknown keys, NaN and infinity.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Decide",
    "Field",
    "InputContent",
    "Kind",
    "Measure",
    "MeasuredContent",
    "Operate",
    "StageConfig",
    "kind_of",
    "settings_key",
]

T = TypeVar("T")


class Kind(Enum):
    MEASURE = "measure"
    DECIDE = "decide"
    OPERATE = "operate"
    MEASURED_CONTENT = "content, measure"
    INPUT_CONTENT = "content, input"


CONTENT = (Kind.MEASURED_CONTENT, Kind.INPUT_CONTENT)

Measure = Annotated[T, Kind.MEASURE]
Decide = Annotated[T, Kind.DECIDE]
Operate = Annotated[T, Kind.OPERATE]
MeasuredContent = Annotated[T, Kind.MEASURED_CONTENT]
InputContent = Annotated[T, Kind.INPUT_CONTENT]


class StageConfig(BaseModel):
    """Base of every section of the config. Each field has one mark of `Kind` and a description."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for name in cls.model_fields:
            kind_of(cls, name)


def kind_of(model: type[BaseModel], field: str) -> Kind:
    """The mark of a field; TypeError unless it has exactly one."""
    marks = [mark for mark in model.model_fields[field].metadata if isinstance(mark, Kind)]
    if len(marks) != 1:
        raise TypeError(f"{model.__name__}.{field} must be marked Measure, Decide, Operate or as a Content")
    return marks[0]


def settings_of(config: BaseModel, *kinds: Kind) -> dict[str, Any]:
    """The settings of these kinds, as plain JSON values in the order of their names."""
    values = config.model_dump(mode="json")
    return {name: values[name] for name in sorted(type(config).model_fields) if kind_of(type(config), name) in kinds}


def settings_key(*values: Any) -> str:
    """16 hex digits that name a set of settings: equal settings, equal key, on any machine."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
