"""`[alarms]`: limits of all alarms together, and of the agent's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.schema import Options


class AlarmsOptions(Options):
    """`[alarms]`. Sizes and times that keep a flood bounded, and when the agent speaks about itself."""

    language: Literal["pt-BR", "en"] = "pt-BR"  # of e-mails and of the centre
    active_max: Annotated[int, Field(ge=10, le=10_000)] = 500
    journal_events_max: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    events_per_minute_max: Annotated[int, Field(ge=1, le=10_000)] = 60  # of each priority
    chatter_raises_max: Annotated[int, Field(ge=1, le=1000)] = 5
    chatter_window_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    chatter_hold_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    shelve_hours_max: Annotated[float, Field(ge=0.1, le=720)] = 24.0
    line_dead_s: Annotated[float, Field(ge=1, le=86_400)] = 30.0
    device_dead_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    backlog_readings: Annotated[int, Field(ge=1)] = 5000
    backlog_window_s: Annotated[float, Field(ge=60, le=86_400)] = 600.0
    disk_free_mb: Annotated[int, Field(ge=1)] = 200
    clock_untrusted_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    card_years_min: Annotated[float, Field(ge=0.1, le=50)] = 2.0
    command_refused_s: Annotated[float, Field(ge=1, le=86_400)] = 120.0
