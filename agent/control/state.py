"""What control remembers between cycles: plain numbers and tuples, JSON in and out.

Rules: a cycle copies what it was given and changes only the copy. Nothing here is needed for safety: an
agent that forgot it all starts from these defaults, which are conservative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from agent.control.model import Model
from agent.control.room import Rung


@dataclass(slots=True)
class UnitState:
    """What was last told to a unit. `attempt` grows when the same is told again."""

    on: bool | None = None
    since_ms: int = 0
    setpoint_c: float | None = None
    setpoint_ms: int = 0
    starts_ms: tuple[int, ...] = ()
    told_ms: int = 0
    attempt: int = 0
    disobeys_since_ms: int | None = None


@dataclass(slots=True)
class RoomState:
    """`offset_k`: room less set point. `extra_lead_s`, `margin_k`, `rate_k_h`, `reserve`: tuned every day.

    `reserve`: the share of the cooling that plans do not count on. `lag_min`: how long the sensor lags.
    `day_ms`: since when this occupied day is counted. `week_kh`: what the last seven days missed, older days
    forgotten. `led_c`: what a leading plan aims at. `short_ms`: when units were last seen not to be enough.
    `still_s`: the longest the reading stood still, forgotten slowly. `cycle_s`: how far apart decisions are.
    """

    rung: int = Rung.OPTIMUM_START
    why: str = "new here"
    rung_ms: int | None = None
    healthy_ms: int | None = None
    temps: tuple[float, ...] = ()
    temps_ms: int = 0
    last_temp: float | None = None
    moved_ms: int = 0
    switched_ms: int | None = None
    hot_ms: int | None = None
    hard_ms: int | None = None
    free_ms: int | None = None
    humid_ms: int | None = None
    late: int = 0
    plan_at: int = -1
    tried_at: int = -1
    plan_load: tuple[float, ...] = ()
    plan_temp: tuple[float, ...] = ()
    ahead_of: str = ""
    led_c: float | None = None
    led_ms: int = 0
    short_ms: int | None = None
    compared_at: int = -1
    surprise_k: float = 0.0
    offset_k: float = 0.3
    offset_ms: int = 0
    rate_k_h: float = 2.0
    extra_lead_s: float = 600.0
    lead_s: float = 0.0
    margin_k: float = 0.3
    start_c: float | None = None
    start_ms: int | None = None
    was_open: bool = False
    opened_ms: int | None = None
    day_ms: int = 0
    missed_kh: float = 0.0
    answered_kh: float = 0.0
    late_kh: float = 0.0
    day_max_k: float = -20.0
    day_led: bool = False
    week_kh: float = 0.0
    week_ms: int = 0
    short_kh: float = 0.0
    full_ms: int | None = None
    lag_min: float = 2.0
    edge_ms: int | None = None
    edge_runs: bool = False
    turn_c: float = 0.0
    turn_ms: int = 0
    reserve: float = 0.0
    still_s: float = 14_400.0
    opened_warm_k: float = 0.0
    start_led: bool = False
    cycle_s: float = 60.0
    units: dict[str, UnitState] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """All rooms, and the last start of any unit (starts are staggered)."""

    rooms: dict[str, RoomState] = field(default_factory=dict)
    last_start_ms: int = 0
    last_ms: int = 0

    def to_json(self) -> dict[str, Any]:
        """For a file or the record of a decision."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> State:
        """What `to_json` gave; lists become tuples again."""
        rooms = {name: _room(room) for name, room in data["rooms"].items()}
        return cls(rooms, data["last_start_ms"], data["last_ms"])


def set_back(state: State, now_ms: int) -> State:
    """The same moments ago on a clock that says `now_ms`, earlier than the last cycle.

    Without this a start dated in the future would forbid the next one for as long as the clock was wrong.
    """
    shift_ms = now_ms - state.last_ms
    rooms = {name: _moved(room, shift_ms) for name, room in state.rooms.items()}
    for room in rooms.values():
        room.units = {name: _moved(unit, shift_ms) for name, unit in room.units.items()}
        room.plan_at, room.tried_at, room.plan_load, room.plan_temp, room.compared_at = -1, -1, (), (), -1
    return State(rooms, state.last_start_ms + shift_ms, now_ms)


Dated = TypeVar("Dated", RoomState, UnitState)


def _moved(dated: Dated, shift_ms: int) -> Dated:
    changes: dict[str, Any] = {}
    for each in fields(dated):
        value = getattr(dated, each.name)
        if each.name.endswith("_ms") and value is not None:
            many = isinstance(value, tuple)
            changes[each.name] = tuple(one + shift_ms for one in value) if many else value + shift_ms
    return replace(dated, **changes)


def _room(data: Mapping[str, Any]) -> RoomState:
    units = {name: UnitState(**_known(UnitState, unit)) for name, unit in data["units"].items()}
    return RoomState(**{**_known(RoomState, data), "units": units})


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only another release knows: an upgrade and its way back keep what was tuned."""
    names = {each.name for each in fields(kind)}
    return {key: value for key, value in _tuples(data).items() if key in names}


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was learned and accepted, per room; a room without a model runs without the optimiser, and so does
    one in `refused`: what its last nights taught has not passed the gate."""

    models: Mapping[str, Model] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Parameters:
        models = {name: Model(**_tuples(model)) for name, model in data["models"].items()}
        return cls(models, tuple(data.get("refused", ())))
