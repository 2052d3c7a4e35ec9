"""A simulated RS-485 bus behind a pseudo-terminal: real bytes, at the speed of a real wire.

The agent opens `bus.port` like any serial port. Rules of the wire: every character takes its time, one
talks at a time, a device begins 3.5 characters after the request has ended, who is not there is silent.
What answers is pymodbus (its framer, its PDUs, `SimulatedDevice`), so the driver's codec meets another.
A test makes the bus bad: `prefix` and `suffix` (noise around each answer), `echo` (a two-wire adapter),
`spoil_every` (so many answers, then a broken one), `ignores` (questions that nobody answers), `chunk_bytes`
(how an adapter passes them on). It counts answers, spoilt ones, collisions, requests before the silence was
over, and the wire's seconds in use.
"""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.simulator.simcore import SimCore

from agent.demo.modbus_device import SimulatedDevice

SILENCE_CHARACTERS, SILENCE_S_MIN = 3.5, 0.00175
CHUNK_BYTES = 16  # what a USB adapter passes on at once
EARLY_TOLERANCE_S = 0.001


class SimulatedBus:
    """`async with SimulatedBus(meter, baudrate=9600) as bus:` answers on `bus.port` until left."""

    def __init__(self, *devices: SimulatedDevice, baudrate: int = 9600, character_bits: int = 10) -> None:
        self.byte_s = character_bits / baudrate
        self.silence_s = max(SILENCE_CHARACTERS * self.byte_s, SILENCE_S_MIN)
        self.port = ""
        self.prefix = self.suffix = b""
        self.echo = False
        self.chunk_bytes = CHUNK_BYTES
        self.spoil_every = 0
        self.ignores: Callable[[int, bytes], bool] = lambda unit_id, pdu: False
        self.requests = self.answers = self.spoilt = self.collisions = self.early = 0
        self.wire_s = 0.0
        self._devices = {device.unit_id: device for device in devices}
        self._context = SimCore([device.as_simdevice() for device in devices])
        self._framer = FramerRTU(DecodePDU(True))
        self._heard = b""
        self._quiet_s = 0.0
        self._master = self._slave = -1
        self._answering: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.port = os.ttyname(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def unplug(self) -> None:
        """The port is gone: who has it open reads an error."""
        if self._master < 0:
            return
        if self._answering:
            self._answering.cancel()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = -1

    def say(self, data: bytes) -> None:
        """Bytes that nobody asked for."""
        os.write(self._master, data)

    def _readable(self) -> None:
        data = os.read(self._master, 4096)
        now_s = monotonic()
        if self.echo:
            self.say(data)
        if self._answering and not self._answering.done():
            self.collisions += 1
            return
        if not self._heard and now_s < self._quiet_s + self.silence_s - EARLY_TOLERANCE_S:
            self.early += 1
        self._heard += data
        _, unit_id, _, pdu = self._framer.decode(self._heard)
        if not pdu:
            return
        size, self._heard = len(self._heard), b""
        self.requests += 1
        self.wire_s += size * self.byte_s + self.silence_s
        self._quiet_s = now_s + size * self.byte_s
        if unit_id in self._devices and not self.ignores(unit_id, pdu):
            self._answering = asyncio.create_task(self._answer(unit_id, pdu))

    async def _answer(self, unit_id: int, request: bytes) -> None:
        begins_s = self._quiet_s + self.silence_s
        asked = self._framer.decoder.decode(request)
        if asked is None:
            return
        answer = await asked.datastore_update(self._context, unit_id)  # type: ignore[arg-type]  # a SimCore too
        answer.dev_id = unit_id
        frame = self.prefix + self._spoilt(self._framer.buildFrame(answer)) + self.suffix
        self.wire_s += len(frame) * self.byte_s + self.silence_s
        await self._send(frame, max(begins_s, monotonic()))
        self.answers += 1

    def _spoilt(self, frame: bytes) -> bytes:
        if not self.spoil_every or (self.answers + 1) % self.spoil_every:
            return frame
        self.spoilt += 1
        middle = len(frame) // 2
        return frame[:middle] + bytes((frame[middle] ^ 0x10,)) + frame[middle + 1 :]

    async def _send(self, frame: bytes, begins_s: float) -> None:
        """Pass the frame on in chunks, each when its last byte is through."""
        for at in range(0, len(frame), self.chunk_bytes):
            chunk = frame[at : at + self.chunk_bytes]
            through_s = begins_s + (at + len(chunk)) * self.byte_s
            await asyncio.sleep(max(through_s - monotonic(), 0))
            self._quiet_s = through_s
            if self._master >= 0:
                self.say(chunk)
