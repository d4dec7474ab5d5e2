"""Settings: one pydantic model a stage; every field says what a change of it costs.

    Measure   the measured values would change: rows are measured again
    Decide    only verdicts change: rules are applied again, nothing is measured
    Operate   how the work is done (waits, deadlines, rates, tries, contact, Spark): enters no key

Models are strict (``"10"`` is no number), frozen, refuse unknown keys, NaN and infinity.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Decide", "Field", "Kind", "Measure", "Operate", "StageConfig", "kind_of", "settings_key"]

T = TypeVar("T")


class Kind(Enum):
    MEASURE = "measure"
    DECIDE = "decide"
    OPERATE = "operate"


Measure = Annotated[T, Kind.MEASURE]
Decide = Annotated[T, Kind.DECIDE]
Operate = Annotated[T, Kind.OPERATE]


class StageConfig(BaseModel):
    """Base of every section of the config. Each field is marked Measure, Decide or Operate and described."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        for name in cls.model_fields:
            kind_of(cls, name)


def kind_of(model: type[BaseModel], field: str) -> Kind:
    """The one mark of a field; TypeError for a field that has none."""
    marks = [mark for mark in model.model_fields[field].metadata if isinstance(mark, Kind)]
    if len(marks) != 1:
        raise TypeError(f"{model.__name__}.{field} must be marked Measure, Decide or Operate")
    return marks[0]


def settings_of(config: BaseModel, kind: Kind) -> dict[str, Any]:
    """The settings of one kind, as plain JSON values in the order of their names."""
    values = config.model_dump(mode="json")
    return {name: values[name] for name in sorted(type(config).model_fields) if kind_of(type(config), name) is kind}


def settings_key(*values: Any) -> str:
    """16 hex digits that name a set of settings: equal settings, equal key, on any machine."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
