"""Opening a link to what a configuration names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from agent.drivers.modbus.frame import RtuFraming, TcpFraming
from agent.drivers.modbus.link import Link
from agent.drivers.modbus.options import ModbusLineOptions, ModbusRtuOptions, ModbusTcpOptions
from agent.drivers.modbus.serial_port import open_serial
from agent.supervise import describe

CONNECT_S_MAX = 5.0
SILENT_REQUESTS_MAX = 3  # and more than there are devices: then a TCP peer may be hung, a serial port is not
UNACKNOWLEDGED_MS_MAX = 10_000  # a peer that lost its power is noticed after so long, not after 15 minutes


async def open_link(options: ModbusLineOptions, *, silent_requests_max: float | None = None) -> Link:
    """A link that is ready for requests; OSError names the place and what is in the way.

    `silent_requests_max`: after so many without an answer a TCP peer counts as hung. None: as many as fit
    the devices of `options`; a search, where silence is the usual answer, sets it to infinity.
    """
    framing = TcpFraming() if isinstance(options, ModbusTcpOptions) else RtuFraming()
    if isinstance(options, ModbusRtuOptions):
        link = Link(framing, options.pace, options.where)
        link.connection_made(await open_serial(options, link))
    else:
        silent_max = silent_requests_max or max(SILENT_REQUESTS_MAX, len(options.device) + 1)
        link = Link(framing, options.pace, options.where, silent_requests_max=silent_max)
        await _connect(lambda: link, options.host, options.port)
    try:
        if options.pace.connect_delay_s:
            await link.sleep(options.pace.connect_delay_s)
    except BaseException:
        link.close()
        raise
    return link


async def _connect(factory: Callable[[], Link], host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S_MAX):
            transport, _ = await loop.create_connection(factory, host, port)
    except OSError as error:
        text = f"cannot connect to {host}:{port}: {describe(error)}: is it powered, is the address right?"
        raise ConnectionError(text) from error
    peer = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
