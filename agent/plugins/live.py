"""What a plug-in sees and does in the running agent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping

from agent.dispatch import Dispatch, Priority
from agent.dispatch import Refused as CommandRefused
from agent.hub import Hub, Listener
from agent.model import NAN, Device, Group, Point, Quality, Reading
from agent.plugins.author import Refused, Seen
from agent.plugins.outline import Outline
from agent.schedule.job import Alert
from agent.schedule.options import slug
from agent.store import Store

DEVICE = Device("analysis", "uicps-agent")


def group_of(name: str, found: Outline) -> Group | None:
    """The group that a plug-in publishes, `analysis.<name>_...`; None if it publishes nothing."""
    points = tuple(Point(f"{slug(name)}_{each}", unit) for each, unit in found.publishes.items())
    return Group(DEVICE, f"plugin-{name}", points, 0) if points else None


class Doors:
    """The parts of the agent that plug-ins reach, through `LiveSites` only."""

    def __init__(
        self,
        hub: Hub,
        store: Store,
        dispatch: Dispatch,
        publish: Listener,
        *,
        alarm: Callable[[Alert], None],
        now_s: Callable[[], float],
    ) -> None:
        self.hub, self.store, self.dispatch = hub, store, dispatch
        self.publish, self.alarm, self.now_s = publish, alarm, now_s
        self._places: dict[str, tuple[Group, int]] = {}

    def place(self, point: str) -> tuple[Group, int]:
        """The group of `point` and its place there. Refused: there is none."""
        if point not in self._places:
            self._places = {
                name: (group, at) for group in self.hub.groups for at, name in enumerate(group.point_ids)
            }
        if point not in self._places:
            raise Refused(f"{point}: there is no such point")
        return self._places[point]


class LiveSites:
    """One plug-in's view. `may_write` are the points it may submit commands for."""

    def __init__(self, doors: Doors, name: str, found: Outline, may_write: Collection[str] = ()) -> None:
        self.doors, self.name, self.outline = doors, name, found
        self.may_write = frozenset(may_write)
        self.group = group_of(name, found)

    def at(self, time_ms: int) -> _LiveSite:
        return _LiveSite(self, time_ms)


class _LiveSite:
    def __init__(self, sites: LiveSites, time_ms: int) -> None:
        self._doors, self._name, self._outline = sites.doors, sites.name, sites.outline
        self._group, self._may_write, self._time_ms = sites.group, sites.may_write, time_ms

    async def latest(self, point: str) -> Seen:
        group, at = self._doors.place(point)
        reading = self._doors.hub.latest.get(group)
        if reading is None:
            return Seen(NAN, 0, good=False)
        return Seen(reading.values[at], reading.time_ms, reading.quality is Quality.GOOD)

    def history(
        self, point: str, period_ms: tuple[int, int], step_ms: int
    ) -> AsyncGenerator[tuple[int, bytes], None]:
        self._doors.place(point)
        return self._doors.store.told("agent.plugins.rows:rows", [point], period_ms, step_ms)

    def publish(self, at_ms: int | None, values: dict[str, float]) -> None:
        check_published(self._outline, values)
        now_ms = round(self._doors.now_s() * 1000)
        time_ms = self._time_ms if at_ms is None else at_ms
        if time_ms > now_ms:
            raise Refused(f"publish: expected a time that is not in the future, found {time_ms}")
        if self._group is not None:
            row = [values.get(name, NAN) for name in self._outline.publishes]
            self._doors.publish([Reading(self._group, time_ms, row)])

    def alarm(self, name: str, *, raised: bool, detail: str, value: float) -> None:
        text_pt, text_en = alarm_texts(self._outline, name)
        source = f"plugin {self._name}"
        alert = f"plugin.{self._name}.{name}"
        self._doors.alarm(Alert(alert, raised, text_pt, text_en, detail, value, source))

    def submit(self, point: str, value: float, lease_s: float) -> None:
        if point not in self._may_write:
            raise Refused(f"{point}: not among the points that {self._name} may write (may_write)")
        try:
            self._doors.dispatch.submit(point, value, Priority.ANALYSIS, f"plugin {self._name}", lease_s)
        except CommandRefused as refused:
            raise Refused(str(refused)) from None


def check_published(found: Outline, values: Mapping[str, float]) -> None:
    """Refused: it publishes what it has not said that it would."""
    unknown = [name for name in values if name not in found.publishes]
    if unknown:
        known = ", ".join(found.publishes) or "nothing"
        raise Refused(f"publish: expected names of @plugin(publishes=...) ({known}), found {unknown[0]}")


def alarm_texts(found: Outline, name: str) -> tuple[str, str]:
    """Its texts in Portuguese and English. Refused: it has not said that there is such an alarm."""
    if name not in found.alarms:
        known = ", ".join(found.alarms) or "none"
        raise Refused(f"alarm: expected a name of @plugin(alarms=...) ({known}), found {name}")
    return found.alarms[name]
