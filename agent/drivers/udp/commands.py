"""Commands to one module: sent again until it answers or the time is over, one at a time.

Rules. A command id only grows, also over restarts of the gateway, and is bound to the boot of the module
that it is for; a module carries out an id at most once and answers the same again. So a command that is
recorded and sent by someone else does nothing, and one that is sent again by us does it once.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from agent.drivers.command import WriteFailed
from agent.drivers.udp import packed, text
from agent.drivers.udp.message import Address, Command, Form, Result, Status
from agent.drivers.udp.session import Module, Session

QUEUED_MAX = 16
RESEND_FIRST_S = 0.25
RESEND_MOST_S = 4.0
PROMPTED_S_MIN = 0.1  # a module that sleeps listens just after it sent: not more often than this

_REASONS = {
    Status.NO_SUCH_POINT: "the module has no such point to write",
    Status.BAD_VALUE: "the module refuses this value",
    Status.FAILED: "the module could not do it",
    Status.OTHER_BOOT: "the module has restarted since it was last heard",
    Status.OLD: "the module has carried out a newer command",
}


class Commands:
    """The way to one module. `next_id` gives command ids, `send` a datagram to where the module is."""

    def __init__(
        self,
        module: Module,
        next_id: Callable[[], Awaitable[int]],
        send: Callable[[bytes, Address], None],
    ) -> None:
        self._module, self._next_id, self._send = module, next_id, send
        self._turn = asyncio.Lock()
        self._queued = 0

    async def write(self, point: int, value: float) -> None:
        """Have `value` written to point number `point`; WriteFailed says why it was not confirmed."""
        if self._queued >= QUEUED_MAX:
            raise WriteFailed(f"{QUEUED_MAX} commands to this module are waiting already")
        self._queued += 1
        timeout_s = self._module.options.command_timeout_s
        lacking = "nothing was sent: another command to this module was under way"
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                lacking = "nothing was sent: the module was not heard"
                session = await self._heard()
                lacking = "nothing was sent: its command id could not be kept on disk"
                under_way = _UnderWay(self._module, session, await self._next_id(), self._send)
                lacking = ""
                result = await under_way.carry_out(point, value)
        except TimeoutError:
            why = lacking or "sent, and no answer came"
            raise WriteFailed(f"{why} for {timeout_s:g} s", unknown=not lacking) from None
        finally:
            self._queued -= 1
        if result.status != Status.DONE:
            raise WriteFailed(_reason(result.status))

    async def _heard(self) -> Session:
        """The session of the module, once it was heard."""
        while self._module.session is None:
            first = _FirstSign()
            self._module.waiting = first
            try:
                await first.seen
            finally:
                self._module.waiting = None
        return self._module.session


def _reason(status: int) -> str:
    known = status in Status.__members__.values()
    return _REASONS[Status(status)] if known else f"the module answers with status {status}, unknown here"


class _FirstSign:
    """Waits for a module to be heard at all."""

    def __init__(self) -> None:
        self.seen: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def heard(self) -> None:
        if not self.seen.done():
            self.seen.set_result(None)

    def answered(self, result: Result) -> bool:
        return False


class _UnderWay:
    """One command, from its first datagram to its answer."""

    def __init__(
        self, module: Module, session: Session, command_id: int, send: Callable[[bytes, Address], None]
    ) -> None:
        self._module, self._session, self._send_to = module, session, send
        self._id, self._boot = command_id, session.boot
        self._datagram = b""
        self._sent_s = -math.inf
        self._answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    async def carry_out(self, point: int, value: float) -> Result:
        """Send it until it is answered; whoever waits sets the end."""
        command = Command(self._boot, self._id, point, value)
        key = self._session.key
        if self._session.form is Form.PACKED:
            self._datagram = packed.command(command, self._module.layout, key)
        else:
            self._datagram = text.command(command, self._module.keys[point], key)
        self._module.waiting = self
        try:
            wait_s = RESEND_FIRST_S
            while not self._answer.done():
                self._send()
                await asyncio.wait([self._answer], timeout=wait_s)
                wait_s = min(2 * wait_s, RESEND_MOST_S)
            return self._answer.result()
        finally:
            self._module.waiting = None

    def _send(self) -> None:
        if self._session.address:
            self._sent_s = asyncio.get_running_loop().time()
            self._send_to(self._datagram, self._session.address)

    def heard(self) -> None:
        """The module just sent something: it listens now, unless it restarted."""
        if self._session.boot != self._boot:
            if not self._answer.done():
                reason = "the module restarted while it was under way: it may have been carried out or not"
                self._answer.set_exception(WriteFailed(reason, unknown=True))
        elif asyncio.get_running_loop().time() - self._sent_s > PROMPTED_S_MIN:
            self._send()

    def answered(self, result: Result) -> bool:
        if result.id != self._id or self._answer.done():
            return result.id == self._id
        self._answer.set_result(result)
        return True
