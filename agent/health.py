"""How the agent itself is doing, as readings like any other (`agent.*`), and as one status for people."""

from __future__ import annotations

import asyncio
import math
import re
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.clock import Clock
from agent.drivers import Driver
from agent.hub import Hub, Listener
from agent.model import NAN, Device, Group, Kind, Point, Quality, Reading
from agent.store import Store
from agent.store.state import StoreState
from agent.uplink import Uplink

LAG_PROBE_S = 0.5
LAG_HEALTHY_MS_MAX = 2000.0

POINTS = (
    Point("readings_per_s", "1/s"),
    Point("values_per_s", "1/s"),
    Point("stored", "readings", Kind.TOTAL),
    Point("uncommitted", "readings"),
    Point("store_size", "MB"),
    Point("discarded", "readings", Kind.TOTAL),
    Point("backlog", "readings"),
    Point("uplinks_connected"),
    Point("loop_lag_max", "ms"),
    Point("memory", "MB"),
    Point("uptime", "s", Kind.TOTAL),
    Point("backlog_per_s", "1/s"),
    Point("backlog_left", "s"),
)
YES_NO = {0: "no", 1: "yes"}
LINE_COUNTERS = ("requests", "timeouts", "crc_errors", "strays", "exceptions")
SLUG_CHARS_MAX = 44  # of a line's name in its points: names of points have at most 64 characters
STATISTICS_S = 1.0  # status is asked without a login too: it must stay cheap


class Health:
    """Watches the event loop and sums up hub, store, lines and uplinks."""

    def __init__(
        self,
        publish: Listener,
        hub: Hub,
        store: Store,
        lines: Sequence[Driver],
        uplinks: Sequence[Uplink],
        *,
        interval_s: float,
        clock: Clock,
        troubles: Callable[[], list[str]] = list,
        control: Callable[[], Mapping[str, Any]] = dict,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish, self._stamps, self._troubles, self._control = publish, clock, troubles, control
        self._hub, self._store, self._lines, self._uplinks = hub, store, lines, uplinks
        self._interval_s, self._clock = interval_s, monotonic
        self.group = Group(Device("agent", "uicps-agent"), "health", POINTS, round(interval_s * 1000))
        self._line_groups = line_groups(lines, self.group)
        self._statistics: list[dict[str, Any]] = []
        self._statistics_until_s = -math.inf
        self._started_s = monotonic()
        self._lag_ms_max = self.lag_ms = 0.0
        self._rates = _Rates(self._started_s)

    def relist(self) -> None:
        """The lines have changed."""
        for group in self._line_groups:
            self._hub.forget(group)
        self._line_groups = line_groups(self._lines, self.group)
        self._hub.declare(*self._line_groups)
        self._statistics_until_s = -math.inf

    @property
    def groups(self) -> Sequence[Group]:
        """Every group that is published: the agent's own, and one for each line."""
        return [self.group, *self._line_groups]

    async def run(self) -> None:
        """Publish readings every interval, for ever."""
        due_s = self._clock() + self._interval_s
        while True:
            before_s = self._clock()
            await asyncio.sleep(LAG_PROBE_S)
            self.lag_ms = (self._clock() - before_s - LAG_PROBE_S) * 1000
            self._lag_ms_max = max(self._lag_ms_max, self.lag_ms)
            self._rates.update(self._clock(), self._hub)
            if self._clock() >= due_s:
                due_s += self._interval_s
                self._publish([self._reading(), *self._line_readings()])
                self._lag_ms_max = 0.0

    def _reading(self) -> Reading:
        state = self._store.state
        values = (
            round(self._rates.readings_per_s, 1),
            round(self._rates.values_per_s, 1),
            float(state.committed_seq),
            float(state.last_seq - state.committed_seq),
            state.file_bytes / 1e6,
            float(state.discarded_sent + state.discarded_unsent),
            float(self._backlog()),
            float(sum(uplink.state.connected for uplink in self._uplinks)),
            round(self._lag_ms_max, 1),
            memory_mb(),
            float(round(self._clock() - self._started_s)),
            *self._draining(),
        )
        return Reading(self.group, round(self._stamps.now_s() * 1000), values, Quality.GOOD)

    def _line_readings(self) -> list[Reading]:
        time_ms = round(self._stamps.now_s() * 1000)
        return [
            Reading(group, time_ms, line_values(line, statistics), Quality.GOOD)
            for group, line, statistics in zip(
                self._line_groups, self._lines, self._line_statistics(), strict=True
            )
        ]

    def _line_statistics(self) -> list[dict[str, Any]]:
        """What the lines say of themselves, at most STATISTICS_S old."""
        now_s = self._clock()
        if now_s >= self._statistics_until_s:
            self._statistics = [line.statistics() for line in self._lines]
            self._statistics_until_s = now_s + STATISTICS_S
        return self._statistics

    def _draining(self) -> tuple[float, float]:
        """Of the uplink with the longest way to go: how fast its backlog goes, and for how long still; not
        available while nobody can know."""
        states = [uplink.state for uplink in self._uplinks]
        last = max(states, key=lambda state: math.inf if state.eta_s is None else state.eta_s, default=None)
        if last is None:
            return 0.0, 0.0
        return last.backlog_per_s, NAN if last.eta_s is None else last.eta_s

    def _backlog(self) -> int:
        return max((uplink.state.backlog for uplink in self._uplinks), default=0)

    def summary(self) -> str:
        """All of it in one line, for `systemctl status`."""
        failing = sum(line.episode.failures > 0 for line in self._lines)
        connected = sum(uplink.state.connected for uplink in self._uplinks)
        parts = [
            f"{len(self._lines) - failing}/{len(self._lines)} lines well",
            f"{connected}/{len(self._uplinks)} uplinks connected",
            f"{self._rates.values_per_s:.0f} values/s",
            f"{self._backlog()} readings to deliver",
        ]
        parts += [_failure(self._store.state)] if self._store.state.failing else []
        parts += [] if self._stamps.trusted else ["clock not trusted yet"]
        return ", ".join(parts)

    def status(self) -> Mapping[str, Any]:
        """All of it by name, for the page, the CLI and a probe; `healthy` is false with `reasons`."""
        state = self._store.state
        reasons = [_failure(state)] if state.failing else []
        if self._lag_ms_max > LAG_HEALTHY_MS_MAX:
            reasons.append(f"the event loop was held up for {self._lag_ms_max:.0f} ms")
        reasons += self._troubles()
        return {
            "healthy": not reasons,
            "reasons": reasons,
            "clock_trusted": self._stamps.trusted,
            "held_readings": state.held,
            "uptime_s": round(self._clock() - self._started_s),
            "readings_per_s": round(self._rates.readings_per_s, 1),
            "values_per_s": round(self._rates.values_per_s, 1),
            "stored_readings": state.committed_seq,
            "forwarded_readings": sum(uplink.state.delivered_readings for uplink in self._uplinks),
            "backlog_readings": self._backlog(),
            "store": state._asdict(),
            "uplinks": [uplink.state._asdict() for uplink in self._uplinks],
            "lines": [
                {"name": line.name, "failing": line.episode.failures > 0} | statistics
                for line, statistics in zip(self._lines, self._line_statistics(), strict=True)
            ],
            "control": self._control(),
        }


def _failure(state: StoreState) -> str:
    if state.in_memory:
        return f"the readings are in memory only: {state.in_memory}"
    return "the store cannot commit"


def line_groups(lines: Sequence[Driver], own: Group) -> list[Group]:
    """A group of the agent's own device for each line: `agent.line_<name>_stretch` and so on.

    Point names are small letters, digits and "_": of names that differ in nothing else, later ones get a
    number.
    """
    groups, taken = [], set[str]()
    for line in lines:
        word = slug = re.sub(r"[^a-z0-9]+", "_", line.name.lower())[:SLUG_CHARS_MAX]
        at = 1
        while slug in taken:
            at += 1
            slug = f"{word}_{at}"
        taken.add(slug)
        groups.append(Group(own.device, f"line-{line.name}", _line_points(line, slug), own.interval_ms))
    return groups


def _line_points(line: Driver, slug: str) -> tuple[Point, ...]:
    points = [Point(f"line_{slug}_failing", kind=Kind.STATE, states=YES_NO)]
    if not math.isnan(line.stretch):
        points += [Point(f"line_{slug}_stretch"), Point(f"line_{slug}_busy", "%")]
        points += [Point(f"line_{slug}_{counter}", kind=Kind.TOTAL) for counter in LINE_COUNTERS]
    return tuple(points)


def line_values(line: Driver, statistics: Mapping[str, Any]) -> list[float]:
    """The values of a line's group; only lines that are polled have more than `failing`."""
    values = [float(line.episode.failures > 0)]
    if not math.isnan(line.stretch):
        values += [round(line.stretch, 3), round(100 * statistics.get("busy", NAN), 1)]
        values += [float(line.counters[counter]) for counter in LINE_COUNTERS]
    return values


class _Rates:
    """Readings and values a second, over the last few seconds."""

    SPAN = 6

    def __init__(self, now_s: float) -> None:
        self._marks: list[tuple[float, int, int]] = [(now_s, 0, 0)]
        self.readings_per_s = self.values_per_s = 0.0

    def update(self, now_s: float, hub: Hub) -> None:
        self._marks.append((now_s, hub.published_readings, hub.published_values))
        del self._marks[: -self.SPAN]
        (from_s, readings, values), (to_s, readings_now, values_now) = self._marks[0], self._marks[-1]
        span_s = max(to_s - from_s, 1e-3)
        self.readings_per_s = (readings_now - readings) / span_s
        self.values_per_s = (values_now - values) / span_s


def memory_mb() -> float:
    """What of this process is resident now, in MB; NaN if the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return NAN
    return round(pages * resource.getpagesize() / 1e6, 1)
