"""What was learned, as JSON and back: models outlive a restart, and a replay uses the one of its day.

For the frozen dataclasses of this package that hold numbers, tuples of them and arrays (`LoadModel`,
`Normal`). NaN and infinity become null and texts, which JSON has.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

Model = TypeVar("Model")
_TEXTS = {"inf": math.inf, "-inf": -math.inf}


def to_json(model: Any) -> dict[str, Any]:
    """The fields of a model in what JSON knows."""
    return {field.name: _plain(getattr(model, field.name)) for field in dataclasses.fields(model)}


def from_json(kind: type[Model], kept: Mapping[str, Any]) -> Model:
    """A `kind` from its fields. ValueError if they are other fields, as after an upgrade: learn anew."""
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if set(kept) != set(fields):
        raise ValueError(f"expected {', '.join(sorted(fields))}, found {', '.join(sorted(kept))}")
    return kind(**{name: _typed(kept[name], fields[name]) for name in fields})


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _typed(value: Any, kind: str) -> Any:
    found = _numbers(value)
    if kind == "Floats":
        return np.array(found, dtype=np.float64)
    return tuple(found) if isinstance(found, list) else found


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    if value is None:
        return math.nan
    return _TEXTS.get(value, value) if isinstance(value, str) else value
