"""Control's memory around `decide`: histories, parameters, state, the nightly fit. Still without a clock.

Rules: whoever runs it calls `cycle` with the time, what is seen and what lies ahead, and does what comes
back; `learn` may be called in another thread between cycles, it only reads a copy. No file, socket or sleep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agent.control import ladder
from agent.control.decide import decide
from agent.control.history import (
    OUTDOOR,
    POWER,
    SUN_W_M2,
    TEMPERATURE,
    History,
    OpenQuarter,
)
from agent.control.planner import Planner, at_home
from agent.control.room import (
    QUARTER_MS,
    QUARTERS_PER_DAY,
    Decision,
    Observed,
    Outlook,
    Room,
    RoomSeen,
    Seen,
)
from agent.control.state import Parameters, RoomState, State

AGE_S_MAX = 300.0
LEARN_QUARTER = 8


@dataclass
class Loop:
    """One site. `verdicts`: what the gate said of each room last, in words. `learns`: at two in the morning,
    inside `cycle`, which then takes seconds; False where the caller has `learn.learned` do it elsewhere."""

    rooms: tuple[Room, ...]
    planner: Planner = at_home
    parameters: Parameters = field(default_factory=Parameters)
    state: State = field(default_factory=State)
    history: dict[str, History] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    learns: bool = True
    _open: dict[str, OpenQuarter] = field(default_factory=dict)
    _learned: int = -1

    def cycle(self, now_ms: int, observed: Observed, outlook: Mapping[str, Outlook]) -> tuple[Decision, ...]:
        """Note what is seen, learn at two in the morning, decide."""
        observed = observed.clean()
        for room in self.rooms:
            self._record(room, now_ms, observed, outlook[room.id])
        first = outlook[self.rooms[0].id]
        night = (now_ms // QUARTER_MS - first.quarter) // QUARTERS_PER_DAY + (first.quarter >= LEARN_QUARTER)
        if self.learns and observed.clock_trusted and night > self._learned:
            self._learned = night
            self.learn(now_ms)
        outcome = decide(
            now_ms,
            observed,
            history=self.history,
            outlook=outlook,
            rooms=self.rooms,
            parameters=self.parameters,
            state=self.state,
            planner=self.planner,
        )
        self.state = outcome.state
        return outcome.decisions

    def learn(self, now_ms: int) -> None:
        """Fit every room; what the gate refuses leaves the last accepted model."""
        from agent.control.learn import learned  # noqa: PLC0415 - numpy comes with it

        self.parameters, self.verdicts = learned(self.rooms, self.history, self.parameters, now_ms)

    def histories(self) -> dict[str, History]:
        """A copy that does not grow, for `learn.learned` in another thread or process."""
        return {name: replace(history) for name, history in self.history.items()}

    def to_json(self) -> dict[str, Any]:
        """What the next process needs, but for the histories."""
        return {
            "state": self.state.to_json(),
            "parameters": self.parameters.to_json(),
            "verdicts": self.verdicts,
            "open": {name: asdict(quarter) for name, quarter in self._open.items()},
        }

    def restore(self, data: Mapping[str, Any], history: dict[str, History]) -> None:
        """Go on from what `to_json` gave. KeyError, TypeError or ValueError if it is not that."""
        self.state = State.from_json(data["state"])
        self.parameters = Parameters.from_json(data["parameters"])
        self.verdicts = dict(data["verdicts"])
        self._open = {name: OpenQuarter(**quarter) for name, quarter in data["open"].items()}
        self.history = history

    def _record(self, room: Room, now_ms: int, observed: Observed, outlook: Outlook) -> None:
        if not observed.clock_trusted:
            return  # a row dated in the future would keep out all that come until then
        quarter = self._open.setdefault(room.id, OpenQuarter())
        number, ends = now_ms // QUARTER_MS, now_ms % QUARTER_MS == 0
        if ends and quarter.number == number - 1:
            quarter.sample(now_ms, self._sample(room, observed))
        if quarter.number != number:
            if quarter.number >= 0:
                self.history.setdefault(room.id, History()).add(quarter.number, quarter.close())
            quarter.number, quarter.quarter = number, outlook.quarter
            quarter.occupied = float(outlook.occupied[0])
        if not ends:
            quarter.sample(now_ms, self._sample(room, observed))

    def _sample(self, room: Room, observed: Observed) -> dict[int, float | None]:
        seen = observed.rooms.get(room.id, RoomSeen())
        temp_c = _value(seen.temperature_c) if not ladder.temperature(seen)[1] else None
        power_w = _value(seen.power_w)
        if power_w is None:
            power_w = estimated_w(room, self.state.rooms.get(room.id), temp_c)
        return {
            TEMPERATURE: temp_c,
            OUTDOOR: _value(observed.outdoor_c),
            SUN_W_M2: _value(observed.sun_w_m2),
            POWER: power_w,
        }


def _value(seen: Seen | None) -> float | None:
    return None if seen is None or seen.age_s > AGE_S_MAX else seen.value


def estimated_w(room: Room, state: RoomState | None, temp_c: float | None) -> float | None:
    """What the units draw, guessed from what they were told, where no meter says it."""
    if state is None or temp_c is None:
        return None
    total_w = 0.0
    for unit in room.units:
        told = state.units.get(unit.id)
        if told is None or told.on is None:
            return None
        if told.on and told.setpoint_c is not None:
            wish_k = temp_c - state.offset_k - told.setpoint_c
            total_w += unit.rated_w * min(max(0.45 + 0.6 * wish_k, 0.05), 1.0)
    return total_w
