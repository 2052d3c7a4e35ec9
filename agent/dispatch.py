"""The one door for intentions: who may command a point, for how long, and what is written to it.

Rules.
1. A command is a lease: a value for a point, with a priority and an end. Whoever stops renewing stops
   commanding. The live command of strongest priority wins; of one priority, the newest.
2. What wins is written until the device confirms it, again after a failure with a growing wait. What
   is confirmed is not written again (flash wears out), unless a person asks once more, or a renewal
   comes when the last write is older than `REFRESH_S` (a device may have restarted). Who watches the
   device by itself says with `again` whether a renewal writes.
3. When the last lease on a point ends, and on `relinquish`, the point's fallback is written, if it has one.
4. A guard may delay a write (a compressor's rest) whoever asked for it: same door, same limits.
5. `submit` is a plain call and checks everything that can be known; `settled` waits for the outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.drivers.command import WriteFailed
from agent.model import Group, Point
from agent.supervise import Backoff, Episode

log = logging.getLogger(__name__)

LEASE_S_MIN, LEASE_S_MAX = 1.0, 7 * 86400.0
REFRESH_S = 300.0
WRITE_INTERVAL_S_MIN = 0.2
RELINQUISH_S_MAX = 5.0
ENDED_KEPT_MAX = 1000
SOURCE_CHARS_MAX = 128
RETRY = Backoff(first_s=1.0, most_s=60.0)

Write = Callable[[str, str, float], Awaitable[None]]
Guard = Callable[[str, float], float]


class Priority(enum.IntEnum):
    """Who wins, strongest first (a short form of BACnet's priority array)."""

    SAFETY = 1  # the agent's own protection of equipment and people
    MANUAL = 2  # a person: page, API, command line, the unit's own remote
    CENTRE = 3  # the central platform
    CONTROL = 4  # the control loop
    ANALYSIS = 5  # a rule or an analysis


PEOPLE = (Priority.SAFETY, Priority.MANUAL, Priority.CENTRE)


class State(enum.StrEnum):
    """What became of a command. `ACCEPTED` and `FAILED` are tried (again); the last three are the end."""

    ACCEPTED = "accepted"  # not yet written
    OUTRANKED = "outranked"  # a stronger command holds the point
    WRITTEN = "written"
    FAILED = "failed"
    REPLACED = "replaced"
    RELEASED = "released"
    EXPIRED = "expired"


ENDED = (State.REPLACED, State.RELEASED, State.EXPIRED)


class Refused(Exception):  # noqa: N818 - says what became of the command
    """A command that cannot be accepted, with the reason for the one who asked."""


@dataclass(frozen=True, slots=True)
class Command:
    """A lease on a point ("device.point"). `expires_s` is monotonic; `submitted_ms` is for people; `reason`
    says why it failed or waits, "" if there is nothing to say."""

    id: int
    point: str
    value: float
    priority: Priority
    source: str
    expires_s: float
    submitted_ms: int
    state: State = State.ACCEPTED
    reason: str = ""


def winner(commands: Iterable[Command], now_s: float) -> Command | None:
    """The live command of strongest priority, the newest of those; None: relinquish."""
    live = [command for command in commands if command.expires_s > now_s]
    return min(live, key=lambda command: (command.priority, -command.id), default=None)


class Dispatch:
    """The commands on every writable point of `groups`. `submit` at any time; keep `run` running.

    `write` is called with device, point and value, one call at a time for a device. `guard(point, value)`
    gives the seconds that a write must still wait, 0 if none. `listen` hears of every change of a command.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        write: Write,
        *,
        guard: Guard = lambda _point, _value: 0.0,
        clock: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._write, self._guard, self._clock, self._now_s = write, guard, clock, now_s
        self._ids = itertools.count(1)
        self._slots: dict[str, _Slot] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._keeping: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: deque[Command] = deque(maxlen=ENDED_KEPT_MAX)
        self._listeners: list[Callable[[Command], None]] = []
        self.learn(groups)

    def learn(self, groups: Iterable[Group]) -> None:
        """The writable points of `groups` can be commanded from now on."""
        for group in groups:
            for point in group.points:
                if point.writable is not None:
                    slot = _Slot(group.device.name, point)
                    self._slots[slot.id] = slot
                    self._turns.setdefault(slot.device, asyncio.Lock())
                    self._begin(slot)

    def _begin(self, slot: _Slot) -> None:
        if self._keeping is not None:
            self._tasks[slot.id] = self._keeping.create_task(self._keep(slot), name=f"dispatch {slot.id}")

    async def forget(self, devices: Collection[str]) -> None:
        """These go: their leases end, their fallbacks are written as far as that goes."""
        slots = [slot for slot in self._slots.values() if slot.device in devices]
        for slot in slots:
            del self._slots[slot.id]
            if (task := self._tasks.pop(slot.id, None)) is not None:
                task.cancel()
                await asyncio.wait([task])
        await self._relinquish(slots)
        for device in devices:
            self._turns.pop(device, None)

    # ---------------------------------------------------------------- asking

    @property
    def points(self) -> Mapping[str, Point]:
        """Every point that can be commanded, by id."""
        return {name: slot.point for name, slot in self._slots.items()}

    @property
    def commands(self) -> Sequence[Command]:
        """Every live command, oldest first."""
        live = (command for slot in self._slots.values() for command in slot.commands.values())
        return sorted(live, key=lambda command: command.id)

    @property
    def ended(self) -> Sequence[Command]:
        """Commands that are over, oldest first, the last `ENDED_KEPT_MAX`."""
        return list(self._ended)

    def winner(self, point: str) -> Command | None:
        """Who holds `point` now; None: nobody. KeyError if it cannot be commanded."""
        return winner(self._slots[point].commands.values(), self._clock())

    def left_s(self, command: Command) -> float:
        """How long the lease still holds."""
        return max(0.0, command.expires_s - self._clock())

    def listen(self, listener: Callable[[Command], None]) -> Callable[[], None]:
        """Call `listener` with each command that is new or changed; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # ---------------------------------------------------------------- commanding

    def submit(
        self,
        point: str,
        value: float,
        priority: Priority,
        source: str,
        lease_s: float,
        *,
        again: bool | None = None,
    ) -> Command:
        """Take a lease on `point`; the one of the same priority ends. Refused: says what was expected."""
        slot = self._slots.get(point)
        if slot is None:
            raise Refused(f"{point}: not a point that can be written")
        if not LEASE_S_MIN <= lease_s <= LEASE_S_MAX:
            raise Refused(f"{point}: lease: expected {LEASE_S_MIN:g} to {LEASE_S_MAX:g} s, found {lease_s:g}")
        if not source or len(source) > SOURCE_CHARS_MAX:
            raise Refused(f"{point}: source: expected 1 to {SOURCE_CHARS_MAX} characters")
        try:
            slot.point.check(value)
        except ValueError as error:
            raise Refused(f"{point}: {error}") from error
        now_s = self._clock()
        command = Command(
            next(self._ids), point, value, priority, source, now_s + lease_s, round(self._now_s() * 1000)
        )
        stale = priority in PEOPLE or now_s - slot.confirmed_s >= REFRESH_S
        if stale if again is None else again:
            slot.confirmed = math.nan
        if (old := slot.commands.pop(priority, None)) is not None:
            self._end(old, State.REPLACED)
        self._set(slot, command)
        slot.failures, slot.next_try_s = 0, min(slot.next_try_s, slot.tried_s + WRITE_INTERVAL_S_MIN)
        slot.news.set()
        return command

    def release(self, point: str, priority: Priority) -> bool:
        """End the lease of `priority` on `point`; False if there is none."""
        slot = self._slots.get(point)
        command = slot.commands.pop(priority, None) if slot else None
        if slot is None or command is None:
            return False
        self._end(command, State.RELEASED)
        slot.news.set()
        return True

    async def settled(self, command: Command, timeout_s: float) -> Command:
        """`command` as it is once it was written, has failed, is outranked or over, or `timeout_s` later."""
        found = self._now(command)
        changed = asyncio.Event()
        stop = self.listen(lambda news: changed.set() if news.id == command.id else None)
        try:
            async with asyncio.timeout(timeout_s):
                while (found := self._now(command)).state is State.ACCEPTED:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            found = self._now(command)
        finally:
            stop()
        return found

    def _now(self, command: Command) -> Command:
        for each in self._slots[command.point].commands.values():
            if each.id == command.id:
                return each
        return next((each for each in reversed(self._ended) if each.id == command.id), command)

    # ---------------------------------------------------------------- doing

    async def run(self) -> None:
        """Keep every point at what wins, for ever."""
        async with asyncio.TaskGroup() as self._keeping:
            for slot in self._slots.values():
                self._begin(slot)
            await asyncio.get_running_loop().create_future()

    async def relinquish(self) -> None:
        """End all leases and write the fallbacks, as far as that goes in `RELINQUISH_S_MAX`."""
        await self._relinquish(self._slots.values())

    async def _relinquish(self, slots: Iterable[_Slot]) -> None:
        held = [slot for slot in slots if slot.commands or slot.touched]
        for slot in held:
            self._end_all(slot, State.RELEASED, math.inf)
        waiting = [self._write_once(slot, value) for slot in held if (value := slot.fallback) is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELINQUISH_S_MAX):
                await asyncio.gather(*waiting)

    async def _keep(self, slot: _Slot) -> None:
        while True:
            slot.news.clear()
            wait_s = await self._step(slot)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(wait_s) else max(wait_s, 0.0)):
                    await slot.news.wait()

    async def _step(self, slot: _Slot) -> float:
        """Bring the point where it should be, or find out how many seconds to wait for that."""
        now_s = self._clock()
        self._end_all(slot, State.EXPIRED, now_s)
        holder = winner(slot.commands.values(), now_s)
        self._rank(slot, holder)
        wanted = holder.value if holder else slot.fallback if slot.touched else None
        until_s = min((command.expires_s for command in slot.commands.values()), default=math.inf) - now_s
        if wanted is None or wanted == slot.confirmed:
            if holder:
                self._change(slot, holder, State.WRITTEN)
            return until_s
        wait_s = max(slot.next_try_s - now_s, self._guard(holder.point if holder else slot.id, wanted))
        if wait_s > 0:
            if holder and holder.state is State.ACCEPTED:
                self._change(slot, holder, State.ACCEPTED, f"waits {wait_s:.0f} s")
            return min(wait_s, until_s)
        await self._try(slot, holder, wanted)
        return 0.0

    async def _try(self, slot: _Slot, holder: Command | None, value: float) -> None:
        failure = await self._write_once(slot, value)
        if failure is not None:
            slot.failures += 1
            slot.next_try_s = self._clock() + RETRY.wait_s(slot.failures)
            slot.episode.failed(failure)
        else:
            slot.failures, slot.next_try_s = 0, slot.tried_s + WRITE_INTERVAL_S_MIN
            slot.touched = holder is not None
            slot.episode.ended()
        if holder and slot.commands.get(holder.priority, holder).id == holder.id:
            self._change(slot, holder, State.FAILED if failure else State.WRITTEN, failure or "")

    async def _write_once(self, slot: _Slot, value: float) -> str | None:
        """Write `value`; why it was not confirmed, None if it was."""
        slot.confirmed, slot.touched, slot.tried_s = math.nan, True, self._clock()
        async with self._turns[slot.device]:
            try:
                await self._write(slot.device, slot.point.name, value)
            except (WriteFailed, ValueError) as error:
                return str(error)
        slot.confirmed, slot.confirmed_s = value, self._clock()
        return None

    # ---------------------------------------------------------------- telling

    def _rank(self, slot: _Slot, holder: Command | None) -> None:
        for command in tuple(slot.commands.values()):
            if command is not holder:
                text = f"{holder.source} holds the point with priority {holder.priority}" if holder else ""
                self._change(slot, command, State.OUTRANKED, text)
            elif command.state is State.OUTRANKED:
                self._change(slot, command, State.ACCEPTED)

    def _end_all(self, slot: _Slot, state: State, now_s: float) -> None:
        over = [command for command in slot.commands.values() if command.expires_s <= now_s]
        for command in over:
            del slot.commands[command.priority]
            self._end(command, state)

    def _end(self, command: Command, state: State) -> None:
        self._ended.append(replace(command, state=state))
        self._tell(self._ended[-1])

    def _change(self, slot: _Slot, command: Command, state: State, reason: str = "") -> None:
        current = slot.commands.get(command.priority)
        if current is None or current.id != command.id or (current.state, current.reason) == (state, reason):
            return
        self._set(slot, replace(current, state=state, reason=reason))

    def _set(self, slot: _Slot, command: Command) -> None:
        slot.commands[command.priority] = command
        self._tell(command)

    def _tell(self, command: Command) -> None:
        for listener in tuple(self._listeners):
            listener(command)


class _Slot:
    """One writable point: who wants what of it, and what it was last told."""

    def __init__(self, device: str, point: Point) -> None:
        self.device, self.point, self.id = device, point, f"{device}.{point.name}"
        self.fallback = point.writable.fallback if point.writable else None
        self.commands: dict[Priority, Command] = {}
        self.news = asyncio.Event()
        self.episode = Episode(log, f"command {self.id}")
        self.confirmed = math.nan  # the value the device has confirmed
        self.confirmed_s = -math.inf
        self.touched = False  # something other than the fallback was written
        self.failures = 0
        self.tried_s = self.next_try_s = -math.inf
