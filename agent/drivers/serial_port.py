"""Opening a serial port: in a thread (a USB adapter may take seconds), ours alone, with a way out in words.

The port that comes does not block: its file belongs to the loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import serial
from serial.tools.list_ports import comports

READ_BYTES = 4096
BY_ID = Path("/dev/serial/by-id")
PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


def serial_ports() -> list[dict[str, str]]:
    """The serial ports of this box: `port`, by the name that survives a restart if there is one, and `name`,
    what the adapter calls itself. Blocks for some milliseconds."""
    stable = {os.path.realpath(each): str(each) for each in BY_ID.glob("*")}
    return [
        {"port": stable.get(os.path.realpath(each.device), each.device), "name": each.description}
        for each in sorted(comports())
    ]


class PortOptions(Protocol):
    """What the options of any serial line say of their port. `parity`: none, even or odd."""

    @property
    def port(self) -> str: ...
    @property
    def baudrate(self) -> int: ...
    @property
    def bytesize(self) -> int: ...
    @property
    def parity(self) -> str: ...
    @property
    def stopbits(self) -> int: ...


def _as_it_is(port: serial.Serial) -> None:
    """A port that needs nothing more."""


async def open_port(
    options: PortOptions, prepare: Callable[[serial.Serial], None] = _as_it_is
) -> serial.Serial:
    """The open port, its input emptied, after `prepare` (called in the thread). OSError names a way out.

    If we are cancelled, opening goes on in its thread; the port is closed as soon as it is open.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(_open, options, prepare))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(options: PortOptions, prepare: Callable[[serial.Serial], None]) -> serial.Serial:
    port = None
    try:
        port = serial.Serial(
            options.port,
            options.baudrate,
            bytesize=options.bytesize,
            parity=PARITIES[options.parity],
            stopbits=options.stopbits,
            timeout=0,
            exclusive=True,
        )
        prepare(port)
        port.reset_input_buffer()
    except (OSError, ValueError, OverflowError, termios.error) as error:
        if port is not None:
            port.close()
        raise OSError(f"cannot open {options.port}: {way_out(error, options.port)}") from error
    return port


def way_out(error: BaseException, port: str) -> str:
    """What is wrong with a port, and what helps."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error.__cause__, OSError):
        number = error.__cause__.errno
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied: sudo usermod -aG dialout $USER, then log in again"
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        found = ", ".join(sorted(str(each) for each in BY_ID.glob("*")))
        return f"no such port: plugged in? ports here: {found or 'none in ' + str(BY_ID)}"
    if number in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return (
            "in use by another program: end it (if it is the agent: systemctl stop uicps-agent), "
            "or give this line another port"
        )
    if "RS485" in str(error) or "rs485" in str(error):
        return f"{error}: this port has no RS-485 mode of its own, set rs485 = false"
    return str(error)
