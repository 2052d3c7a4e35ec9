"""One connection to Modbus devices: one request at a time, and what is needed so that answers fit questions.

Rules. On RTU a request waits for silence (3.5 characters) and, after a time-out or a cancellation, until
the line has been quiet for DRAIN_SILENCE_S; the unit that kept silent is not asked again before its
answer cannot be late any more (`LATE_S_MIN`). On TCP the transaction id does all that. A request that is
cancelled leaves the link fit for use. Raises TimeoutError if the device is silent, GarbledError if an
answer came that cannot be read, ConnectionError if the line is gone: all requests end with it then. A
peer that keeps silent `silent_requests_max` times in a row counts as gone: it may be hung. Time is asked of
the system: uvloop's own is that of its last turn, in whole milliseconds, as long as a silence.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from agent.drivers.modbus.frame import Framing, RtuFraming
from agent.drivers.modbus.pdu import MalformedError, answer_size
from agent.drivers.modbus.turns import Turns

DRAIN_SILENCE_S = 0.02
DRAIN_S_MAX = 1.0
GARBLED_AFTER_S = 0.06  # as much as an answer came, then nothing: longer than a USB adapter's pauses
LATE_S_MIN, LATE_S_MAX = 1.0, 5.0
LOAD_SPAN_S, LOAD_MARKS = 5.0, 12


class GarbledError(TimeoutError):
    """Something came in time, but it does not pass its check: noise, a collision, wrong serial settings."""


class StrayError(GarbledError):
    """A whole frame came in time, but of another unit or for another question: a late one, a stranger's."""


class Wire(Protocol):
    """The part of a transport that a link uses; a serial port has it too."""

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a line may go, in seconds. `byte_s` is one character on the wire; 0: does not matter."""

    byte_s: float = 0.0
    silence_s: float = 0.0
    delay_s: float = 0.0
    connect_delay_s: float = 0.0


@dataclass(slots=True)
class Load:
    """Which share of the time a line is busy: since it opened, and over the last minute."""

    busy_s: float = 0.0
    marks: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=LOAD_MARKS))

    def add(self, from_s: float, to_s: float) -> None:
        self.busy_s += to_s - from_s
        if not self.marks or to_s - self.marks[-1][0] >= LOAD_SPAN_S:
            self.marks.append((to_s, self.busy_s))

    def share(self, now_s: float) -> float:
        """0 to 1, over up to a minute; 0 before anything was measured."""
        if not self.marks:
            return 0.0
        since_s, busy_s = self.marks[0]
        return min((self.busy_s - busy_s) / max(now_s - since_s, 1e-9), 1.0)


class Link(asyncio.Protocol):
    """The open line. `request` asks; `turns` lets a caller keep the line for several requests."""

    def __init__(
        self, framing: Framing, pace: Pace, name: str, *, silent_requests_max: float = math.inf
    ) -> None:
        self.turns = Turns()
        self.load = Load()
        self.response_s = 0.0
        self.silent_in_a_row = 0
        self._framing, self._pace, self._name = framing, pace, name
        self._silent_max = silent_requests_max
        self._loop = asyncio.get_running_loop()
        self._wire: Wire | None = None
        self._lost: ConnectionError | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._sleeper: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        self._is_rtu = isinstance(framing, RtuFraming)
        self._is_paced = self._is_rtu or pace.delay_s > 0
        self._heard_s = self._ended_s = monotonic()
        self._is_dirty = False
        self._late: dict[int, float] = {}

    @property
    def may_echo(self) -> bool:
        """Whether it is not known yet if this line echoes: read before trusting functions 5 and 6."""
        return isinstance(self._framing, RtuFraming) and self._framing.echoes is None

    @property
    def is_rtu(self) -> bool:
        """Whether frames carry no transaction id, so that what is garbled is worth asking again."""
        return self._is_rtu

    def late_s(self, timeout_s: float) -> float:
        """How long after a time-out an answer may still come: no other question to that unit before."""
        return min(max(timeout_s, LATE_S_MIN), LATE_S_MAX) if self._is_rtu else 0.0

    async def request(self, unit_id: int, pdu: bytes, timeout_s: float, *, has_turn: bool = False) -> bytes:
        """The answer PDU, of which only the frame was checked. `timeout_s`: without the bytes' own time.

        `has_turn`: the caller has taken its turn, and gives it back, itself.
        """
        if not has_turn:
            if self._late:
                await self.outwait(unit_id)
            if not self.turns.take_now():
                await self.turns.take()
        sent_s = 0.0
        try:
            if self._is_paced:
                await self._settle()
            sent_s = monotonic()
            answer = await self._send(unit_id, pdu, sent_s, timeout_s)
        except (TimeoutError, asyncio.CancelledError) as error:
            if sent_s:
                self._spoiled(unit_id, error, timeout_s)
            raise
        finally:
            self._ended(sent_s)
            if not has_turn:
                self.turns.give()
        self.silent_in_a_row = 0
        return answer

    def _send(self, unit_id: int, pdu: bytes, now_s: float, timeout_s: float) -> asyncio.Future[bytes]:
        if self._lost or self._wire is None:
            raise self._lost or ConnectionError("not connected")
        timeout_s += self._wire_s(pdu)
        self._answer = answer = self._loop.create_future()
        self._wire.write(self._framing.send(unit_id, pdu))
        self._deadline_s = now_s + timeout_s
        self._timer = self._loop.call_later(timeout_s, self._expire, timeout_s)
        return answer

    def _ended(self, sent_s: float) -> None:
        """The exchange is over, however it ended (`sent_s` 0: before anything was sent)."""
        if self._timer:
            self._timer.cancel()
        self._answer = None
        if sent_s:
            self._ended_s = monotonic()
            self.response_s = self._ended_s - sent_s
            self.load.add(sent_s, self._ended_s)

    async def outwait(self, unit_id: int) -> None:
        """Wait until no answer of this unit can be late any more."""
        wait_s = self._late.get(unit_id, 0.0) - monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._late.pop(unit_id, None)

    def _spoiled(self, unit_id: int, error: BaseException, timeout_s: float) -> None:
        """Remember what an exchange without an answer leaves behind: an RTU answer may come yet."""
        if self._is_rtu:
            self._is_dirty = True
            if not isinstance(error, GarbledError):
                self._late[unit_id] = monotonic() + self.late_s(timeout_s)

    def _wire_s(self, pdu: bytes) -> float:
        """How long request and answer take on the wire, with the silence between them."""
        if not self._pace.byte_s:
            return 0.0
        size = answer_size(pdu) or 253
        return (len(pdu) + size + 6) * self._pace.byte_s + self._pace.silence_s

    async def _settle(self) -> None:
        """Wait for the silence before a request, after a failure until the line is quiet for sure."""
        silence_s = max(self._pace.silence_s, DRAIN_SILENCE_S) if self._is_dirty else self._pace.silence_s
        give_up_s = monotonic() + DRAIN_S_MAX + silence_s + self._pace.delay_s
        while not self._lost:
            now_s = monotonic()
            due_s = max(self._heard_s + silence_s, self._ended_s + self._pace.delay_s)
            if self._is_dirty:
                due_s = max(due_s, self._ended_s + silence_s)
            if due_s <= now_s or now_s >= give_up_s:
                break
            await asyncio.sleep(due_s - now_s)
        self._is_dirty = False

    async def sleep(self, wait_s: float) -> None:
        """Sleep for `wait_s`; ConnectionError as soon as the line is lost. For one caller: who polls."""
        if self._lost:
            raise self._lost
        sleeper: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(wait_s, _wake, sleeper)
        self._sleeper = sleeper
        try:
            await sleeper
        finally:
            timer.cancel()

    def _expire(self, timeout_s: float) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        failure = self._framing.failure()
        if self._is_rtu and failure in ("crc", "noise"):
            answer.set_exception(GarbledError("an answer came that fails its check"))
            return
        if self._is_rtu and failure == "stray":
            answer.set_exception(StrayError("only a frame of another unit came"))
            return
        self.silent_in_a_row += 1
        if self.silent_in_a_row >= self._silent_max:
            self.close(f"no answer to {self.silent_in_a_row} requests in a row")
        elif failure == "stray":
            text = f"no answer in {timeout_s:.3g} s, only one with another unit or transaction id"
            answer.set_exception(StrayError(text))
        else:
            answer.set_exception(TimeoutError(f"no answer in {timeout_s:.3g} s"))

    def connection_made(self, transport: asyncio.BaseTransport | Wire) -> None:
        self._wire = transport  # type: ignore[assignment]  # a stream transport has write and abort

    def data_received(self, data: bytes) -> None:
        self._heard_s = monotonic()
        try:
            pdu = self._framing.receive(data)
        except MalformedError as error:
            self.close(str(error))
            return
        answer = self._answer
        if answer is None or answer.done():
            return
        if pdu is not None:
            answer.set_result(pdu)
        elif self._is_rtu:
            self._hasten()

    def _hasten(self) -> None:
        """A broken answer is given up once the line is quiet, not at the end of the time-out."""
        if self._timer and self._framing.complete():
            pause_s = max(GARBLED_AFTER_S, 4 * self._pace.silence_s)
            due_s = min(self._deadline_s, self._heard_s + pause_s)
            self._timer.cancel()
            self._timer = self._loop.call_later(due_s - monotonic(), self._expire, pause_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"{self._name}: connection lost" + (f": {exc}" if exc else ""))

    def close(self, reason: str = "closed") -> None:
        """Close at once; whoever waits for an answer or a turn gets a ConnectionError."""
        self._fail(f"{self._name}: {reason}")
        if self._wire:
            self._wire.abort()

    def _fail(self, reason: str) -> None:
        if self._lost:
            return
        self._lost = ConnectionError(reason)
        for future in (self._answer, self._sleeper):
            if future and not future.done():
                future.set_exception(ConnectionError(reason))
        self.turns.fail(ConnectionError(reason))


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
