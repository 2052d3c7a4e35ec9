"""Writing one point: what may be written is checked first, what was written is read back if so declared.

Rules. Limits, grid and coding are checked before anything is sent (ValueError). A write goes before
reads and keeps the line for as long as it takes: old bits are read, changed and written without anybody
in between. Reading back leaves the line to others while it waits for the device to follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from agent.drivers.command import WriteFailed
from agent.drivers.modbus import codec, pdu
from agent.drivers.modbus.link import Link
from agent.drivers.modbus.pdu import MalformedError, RefusedError
from agent.drivers.modbus.profile import EXPONENT, ModbusPoint, ModbusProfile
from agent.drivers.modbus.unit import Unit

READBACK_S_FIRST = 0.1


class Target:
    """A writable point of one device."""

    def __init__(self, unit: Unit, profile: ModbusProfile, point: ModbusPoint) -> None:
        self._unit, self._point, self._known_as = unit, point, point.point()
        self._fits = partial(profile.check_write, point)
        self._table, self._coding = profile.table_of(point), profile.coding(point)
        width = profile.width(point)
        self._function = point.write_function or (5 if self._table == "coil" else 6 if width == 1 else 16)
        self._read = pdu.read(self._table, point.address, width)
        self._value = codec.decoder(self._coding)

    @property
    def seconds_max(self) -> float:
        """How long a write may take, the wait for its turn included."""
        return 15.0 + 4 * self._unit.timeout_s + (self._point.readback_s if self._point.readback else 0.0)

    def check(self, value: float) -> None:
        """ValueError if the profile does not allow `value`."""
        self._known_as.check(value)
        self._fits(value)

    async def write(self, link: Link, value: float) -> None:
        """Write a checked value; WriteFailed if it reads back as another, else as `Unit.ask`."""
        await link.outwait(self._unit.unit_id)
        await link.turns.take(urgent=True)
        try:
            exponent = await self._exponent(link)
            registers = codec.encode(self._coding, codec.with_exponent(value, -exponent))
            if self._coding.mask:
                old = pdu.registers(await self._unit.ask(link, self._read, has_turn=True))
                registers = codec.merged(self._coding, old, registers)
            elif link.may_echo:
                await self._learn_echo(link)
            await self._unit.ask(link, self._request(registers), has_turn=True)
        finally:
            link.turns.give()
        if self._point.readback:
            await self._confirm(link, registers)

    def _request(self, registers: Sequence[int]) -> bytes:
        address = self._point.address
        if self._function == 5:
            return pdu.write_coil(address, bool(registers[0]))
        if self._function == 15:
            return pdu.write_coils(address, [bool(registers[0])])
        if self._function == 6:
            return pdu.write_register(address, registers[0])
        return pdu.write_registers(address, registers)

    async def _exponent(self, link: Link) -> float:
        """Of the scale register; 0 if the point has none."""
        if self._point.scale_register is None:
            return 0.0
        request = pdu.read(self._table, self._point.scale_register, 1)
        answer = await self._unit.ask(link, request, has_turn=True)
        exponent = codec.decoder(EXPONENT)(pdu.registers(answer), 0)
        if not abs(exponent) <= codec.EXPONENT_MAX:
            raise WriteFailed(f"the scale register {self._point.scale_register} holds no scale")
        return exponent

    async def _learn_echo(self, link: Link) -> None:
        """Functions 5 and 6 are answered by themselves: know first whether this line echoes requests."""
        try:
            await self._unit.ask(link, self._read, has_turn=True)
        except (RefusedError, MalformedError):
            return  # the device does not let this be read, but it answered: that is enough

    async def _confirm(self, link: Link, registers: Sequence[int]) -> None:
        """Read until the device has what was written; WriteFailed if it has not in `readback_s`."""
        loop = asyncio.get_running_loop()
        end_s, wait_s = loop.time() + self._point.readback_s, READBACK_S_FIRST
        wanted, found = self._value(registers, 0), "nothing"
        while (left_s := end_s - loop.time()) > 0:
            await asyncio.sleep(min(wait_s, left_s))
            wait_s *= 2
            try:
                answer = await self._unit.ask(link, self._read)
            except (TimeoutError, RefusedError, MalformedError) as error:
                found = f"nothing ({error})"
                continue
            value = self._value(self._registers(answer), 0)
            if value == wanted:
                return
            found = f"{value:g}"
        raise WriteFailed(f"wrote {wanted:g}, after {self._point.readback_s:g} s it reads {found}")

    def _registers(self, answer: bytes) -> Sequence[int]:
        return pdu.bits(answer)[:1] if self._table == "coil" else pdu.registers(answer)
