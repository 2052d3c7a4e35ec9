"""A real TCP socket with simulated Modbus devices behind it, served by pymodbus's own server.

Like a gateway on a wall: one socket, one unit id per device. A unit that is not there is answered with
exception 11, as gateways do. A test makes it misbehave: `silent`, `stop()` and `start()` again.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Self, cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from agent.demo.modbus_device import SimulatedDevice

# pymodbus logs a client that leaves as an error, with every packet before it.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class SimulatedLine:
    """`async with SimulatedLine(meter) as line:` listens on `line.host`, `line.port` until left.

    Port 0 takes any free port; the line keeps it when stopped and started again.
    """

    def __init__(self, *devices: SimulatedDevice, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self.silent = False
        self._devices = devices
        self._server: ModbusTcpServer | None = None

    async def start(self) -> None:
        """Listen. OSError if the port cannot be had."""
        server = ModbusTcpServer(
            [*(device.as_simdevice() for device in self._devices), _absent_units()],
            address=(self.host, self.port),
            trace_packet=self._pass,
        )
        try:
            await server.serve_forever(background=True)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self.host}:{self.port}") from error
        self._server = server
        listener = cast(asyncio.Server, server.transport)
        self.port = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the socket and every connection."""
        if self._server:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)  # transports close on the loop's next turn

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _pass(self, sending: bool, data: bytes) -> bytes:
        return b"" if sending and self.silent else data


def _absent_units() -> SimDevice:
    """Unit 0 is pymodbus's word for "every unit not named"."""
    data = SimData(0, count=65536, values=0, datatype=DataType.REGISTERS)
    return SimDevice(0, [data], action=_no_such_unit)


async def _no_such_unit(*_request: object) -> ExcCodes | None:
    return ExcCodes.GATEWAY_NO_RESPONSE
