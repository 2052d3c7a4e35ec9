"""What the child is told: which readings to look at, and which points of a meter are what. Plain data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.schema import Options


class GroupPlan(Options):
    """A group of a device on a line; `totals` are those of its points that only grow."""

    device: str
    name: str
    points: list[str]
    totals: list[str]
    interval_ms: int

    @property
    def gauges(self) -> list[str]:
        """Its points that have a level."""
        return [name for name in self.points if name not in self.totals]


class MeterPlan(Options):
    """The points of one meter by quantity, each the name of a point of `device`; "" or []: it has none.

    `power` and `reactive`: one total, or one for each phase, which are added up. `*_per_unit`: what a value
    of the point is in W, var, kWh. `nominal_v` None: found out from what is measured (`nominal_of`).
    """

    device: str
    slug: str
    voltage: list[str] = Field(default_factory=list)
    line_voltage: list[str] = Field(default_factory=list)
    thd: list[str] = Field(default_factory=list)
    harmonics: list[list[str]] = Field(
        default_factory=list
    )  # by phase, from order 2 on; "" where the meter gives none
    unbalance: str = ""
    frequency: str = ""
    power: list[str] = Field(default_factory=list)
    reactive: list[str] = Field(default_factory=list)
    energy: str = ""
    w_per_unit: float = 1.0
    var_per_unit: float = 1.0
    kwh_per_unit: float = 1.0
    nominal_v: float | None = None
    between: Literal["phase_neutral", "phase_phase"] | None = None
    tariff: str = ""
    same_as: str = ""

    @property
    def volts(self) -> list[str]:
        """The voltages that are judged: those to neutral, or else those between phases."""
        return self.voltage or self.line_voltage

    @property
    def judged_between(self) -> Literal["phase_neutral", "phase_phase"]:
        """What `volts` are between."""
        return self.between or ("phase_neutral" if self.voltage else "phase_phase")


class Plan(Options):
    """Everything of one run."""

    store: str
    book: str
    zone: str
    tariff_dirs: list[str]
    backfill_days: int
    keep_days: int
    anomalies: bool
    outdoor: str
    groups: list[GroupPlan]
    meters: list[MeterPlan]
