"""The state of events and frequency as JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.analysis.power_quality.events import Event, EventKind, Source
from agent.analysis.power_quality.frequency import FrequencyWatch
from agent.analysis.power_quality.watch import Watch


def event_json(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in Event.__slots__}


def event_of(kept: Mapping[str, Any]) -> Event:
    given = {**kept, "kind": EventKind(kept["kind"]), "source": Source(kept["source"])}
    return Event(**{**given, "phases": tuple(kept["phases"])})


def watch_json(state: Watch | None) -> dict[str, Any] | None:
    if state is None:
        return None
    low, high = (event_json(each) if each else None for each in (state.low, state.high))
    outs = {"out_low": state.out_low, "out_high": state.out_high}
    return {"last_ms": state.last_ms, **outs, "low": low, "high": high}


def watch_state(kept: Mapping[str, Any] | None) -> Watch | None:
    if kept is None:
        return None
    low, high = (event_of(kept[side]) if kept[side] else None for side in ("low", "high"))
    return Watch(kept["last_ms"], tuple(kept["out_low"]), tuple(kept["out_high"]), low, high)


def frequency_json(state: FrequencyWatch) -> dict[str, Any]:
    return {name: getattr(state, name) for name in FrequencyWatch.__slots__}


def frequency_state(kept: Mapping[str, Any]) -> FrequencyWatch:
    """NaN is null in JSON."""
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in kept.items()}
    return FrequencyWatch(**numbers)
