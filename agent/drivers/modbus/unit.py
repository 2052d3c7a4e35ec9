"""One device on a Modbus line: how it is asked, and what is counted of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from agent.drivers.modbus.link import GarbledError, Link, StrayError
from agent.drivers.modbus.options import ModbusDeviceOptions
from agent.drivers.modbus.pdu import MalformedError, RefusedError, check
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.modbus.statistics import Traffic
from agent.drivers.poll import Patience
from agent.model import Device
from agent.supervise import Episode

log = logging.getLogger(__name__)

GATEWAY_CODES = (10, 11)  # the gateway answers for a device that does not


class Unit:
    """Asks one device, one request after the other. `answers` counts what it said, refusals included.

    `tap` is told every question with its checked answer.
    """

    def __init__(
        self,
        options: ModbusDeviceOptions,
        profile: ModbusProfile,
        line_timeout_s: float,
        counters: Counter[str],
    ) -> None:
        self.device = Device(options.name, options.profile, options.label)
        self.unit_id = options.unit_id
        self.timeout_s = options.timeout_s or line_timeout_s
        self.traffic = Traffic()
        self.patience = Patience()
        self.silence = Episode(log, f"device {options.name}")
        self.answers = 0
        self.tap: Callable[[bytes, bytes], None] | None = None
        self._counters = counters
        self._delay_s = profile.delay_ms / 1000
        self._asked_s = 0.0

    async def ask(self, link: Link, pdu: bytes, *, has_turn: bool = False) -> bytes:
        """The checked answer; a garbled one is asked for once more.

        TimeoutError if the device is silent, RefusedError or MalformedError for what it answers instead.
        """
        may_repeat = True
        while True:
            if self._delay_s:
                await self._leave_time()
            self._count("requests")
            try:
                answer = await link.request(self.unit_id, pdu, self.timeout_s, has_turn=has_turn)
                self.traffic.responses_s.append(link.response_s)
                check(pdu, answer)
            except (TimeoutError, RefusedError, MalformedError) as error:
                counted = self._counted(error)
                if not (may_repeat and link.is_rtu and isinstance(error, GarbledError)):
                    raise counted from None
                may_repeat = False
            else:
                self.answers += 1
                if self.tap:
                    self.tap(pdu, answer)
                return answer
            finally:
                self._asked_s = time.monotonic()

    async def _leave_time(self) -> None:
        """Some devices fail when asked too fast (SDM72D: reboots)."""
        wait_s = self._asked_s + self._delay_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _counted(self, error: Exception) -> Exception:
        """Count what went wrong, and what it means: a gateway's word that the device is silent is silence."""
        if isinstance(error, GarbledError):
            self._count("strays" if isinstance(error, StrayError) else "crc_errors")
            return error
        if isinstance(error, MalformedError):
            self._count("malformed")
            return error
        if isinstance(error, RefusedError):
            self._count("exceptions")
            if error.code not in GATEWAY_CODES:
                self.answers += 1
                return error
        self._count("timeouts")
        return TimeoutError(f"unit {self.unit_id}: {error}")

    def _count(self, what: str) -> None:
        self.traffic.counts[what] += 1
        self._counters[what] += 1
