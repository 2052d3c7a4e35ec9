"""What is known now, and the one place where it becomes known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from agent.model import Device, Group, Quality, Reading

Listener = Callable[[Sequence[Reading]], None]


class Hub:
    """Holds the latest reading of every group and tells each listener, in turn, of new ones.

    `publish` is a plain call: no await, no queue. A listener files the readings away and works at
    its own pace in its own task; one that raises is a bug and ends the process.
    """

    def __init__(self, groups: Iterable[Group] = ()) -> None:
        self._groups = {(group.device.name, group.name): group for group in groups}
        self._latest: dict[Group, Reading] = {}
        self._listeners: list[Listener] = []
        self.published_readings = 0
        self.published_values = 0

    @property
    def groups(self) -> Sequence[Group]:
        """Every group the configuration declares, in its order."""
        return list(self._groups.values())

    @property
    def devices(self) -> Sequence[Device]:
        """Every device, once."""
        return list({group.device.name: group.device for group in self._groups.values()}.values())

    def declare(self, *groups: Group) -> None:
        """Add groups that are not on a line (the agent's own, an analysis)."""
        self._groups |= {(group.device.name, group.name): group for group in groups}

    def forget(self, group: Group) -> None:
        """Its device is gone: it is no longer among the groups, nor in the image."""
        if self._groups.get((group.device.name, group.name)) is group:
            del self._groups[group.device.name, group.name]
        self._latest.pop(group, None)

    @property
    def latest(self) -> Mapping[Group, Reading]:
        """The newest reading of each group that has had one (a live view, not a copy)."""
        return MappingProxyType(self._latest)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every batch from now on; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def restamp(self, shift_ms: int) -> None:
        """Shift the image: its readings were stamped with a clock that is known better now."""
        for group, reading in self._latest.items():
            self._latest[group] = reading._replace(time_ms=reading.time_ms + shift_ms)

    def publish(self, readings: Sequence[Reading]) -> None:
        """Make `readings` known: the image first, then each listener in the order it came."""
        for reading in readings:
            newest = self._latest.get(reading.group)
            # A module may deliver old readings late; they are history, not the present. That nothing is
            # available any more is always the present.
            late = newest is not None and reading.time_ms < newest.time_ms
            if not late or reading.quality is Quality.BAD:
                self._latest[reading.group] = reading
            self.published_values += len(reading.values)
        self.published_readings += len(readings)
        for listener in tuple(self._listeners):
            listener(readings)
