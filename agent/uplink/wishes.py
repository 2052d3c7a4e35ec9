"""What the centre may set, by name: the types of the shared attributes that are known."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from agent.schema import Name, Options
from agent.uplink.settings import Setting

BAND_K_MIN = 1.0
ROOMS_MAX, SPANS_MAX = 1000, 64

Hour = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^24:00$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class ComfortBand(Options):
    """Air temperatures between which a room is left alone, in °C."""

    low_c: Annotated[float, Field(ge=15, le=32)]
    high_c: Annotated[float, Field(ge=15, le=32)]

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.high_c - self.low_c < BAND_K_MIN:
            raise ValueError(f"expected high_c at least {BAND_K_MIN:g} above low_c")
        return self


class OccupiedSpan(Options):
    """A time of the day, local, in which rooms are occupied on some days of the week; none over midnight."""

    days: Annotated[list[Day], Field(min_length=1, max_length=7)]
    start: Hour
    end: Hour

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.start >= self.end:
            raise ValueError("expected start before end; split a span at midnight")
        return self


class Limits(Options):
    """What the site must not exceed; None: no such limit."""

    demand_w: Annotated[float, Field(gt=0, le=1e9)] | None = None
    current_a: Annotated[float, Field(gt=0, le=1e6)] | None = None


SETTINGS = {
    "comfort": Setting(Annotated[dict[Name, ComfortBand], Field(max_length=ROOMS_MAX)]),
    "schedule": Setting(Annotated[list[OccupiedSpan], Field(max_length=SPANS_MAX)]),
    "tariff": Setting(Name),
    "limits": Setting(Limits),
}
