"""The words of control: what a room is, what is seen of it, what lies ahead, what is decided.

Rules: all of it is plain data that serialises to JSON (`dataclasses.asdict`); missing is None, never 0;
a value comes with its age, so that nobody needs a clock. Temperatures in °C, power in W, money in R$.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

QUARTER_MS = 900_000
QUARTERS_PER_DAY = 96
HORIZON = 96
OUTDOOR_C, SUN_W_M2 = (-60.0, 60.0), (-50.0, 2000.0)
HUMIDITY_PCT, POWER_W = (0.0, 110.0), (-1e8, 1e8)
"""What can be true: an open circuit or a word of 0xFFFF is missing, not a heat wave."""
ANY = (-math.inf, math.inf)


class Rung(IntEnum):
    """The ladder: the higher the number, the less is trusted."""

    OPTIMISER = 0
    OPTIMUM_START = 1
    SCHEDULE = 2
    THERMOSTAT = 3
    HANDS_OFF = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """One air conditioner. `grid_k`: the step of its set point; the times are those its maker allows."""

    id: str
    rated_w: float = 1200.0
    inverter: bool = True
    grid_k: float = 1.0
    setpoint_c: tuple[float, float] = (18.0, 28.0)
    on_s_min: float = 300.0
    off_s_min: float = 300.0
    starts_per_h: int = 6
    dry: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """`band_c`: comfort while occupied. `unoccupied_max_c`: None lets it float. `hard_max_c`: at all hours.

    `safe_c` is the set point that a unit is left alone with; `fixed_lead_s` the head start of the schedule.
    """

    id: str
    units: tuple[Unit, ...]
    band_c: tuple[float, float] = (21.0, 25.0)
    unoccupied_max_c: float | None = None
    hard_max_c: float | None = None
    humidity_max_pct: float = 65.0
    priority: int = 0
    safe_c: float = 24.0
    fixed_lead_s: float = 5400.0

    @property
    def rated_w(self) -> float:
        return sum(unit.rated_w for unit in self.units)

    @property
    def grid_k(self) -> float:
        return max(unit.grid_k for unit in self.units)


@dataclass(frozen=True, slots=True)
class Seen:
    """A measured value and how old it is."""

    value: float
    age_s: float = 0.0


def known(seen: Seen | None, within: tuple[float, float] = ANY) -> Seen | None:
    """Not a number is missing, never a value; and so is what cannot be."""
    if seen is None or not (math.isfinite(seen.value) and math.isfinite(seen.age_s)):
        return None
    return seen if within[0] <= seen.value <= within[1] else None


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """What a unit says of itself, if it does."""

    on: Seen | None = None
    setpoint_c: Seen | None = None


@dataclass(frozen=True, slots=True)
class OwnWish:
    """What a site's own controller wants of a room; `fault`: why it wants nothing now, in words."""

    on: bool = False
    setpoint_c: float = 24.0
    reason: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class RoomSeen:
    """`power_w` is that of the room's units together. `commanded`: False where nobody does what is decided,
    it is only watched. `own`: None where the site has no controller of its own."""

    temperature_c: Seen | None = None
    humidity_pct: Seen | None = None
    power_w: Seen | None = None
    units: Mapping[str, UnitSeen] = field(default_factory=dict)
    manual: bool = False
    commanded: bool = True
    own: OwnWish | None = None

    def clean(self) -> RoomSeen:
        """The same without values that are none."""
        return replace(
            self,
            temperature_c=known(self.temperature_c),
            humidity_pct=known(self.humidity_pct, HUMIDITY_PCT),
            power_w=known(self.power_w, POWER_W),
            units={
                name: UnitSeen(known(unit.on), known(unit.setpoint_c)) for name, unit in self.units.items()
            },
        )


@dataclass(frozen=True, slots=True)
class Observed:
    """The frozen snapshot. `powered_s`: how long the units have had power; None: as long as we know."""

    rooms: Mapping[str, RoomSeen]
    outdoor_c: Seen | None = None
    sun_w_m2: Seen | None = None
    site_w: Seen | None = None
    clock_trusted: bool = True
    powered_s: float | None = None

    def clean(self) -> Observed:
        """The same without values that are none."""
        return replace(
            self,
            rooms={name: room.clean() for name, room in self.rooms.items()},
            outdoor_c=known(self.outdoor_c, OUTDOOR_C),
            sun_w_m2=known(self.sun_w_m2, SUN_W_M2),
            site_w=known(self.site_w, POWER_W),
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """`price`: R$/kW a month. `peak_w`: the highest quarter billed so far. `contract_w`: None without."""

    price: float
    peak_w: float = 0.0
    contract_w: float | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of the next `HORIZON` quarters, the running one first.

    `quarter`: 0-95, local time of the first. `price`: R$/kWh. `outdoor_c`, `sun_w_m2`: a fresh forecast from
    outside, or None. `others_w`: what else the site draws, for the demand charge. ValueError if it is not
    that.
    """

    quarter: int
    occupied: tuple[bool, ...]
    price: tuple[float, ...]
    demand: Demand | None = None
    others_w: tuple[float, ...] | None = None
    outdoor_c: tuple[float, ...] | None = None
    sun_w_m2: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.quarter < QUARTERS_PER_DAY:
            raise ValueError(f"quarter: expected 0 to {QUARTERS_PER_DAY - 1}, found {self.quarter}")
        for name in ("occupied", "price", "others_w", "outdoor_c", "sun_w_m2"):
            values = getattr(self, name)
            if values is not None and len(values) != HORIZON:
                raise ValueError(
                    f"{name}: expected {HORIZON} values, a quarter of an hour each, found {len(values)}"
                )
            if values is not None and not all(map(math.isfinite, values)):
                raise ValueError(
                    f"{name}: expected numbers, found one that is none; leave out what is not known"
                )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a unit shall do from now on, and why. `on` None: hands off, command nothing.

    `expected_c` is the room a quarter from now as planned; `price` of energy now; `alarm`: words, or "".
    Write when something differs from the last decision; `attempt` differs when the same shall be told again.
    """

    room: str
    unit: str
    on: bool | None
    setpoint_c: float | None
    dry: bool
    rung: Rung
    reason: str
    expected_c: float | None = None
    price: float | None = None
    alarm: str = ""
    attempt: int = 0
