"""Alarms as readings (`agent.alarms_active` and so on): what is a number over time is a reading.

So they are stored, shown and forwarded like any other, also after a week offline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from agent.alarms.alarm import CODES, State
from agent.alarms.registry import Alarms
from agent.model import NAN, Device, Group, Kind, Point, Reading

TICK_S = 0.5
CHANGES_S_MIN = 5.0  # a flood must not fill the log
REFRESH_S = 600.0

SUMMARY = (
    Point("alarms_active"),
    Point("alarms_unacknowledged"),
    Point("alarms_shelved"),
    Point("alarms_suppressed"),
    Point("alarms_priority", "", Kind.STATE, {0: "none", 1: "critical", 2: "high", 3: "medium", 4: "low"}),
)
_STATES = {code: state.value for state, code in CODES.items()}


class AlarmPoints:
    """Publishes `groups` when something changed, at most every CHANGES_S_MIN, and every REFRESH_S.

    `tick` is called every TICK_S: what must look at the clock hangs on it.
    """

    def __init__(
        self,
        alarms: Alarms,
        publish: Callable[[Sequence[Reading]], None],
        tick: Callable[[], None],
        *,
        now_s: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._alarms, self._publish, self._tick = alarms, publish, tick
        self._now_s, self._clock = now_s, clock
        self._names = [alarm.id for alarm in alarms.known]
        device = Device("agent", "uicps-agent")
        points = tuple(Point(point_name(name), "", Kind.STATE, _STATES) for name in self._names)
        self.groups = [Group(device, "alarms", SUMMARY, 0)]
        if points:
            self.groups.append(Group(device, "alarm_states", points, 0))
        self._last: tuple[float, ...] | None = None
        self._last_s = float("-inf")

    async def run(self) -> None:
        """Tick and publish, for ever."""
        while True:
            self._tick()
            self.look()
            await asyncio.sleep(TICK_S)

    def look(self) -> None:
        """Publish if it is time to."""
        summary, states = self._summary(), self._states()
        values, since_s = (*summary, *states), self._clock() - self._last_s
        if since_s < (REFRESH_S if values == self._last else CHANGES_S_MIN):
            return
        self._last, self._last_s = values, self._clock()
        time_ms = round(self._now_s() * 1000)
        parts = zip(self.groups, (summary, states), strict=False)
        self._publish([Reading(group, time_ms, part) for group, part in parts])

    def _summary(self) -> tuple[float, ...]:
        counts = self._alarms.counts
        unseen = counts[State.UNACKNOWLEDGED] + counts[State.RETURNED]
        active = counts[State.UNACKNOWLEDGED] + counts[State.ACKNOWLEDGED] + self._alarms.left_out
        return (active, unseen, counts[State.SHELVED], counts[State.SUPPRESSED], self._worst())

    def _worst(self) -> float:
        raised = [alarm.priority.rank for alarm in self._alarms.active() if alarm.raised and not alarm.hidden]
        return min(raised, default=0)

    def _states(self) -> tuple[float, ...]:
        found = (self._alarms.get(name) for name in self._names)
        return tuple(float(CODES[alarm.state]) if alarm else NAN for alarm in found)


def point_name(name: str) -> str:
    """`overvoltage.high` as `alarm_overvoltage-high`."""
    return f"alarm_{name.replace('.', '-')}"
