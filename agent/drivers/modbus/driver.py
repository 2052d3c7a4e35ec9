"""A Modbus line: its devices read on schedule, their points written between reads, its traffic counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from agent.drivers.command import WriteFailed
from agent.drivers.modbus.connect import open_link
from agent.drivers.modbus.link import Link
from agent.drivers.modbus.options import ModbusDeviceOptions, ModbusLineOptions
from agent.drivers.modbus.pdu import MalformedError, RefusedError
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.modbus.reading import RECHECK_S, GroupReader
from agent.drivers.modbus.turns import BusyError
from agent.drivers.modbus.unit import Unit
from agent.drivers.modbus.writing import Target
from agent.drivers.poll import Job, Poller
from agent.model import Group, Quality, Reading
from agent.supervise import Episode, describe

log = logging.getLogger(__name__)


class ModbusLine:
    """Drivers `modbus-tcp`, `modbus-rtu`, `modbus-rtu-tcp`; `run` is entered again after every loss."""

    def __init__(
        self,
        options: ModbusLineOptions,
        profiles: Mapping[str, ModbusProfile],
        *,
        now_s: Callable[[], float] = time.time,
        recheck_s: float = RECHECK_S,
    ) -> None:
        self.name = options.name
        self.counters: Counter[str] = Counter()
        self.episode = Episode(log, f"line {options.name} ({options.where})")
        self._options, self._now_s, self._recheck_s = options, now_s, recheck_s
        self._link: Link | None = None
        self._down = "not connected yet"
        self._units: dict[str, Unit] = {}
        self._targets: dict[tuple[str, str], Target] = {}
        self._jobs: list[Job[GroupReader]] = []
        for device in options.device:
            self._add(device, profiles[device.profile])
        self._poller = Poller(self._jobs, now_s=now_s)

    def _add(self, options: ModbusDeviceOptions, profile: ModbusProfile) -> None:
        unit = Unit(options, profile, self._options.timeout_s, self.counters)
        self._units[options.name] = unit
        for declared in profile.group:
            interval_ms = round((options.interval_s or declared.interval_s) * 1000)
            points = tuple(point.point(options.fallback.get(point.name)) for point in declared.point)
            group = Group(unit.device, declared.name, points, interval_ms)
            reader = GroupReader(unit, group, profile, declared, recheck_s=self._recheck_s, now_s=self._now_s)
            self._jobs.append(Job(group, reader, unit.patience))
            for point in declared.point:
                if point.writable:
                    self._targets[options.name, point.name] = Target(unit, profile, point)

    @property
    def groups(self) -> Sequence[Group]:
        return [job.group for job in self._jobs]

    @property
    def stretch(self) -> float:
        """How much longer than configured the periods are: 1.0 as configured, 2.0 half as often."""
        return self._poller.stretch

    async def run(self, publish: Callable[[Sequence[Reading]], None]) -> None:
        """Poll until the line is lost (OSError); all groups are then published as bad."""

        def well(readings: Sequence[Reading]) -> None:
            if readings[0].quality is not Quality.BAD:
                self.episode.ended()
            publish(readings)

        for job in self._jobs:
            job.how.reset()
        try:
            self._link = link = await open_link(self._options)
            self.counters["connections"] += 1
            for unit in self._units.values():
                unit.patience.rest_s_min = link.late_s(unit.timeout_s)
            await self._poller.run(lambda job: job.how.read(link), well, sleep=link.sleep)
        except OSError as error:
            self._down = describe(error)
            raise
        finally:
            if self._link:
                self._link.close()
            self._link = None
            time_ms = round(self._now_s() * 1000)
            publish([group.bad(time_ms) for group in self.groups])

    async def write(self, device: str, point: str, value: float) -> None:
        """Write one point; returns when the device has confirmed it, and read it back if its profile says so.

        ValueError if the profile does not allow the value (nothing was sent), else WriteFailed with the
        reason; always within a bounded time.
        """
        target = self._targets.get((device, point))
        if target is None:
            raise WriteFailed(f"{device}.{point}: not a writable point of line {self.name}")
        target.check(value)
        if self._link is None:
            raise WriteFailed(f"{device}.{point}: line {self.name} is down: {self._down}")
        self.counters["writes"] += 1
        try:
            async with asyncio.timeout(target.seconds_max):
                await target.write(self._link, value)
        except (OSError, RefusedError, MalformedError, BusyError, WriteFailed) as error:
            self.counters["failed_writes"] += 1
            text = f"{device}.{point}: {describe(error)}"
            raise WriteFailed(text, unknown=isinstance(error, OSError)) from error

    def tap(self, heard: Callable[[str, bytes, bytes], None]) -> None:
        """From now on tell `heard` every device, question and checked answer (PDUs), for people to see."""
        for name, unit in self._units.items():
            unit.tap = partial(heard, name)

    def statistics(self) -> dict[str, Any]:
        """Plain data for people: the line's load (0 to 1) and stretch, and each device's traffic."""
        return {
            "line": self.name,
            "where": self._options.where,
            "connected": self._link is not None,
            "down": "" if self._link else self._down,
            "busy": round(self._link.load.share(time.monotonic()), 4) if self._link else 0.0,
            "stretch": round(self.stretch, 3),
            "counters": dict(self.counters),
            "devices": {name: self._device_statistics(unit) for name, unit in self._units.items()},
        }

    def _device_statistics(self, unit: Unit) -> dict[str, Any]:
        readers = [job.how for job in self._jobs if job.how.unit is unit]
        put_off = {
            "refused": [name for reader in readers for name in reader.refused],
            "unanswered": [name for reader in readers for name in reader.unanswered],
        }
        silent = unit.patience.failures
        return {"unit_id": unit.unit_id, "silent": silent} | put_off | unit.traffic.as_data()
