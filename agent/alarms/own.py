"""The agent's own troubles as alarms: lines, devices, uplinks, store, disk, clock, card, commands, outlets.

Rules.
1. What is found is a pure function of the agent's status; a delay keeps a hiccup from being an alarm.
2. What is not known (None) raises nothing and clears nothing.
3. A dead line explains its devices: they are suppressed while it lasts.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from agent.alarms import card
from agent.alarms.alarm import Alarm
from agent.alarms.conditions import Delay
from agent.alarms.options import AlarmsOptions
from agent.alarms.registry import Alarms
from agent.alarms.texts import own_alarm
from agent.model import Group, Quality, Reading

LOOK_S = 5.0
WELL_S = 5.0  # well for so long: over
OUTLET_DEAD_S = 1800.0
DISCARDED_QUIET_S = 600.0
TREND_SAMPLES = 24
DISK_HYSTERESIS = 1.1
GONE = ("released", "expired")
COMMANDS_MAX = 10_000


class Place(NamedTuple):
    """What is looked at outside of the status: `free_mb` of the disk, NaN if it cannot be had."""

    free_mb: float
    card: card.Card | None


class Found(NamedTuple):
    """What is the matter with one thing. `after_s` is how long it must last."""

    alarm: Alarm
    says: bool | None
    after_s: float = 0.0
    detail: str = ""


class CommandLike(Protocol):
    """What is read of a command of Dispatch."""

    @property
    def point(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Own:
    """`status` is the agent's, `latest` the Hub's image, `lines` the devices of each line, all asked anew."""

    def __init__(
        self,
        alarms: Alarms,
        options: AlarmsOptions,
        status: Callable[[], Mapping[str, Any]],
        latest: Mapping[Group, Reading],
        *,
        lines: Callable[[], Mapping[str, Sequence[str]]],
        folder: Path,
        outlets: Callable[[], Mapping[str, int]] = dict,
        card_endurance_tb: float = 0.0,  # 0: not known, no forecast
        clock: Callable[[], float] = time.monotonic,
        uptime_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._alarms, self._options, self._status, self._latest = alarms, options, status, latest
        self._lines, self._folder, self._outlets = lines, folder, outlets
        self._card_endurance_tb = card_endurance_tb
        self._clock, self._uptime_s = clock, uptime_s
        self._delays: dict[str, Delay] = {}
        self._trends: dict[str, _Trend] = {}
        self._commands: dict[str, tuple[bool, str]] = {}
        self._discarded = -1
        self._declared: set[str] = set()

    async def run(self) -> None:
        """Look every LOOK_S, for ever."""
        while True:
            self.look(await asyncio.to_thread(self._place))
            await asyncio.sleep(LOOK_S)

    def _place(self) -> Place:
        try:
            free_mb = shutil.disk_usage(self._folder).free / 1e6
        except OSError:
            free_mb = float("nan")
        return Place(free_mb, card.look(self._folder))

    def names(self) -> set[str]:
        """The ids of the alarms it watches, as the configuration is now."""
        self._declare()
        return {each.alarm.id for each in self._found(Place(float("nan"), None), peek=True)}

    def look(self, place: Place) -> None:
        """One look at everything; to be called every few seconds."""
        self._declare()
        for found in self._found(place):
            self._step(found)

    def heard(self, command: CommandLike) -> None:
        """A listener of Dispatch: a command that is refused for long is an alarm."""
        if command.state == "failed" and len(self._commands) < COMMANDS_MAX:
            self._commands[command.point] = True, command.reason
        elif command.point in self._commands and (command.state == "written" or command.state in GONE):
            self._commands[command.point] = False, ""

    def refused(self, code: str, text: str) -> None:
        """What the server tells of attacks: `alarm` of Server."""
        kind, _, name = code.partition(".")
        self._alarms.happened(own_alarm(kind, name), detail=text)

    def _declare(self) -> None:
        for line, devices in self._lines().items():
            for device in devices:
                if (alarm := own_alarm("device", device)).id not in self._declared:
                    self._declared.add(alarm.id)
                    self._alarms.declare(alarm, (own_alarm("line", line).id,))

    def _step(self, found: Found) -> None:
        name = found.alarm.id
        delay = self._delays.get(name)
        if delay is None:
            delay = Delay(found.after_s, min(WELL_S, found.after_s), raised=self._alarms.is_raised(name))
            self._delays[name] = delay
        if not delay.step(found.says, self._clock()):
            return
        if delay.raised:
            self._alarms.raise_alarm(found.alarm, detail=found.detail)
        else:
            self._alarms.clear(name)

    def _found(self, place: Place, *, peek: bool = False) -> Iterator[Found]:
        status, options = self._status(), self._options
        for line in status.get("lines", ()):
            yield Found(own_alarm("line", line["name"]), bool(line["failing"]), options.line_dead_s)
        yield from self._devices()
        for uplink in status.get("uplinks", ()):
            yield self._backlog(uplink["name"], uplink["backlog"], peek=peek)
        yield from self._store(status.get("store", {}))
        trusted = status.get("clock_trusted")
        says = None if trusted is None else not trusted
        yield Found(own_alarm("clock"), says, options.clock_untrusted_s)
        yield self._disk(place.free_mb)
        worn, text = card.worn(place.card, self._uptime_s(), self._card_endurance_tb, options.card_years_min)
        yield Found(own_alarm("card"), worn, 0.0, text)
        for point, (says, reason) in tuple(self._commands.items()):
            yield Found(own_alarm("command", point), says, options.command_refused_s, reason)
        for outlet, failures in self._outlets().items():
            yield Found(own_alarm("outlet", outlet), failures > 0, OUTLET_DEAD_S)

    def _devices(self) -> Iterator[Found]:
        """A device of which every group is bad does not answer; one not heard of yet is not known."""
        bad: dict[str, bool] = {}
        for group, reading in self._latest.items():
            is_bad = reading.quality is Quality.BAD
            bad[group.device.name] = bad.get(group.device.name, True) and is_bad
        for devices in self._lines().values():
            for device in devices:
                yield Found(own_alarm("device", device), bad.get(device), self._options.device_dead_s)

    def _backlog(self, name: str, backlog: int, *, peek: bool) -> Found:
        alarm = own_alarm("backlog", name)
        if peek:
            return Found(alarm, None)
        trend = self._trends.setdefault(name, _Trend(self._options.backlog_window_s))
        trend.add(self._clock(), backlog)
        raised = self._alarms.is_raised(alarm.id)
        says = trend.grows(self._options.backlog_readings, raised=raised)
        return Found(alarm, says, 0.0, f"{backlog}")

    def _store(self, store: Mapping[str, Any]) -> Iterator[Found]:
        yield Found(own_alarm("store-failing"), bool(store.get("failing")), 10.0)
        discarded = int(store.get("discarded_unsent", 0))
        if self._discarded < 0:  # what was given up in earlier runs was said there, but for what a kill took
            self._discarded = discarded - int(store.get("lost_by_kill", 0))
        if self._discarded < discarded:
            text = f"{discarded - self._discarded}"
            self._alarms.happened(own_alarm("store-discarding"), detail=text, lasts_s=DISCARDED_QUIET_S)
        self._discarded = discarded

    def _disk(self, free_mb: float) -> Found:
        alarm = own_alarm("disk")
        limit_mb = self._options.disk_free_mb * (DISK_HYSTERESIS if self._alarms.is_raised(alarm.id) else 1)
        known = free_mb == free_mb  # noqa: PLR0124 - not NaN
        return Found(alarm, free_mb < limit_mb if known else None, 0.0, f"{free_mb:.0f} MB")


class _Trend:
    """Whether a backlog only grows: everything in the newer half of the window is above all of the older."""

    def __init__(self, window_s: float) -> None:
        self._step_s = window_s / TREND_SAMPLES
        self._samples: deque[int] = deque(maxlen=TREND_SAMPLES)
        self._next_s = float("-inf")

    def add(self, now_s: float, backlog: int) -> None:
        if now_s >= self._next_s:
            self._next_s = now_s + self._step_s
            self._samples.append(backlog)

    def grows(self, least: int, *, raised: bool) -> bool | None:
        """None: not watched for long enough. Once raised it is over when it is small, or clearly shrinks."""
        samples = list(self._samples)
        if samples and samples[-1] < least:
            return False
        if len(samples) < TREND_SAMPLES:
            return None
        older, newer = samples[: TREND_SAMPLES // 2], samples[TREND_SAMPLES // 2 :]
        return max(newer) >= min(older) if raised else min(newer) > max(older)
