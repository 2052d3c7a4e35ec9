"""Lines on which devices speak by themselves: who was heard, who is silent, what was refused.

Rules.
1. A device that is not heard for its `silence_s` is published as bad, and again whenever as long has passed.
2. Of each kind of trouble the first is said in the log, all are counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from agent.drivers.command import ReadOnly
from agent.drivers.profile import DeviceOptions, PointOptions
from agent.model import NAN, Device, Group, Reading
from agent.supervise import Episode

log = logging.getLogger(__name__)

Publish = Callable[[Sequence[Reading]], None]
Gone = asyncio.Future[None]


class DeclaredGroup(Protocol):
    """What any profile says of a group."""

    @property
    def name(self) -> str: ...
    @property
    def point(self) -> Sequence[PointOptions]: ...


class Voice:
    """Groups of a device that are heard, and fall silent, together; `where` names them in the log."""

    def __init__(self, where: str, groups: Sequence[Group], silence_s: float) -> None:
        self.groups, self._silence_s = groups, silence_s
        self._trouble = Episode(log, where)
        self._heard_s = 0.0

    def awaited(self, now_s: float) -> None:
        """It may speak from now on."""
        self._heard_s = now_s

    def heard(self, now_s: float) -> None:
        """It spoke."""
        self._heard_s = now_s
        self._trouble.ended()

    def is_silent(self, now_s: float) -> bool:
        """Whether it should have spoken by now; true once in `silence_s`."""
        if now_s - self._heard_s <= self._silence_s:
            return False
        self._heard_s = now_s
        self._trouble.failed(f"nothing heard for {self._silence_s:g} s")
        return True


class Speaker:
    """A device that speaks by itself: its groups, each with a voice of its own or all `together`."""

    def __init__(
        self,
        options: DeviceOptions,
        declared: Iterable[DeclaredGroup],
        silence_s: float,
        *,
        together: bool = False,
        interval_ms: Callable[[int], int] = lambda at: 0,
    ) -> None:
        """`interval_ms` is asked for that of the group at each place; 0: the device decides."""
        device, where = Device(options.name, options.profile, options.label), f"device {options.name}"
        self.name = options.name
        self.groups = [
            Group(device, group.name, tuple(point.point() for point in group.point), interval_ms(at))
            for at, group in enumerate(declared)
        ]
        if together:
            self.voices = [Voice(where, self.groups, silence_s)]
        else:
            self.voices = [Voice(f"{where}, group {each.name}", [each], silence_s) for each in self.groups]
        self.counters: Counter[str] = Counter()
        self._missing = Episode(log, where)

    def lacks(self, points: Sequence[str]) -> None:
        """Count, and say once, that values of the profile do not come; those that do are good."""
        self.counters["missing_point"] += len(points)
        self._missing.failed(f"does not send {', '.join(points)[:80]}, which its profile has")


class Listening(ReadOnly, ABC):
    """What drivers of such lines share; each says how its line is `_opened`, and left when `run` ends."""

    def __init__(
        self,
        name: str,
        where: str,
        speakers: Sequence[Speaker],
        *,
        now_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
        tick_s: float = 1.0,
    ) -> None:
        """`where` says to people what is listened to; each `tick_s` it is looked who is silent."""
        self.name, self._where = name, where
        self.counters: Counter[str] = Counter()
        self.episode = Episode(log, f"line {name} ({where})")
        self._now_s, self._monotonic_s, self._tick_s = now_s, monotonic_s, tick_s
        self._speakers, self._is_open = speakers, False
        self._refusals: dict[str, Episode] = {}

    @property
    def groups(self) -> Sequence[Group]:
        return [group for speaker in self._speakers for group in speaker.groups]

    @property
    def stretch(self) -> float:
        """NaN: the devices decide when they speak."""
        return NAN

    def statistics(self) -> dict[str, Any]:
        """Plain data for people: what became of what was heard, of the line and of each device."""
        return {
            "line": self.name,
            "where": self._where,
            "connected": self._is_open,
            "counters": dict(self.counters),
            "devices": {speaker.name: dict(speaker.counters) for speaker in self._speakers},
        }

    @abstractmethod
    def _opened(self, publish: Publish) -> AbstractAsyncContextManager[Gone]:
        """The line, open: what comes is published, what ends it ends `gone`. OSError: it cannot be had."""

    def _fell_silent(self) -> None:
        """Called when a device fell silent."""

    async def run(self, publish: Publish) -> None:
        """Listen until the line is gone; OSError then, and if it cannot be had."""
        async with self._opened(publish) as gone:
            for speaker in self._speakers:
                for voice in speaker.voices:
                    voice.awaited(self._monotonic_s())
            self._is_open = True
            try:
                while not gone.done():
                    await asyncio.wait([gone], timeout=self._tick_s)
                    self._look(publish)
                gone.result()
            finally:
                self._is_open = False

    def _look(self, publish: Publish) -> None:
        now_s = self._monotonic_s()
        voices = [voice for speaker in self._speakers for voice in speaker.voices]
        if silent := [group for voice in voices if voice.is_silent(now_s) for group in voice.groups]:
            publish(self._bad(silent))
            self._fell_silent()

    def _bad(self, groups: Iterable[Group]) -> list[Reading]:
        return [group.bad(self._now_ms()) for group in groups]

    def _now_ms(self) -> int:
        return round(self._now_s() * 1000)

    def _refused(self, counter: str, text: str) -> None:
        """Say the first of what is counted as `counter`."""
        episode = self._refusals.setdefault(counter, Episode(log, f"line {self.name}"))
        episode.failed(f"{text} (others like it: counter '{counter}')")
