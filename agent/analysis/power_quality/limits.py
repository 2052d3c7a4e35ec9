"""The constants of PRODIST module 8 as typed data: one TOML file for each revision, in `limits/`."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from agent.schema import Options, read

FOLDER = Path(__file__).parent / "limits"
LOW_VOLTAGE_V_MAX = 1000.0

Between = Literal["phase_neutral", "phase_phase"]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


class Window(Options):
    """How many readings of what length make an index."""

    interval_s: int
    readings: int
    coverage_min: float

    @property
    def interval_ms(self) -> int:
        """Length of one reading."""
        return self.interval_s * 1000


class VoltageBand(Options):
    """The classes of one nominal voltage, in volts."""

    nominal_v: float
    between: Between
    adequate_v: Range
    precarious_v: Range


class UsualVoltages(Options):
    """The nominal voltages that there are, in volts: those to look among first, and the others."""

    between: Between
    usual_v: list[float]
    other_v: list[float]


class PerUnitBand(Options):
    """The classes of every other nominal voltage, as parts of it."""

    adequate_pu: Range
    precarious_pu: Range


class VoltageLimits(Options):
    """DRP and DRC; `near`: how far from a nominal voltage one may be to be taken for it."""

    drp_percent_max: float
    drc_percent_max: float
    drp_compensation: float
    drc_compensation: float
    near: float
    nominal: list[UsualVoltages]
    band: list[VoltageBand]
    low: PerUnitBand
    medium: PerUnitBand


class UnbalanceLimits(Options):
    """FD95."""

    low_percent_max: float
    medium_percent_max: float


class HarmonicLimits(Options):
    """DTT95 and its family."""

    total_percent_max: float
    even_percent_max: float
    odd_percent_max: float
    triple_percent_max: float


class HarmonicTable(Options):
    """By nominal voltage: up to 1 kV, above."""

    low: HarmonicLimits
    medium: HarmonicLimits


class FrequencyStep(Options):
    """Beyond `hz` for at most `s_max`."""

    hz: float
    s_max: float


class FrequencyLimits(Options):
    """Steady, after a disturbance, and the extremes."""

    steady_hz: Range
    disturbed_hz: Range
    recovery_s_max: float
    extreme_hz: Range
    high: list[FrequencyStep]
    low: list[FrequencyStep]


class EventLimits(Options):
    """What is a sag, a swell, an interruption, and how each length is called."""

    sag_pu: float
    swell_pu: float
    interruption_pu: float
    hysteresis_pu: float
    momentary_s_max: float
    temporary_s_max: float
    ieee_instantaneous_s_max: float
    ieee_momentary_s_max: float
    ieee_temporary_s_max: float


class PowerFactorLimits(Options):
    """Reference power factor at the consumer."""

    minimum: float


class Limits(Options):
    """One revision. `revision` is named in every report."""

    valid_from: date
    revision: str
    window: Window
    voltage: VoltageLimits
    unbalance: UnbalanceLimits
    harmonics: HarmonicTable
    frequency: FrequencyLimits
    events: EventLimits
    power_factor: PowerFactorLimits


@lru_cache(maxsize=8)
def revisions(folder: Path = FOLDER) -> tuple[Limits, ...]:
    """All revisions, oldest first; FaultyFile if one is faulty."""
    return tuple(sorted((read(Limits, file) for file in folder.glob("*.toml")), key=_begin))


def limits_on(day: date, folder: Path = FOLDER) -> Limits:
    """The revision in force on `day`; before the first one, the first."""
    known = revisions(folder)
    return next((each for each in reversed(known) if each.valid_from <= day), known[0])


def _begin(limits: Limits) -> date:
    return limits.valid_from
