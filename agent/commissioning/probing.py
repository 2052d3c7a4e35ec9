"""Asking an open link what is there: drives the steps of `identify.py` and keeps the frames that came.

Nothing is ever written to a device.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import NamedTuple, TypeVar

from agent.commissioning.identify import Answer, Ask, Refused
from agent.drivers.modbus import pdu
from agent.drivers.modbus.frame import crc16
from agent.drivers.modbus.link import GarbledError, Link
from agent.drivers.modbus.pdu import MalformedError, RefusedError
from agent.drivers.modbus.unit import GATEWAY_CODES

IDENTITY_REQUESTS_MAX = 8
Verdict = TypeVar("Verdict")


class Exchange(NamedTuple):
    """A question and its answer as they were on the wire (over TCP without the 6 bytes in front)."""

    request: bytes
    answer: bytes


class Prober:
    """Asks devices on `link`; each may think for `wait_s`. ConnectionError passes: the line is gone."""

    def __init__(self, link: Link, wait_s: float, *, is_rtu: bool) -> None:
        self._link, self._wait_s, self._is_rtu = link, wait_s, is_rtu
        self.exchange = Exchange(b"", b"")
        self.garbled = 0

    async def ask(self, ask: Ask) -> Answer:
        """As `identify.py` wants it; that a gateway speaks for a device that is silent is silence."""
        request = pdu.read(ask.table, ask.address, ask.width)
        try:
            return pdu.registers(await self._answer(ask.unit_id, request))
        except RefusedError as error:
            return None if error.code in GATEWAY_CODES else Refused(error.code)
        except (TimeoutError, MalformedError):
            return None

    async def identity(self, unit_id: int) -> dict[int, str]:
        """What the device says of itself (function 43/14): texts by object id; nothing if it does not."""
        texts: dict[int, str] = {}
        at: int | None = 0
        for _ in range(IDENTITY_REQUESTS_MAX):
            if at is None or at in texts:
                break
            try:
                said = pdu.identification(await self._answer(unit_id, pdu.identify(at)))
            except (TimeoutError, RefusedError, MalformedError):
                break
            texts |= {each: text.strip("\0 ") for each, text in said.objects.items()}
            at = said.next_object
        return texts

    async def _answer(self, unit_id: int, request: bytes) -> bytes:
        try:
            answer = await self._link.request(unit_id, request, self._wait_s)
        except GarbledError:
            self.garbled += 1
            raise
        self.exchange = Exchange(self._frame(unit_id, request), self._frame(unit_id, answer))
        pdu.check(request, answer)
        return answer

    def _frame(self, unit_id: int, body: bytes) -> bytes:
        frame = bytes((unit_id,)) + body
        return frame + crc16(frame).to_bytes(2, "little") if self._is_rtu else frame


async def drive(steps: Generator[Ask, Answer, Verdict], ask: Callable[[Ask], Awaitable[Answer]]) -> Verdict:
    """The verdict of `steps`, each of whose questions `ask` answers."""
    try:
        question = next(steps)
        while True:
            question = steps.send(await ask(question))
    except StopIteration as end:
        verdict: Verdict = end.value
        return verdict
