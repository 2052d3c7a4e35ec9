"""What the configuration says of control: `[control]`, `[tariff]`, `[[room]]` and its `[[room.unit]]`.

Rules: points by their id `device.point`; a unit without feedback or a room without a meter is complete, it is
then believed. `room_of` turns a table into what `decide` knows.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from agent.control.room import Room, Unit
from agent.schema import FilePath, Name, Options

PointId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", max_length=129)]
Celsius = Annotated[float, Field(ge=5, le=45)]
_TIME = r"([01]\d|2[0-3]):(00|15|30|45)"


def _in_order(hours: str) -> str:
    begin, end = hours.split("-")
    if begin >= end:
        raise ValueError(f"expected an end after the begin (split at midnight), found {hours!r}")
    return hours


Clock = Annotated[str, Field(pattern=rf"^{_TIME}-({_TIME}|24:00)$"), AfterValidator(_in_order)]
Hours = Annotated[tuple[Clock, ...], Field(max_length=8, strict=False)]


class ControlOptions(Options):
    """`[control]`: what all rooms share."""

    cycle_s: Annotated[float, Field(ge=1, le=120)] = 60.0
    outdoor_point: PointId | None = None
    sun_point: PointId | None = None
    site_power_point: PointId | None = None
    demand_limit_kw: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    holiday_state: Annotated[str, Field(pattern=r"^([A-Z]{2})?$")] = ""
    holidays_extra: Annotated[list[date], Field(max_length=400)] = Field(default_factory=list)
    remote_hold_min: Annotated[int, Field(ge=5, le=1440)] = 120
    record_days: Annotated[int, Field(ge=1, le=3650)] = 90
    record_mb_max: Annotated[int, Field(ge=4, le=4096)] = 64


class TariffOptions(Options):
    """`[tariff]`: what energy costs. Without an `id` it is one price at all hours."""

    id: Annotated[str, Field(max_length=64)] = ""
    price_brl_kwh: Annotated[float, Field(gt=0, le=100)] = 0.9


class UnitOptions(Options):
    """One air conditioner: the points that command it, what it is, what its maker allows."""

    id: Name
    on_point: PointId
    setpoint_point: PointId
    mode_point: PointId | None = None
    cool_code: float = 1.0
    dry_code: float | None = None
    fan_point: PointId | None = None
    fan_code: float = 0.0
    rated_w: Annotated[float, Field(gt=0, le=200_000)]
    inverter: bool = True
    setpoint_step_k: Annotated[float, Field(ge=0.1, le=2)] = 1.0
    setpoint_min_c: Celsius = 18.0
    setpoint_max_c: Celsius = 28.0
    on_s_min: Annotated[float, Field(ge=60, le=3600)] = 300.0
    off_s_min: Annotated[float, Field(ge=60, le=3600)] = 300.0
    starts_per_h_max: Annotated[int, Field(ge=1, le=20)] = 6

    @property
    def points(self) -> list[str]:
        """Every point that commands it, in the order of writing."""
        named = (self.mode_point, self.fan_point, self.setpoint_point, self.on_point)
        return [point for point in named if point is not None]

    @model_validator(mode="after")
    def _range_is_one(self) -> UnitOptions:
        if self.setpoint_min_c >= self.setpoint_max_c:
            raise ValueError(
                f"setpoint_min_c: expected below {self.setpoint_max_c:g}, found {self.setpoint_min_c:g}"
            )
        return self


class RoomOptions(Options):
    """One room: what measures it, when it is occupied, how warm it may be."""

    id: Name
    temperature_point: PointId
    humidity_point: PointId | None = None
    power_point: PointId | None = None
    mode: Literal["control", "observe"] = "observe"
    comfort_min_c: Celsius = 21.0
    comfort_max_c: Celsius = 25.0
    unoccupied_max_c: Celsius | None = None
    hard_max_c: Celsius | None = None
    humidity_max_pct: Annotated[float, Field(ge=40, le=95)] = 65.0
    safe_setpoint_c: Celsius = 24.0
    fixed_lead_min: Annotated[int, Field(ge=0, le=300)] = 90
    priority: Annotated[int, Field(ge=0, le=100)] = 0
    workdays: Hours = ("08:00-18:00",)
    saturday: Hours = ()
    sunday: Hours = ()
    holidays: Hours = ()
    controller_file: FilePath | None = None
    controller_class: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$", max_length=64)] = "Controller"
    unit: Annotated[list[UnitOptions], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _band_is_one(self) -> RoomOptions:
        if self.comfort_min_c + 1 > self.comfort_max_c:
            raise ValueError(
                f"comfort_min_c: expected 1 K below {self.comfort_max_c:g} at least, "
                f"found {self.comfort_min_c:g}"
            )
        ids = [unit.id for unit in self.unit]
        if len(set(ids)) < len(ids):
            raise ValueError(f"unit: expected each id once, found {', '.join(ids)}")
        return self


def room_of(options: RoomOptions) -> Room:
    """The room as control knows it."""
    return Room(
        options.id,
        tuple(_unit_of(unit) for unit in options.unit),
        band_c=(options.comfort_min_c, options.comfort_max_c),
        unoccupied_max_c=options.unoccupied_max_c,
        hard_max_c=options.hard_max_c,
        humidity_max_pct=options.humidity_max_pct,
        priority=options.priority,
        safe_c=options.safe_setpoint_c,
        fixed_lead_s=options.fixed_lead_min * 60.0,
    )


def _unit_of(options: UnitOptions) -> Unit:
    return Unit(
        options.id,
        rated_w=options.rated_w,
        inverter=options.inverter,
        grid_k=options.setpoint_step_k,
        setpoint_c=(options.setpoint_min_c, options.setpoint_max_c),
        on_s_min=options.on_s_min,
        off_s_min=options.off_s_min,
        starts_per_h=options.starts_per_h_max,
        dry=options.dry_code is not None and options.mode_point is not None,
    )
