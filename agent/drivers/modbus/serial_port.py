"""A serial port as the loop sees it: opened by pyserial in a thread, then a file that never blocks.

Errors are OSError with the port's name and a way out.
"""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from pathlib import Path
from typing import Protocol

import serial
from serial.rs485 import RS485Settings

from agent.drivers.modbus.options import ModbusRtuOptions

READ_BYTES = 4096
WRITE_BYTES_MAX = 4096
BY_ID = Path("/dev/serial/by-id")
PARITIES = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


class Listener(Protocol):
    """Who hears what comes in, like an `asyncio.Protocol`."""

    def data_received(self, data: bytes) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


class SerialWire:
    """An open port. `abort` closes it; a port that is pulled out ends in `connection_lost`."""

    def __init__(self, port: serial.Serial, listener: Listener) -> None:
        self._port, self._listener = port, listener
        self._loop = asyncio.get_running_loop()
        self._file: int = port.fileno()
        self._unsent = b""
        os.set_blocking(self._file, False)
        self._loop.add_reader(self._file, self._readable)

    def write(self, data: bytes) -> None:
        """Send; what the port does not take at once follows as it does."""
        if self._file < 0:
            return
        self._unsent += data
        self._writable()

    def abort(self) -> None:
        """Close without waiting for what is unsent."""
        if self._file < 0:
            return
        self._loop.remove_reader(self._file)
        self._loop.remove_writer(self._file)
        self._file = -1
        self._port.close()

    def _readable(self) -> None:
        try:
            data = os.read(self._file, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if data:
            self._listener.data_received(data)
        else:
            self._lost(OSError(errno.EIO, "the port is gone: unplugged?"))

    def _writable(self) -> None:
        try:
            sent = os.write(self._file, self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(error)
            return
        self._unsent = self._unsent[sent:]
        if len(self._unsent) > WRITE_BYTES_MAX:
            self._lost(OSError(errno.EIO, "the port takes no more bytes: is its flow control on?"))
        elif self._unsent:
            self._loop.add_writer(self._file, self._writable)
        else:
            self._loop.remove_writer(self._file)

    def _lost(self, error: OSError) -> None:
        self.abort()
        self._loop.call_soon(self._listener.connection_lost, error)


async def open_serial(options: ModbusRtuOptions, listener: Listener) -> SerialWire:
    """The port, with its input emptied. OSError says what is in the way and what helps."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, options))
    try:
        port = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise
    return SerialWire(port, listener)


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close()


def _open(options: ModbusRtuOptions) -> serial.Serial:
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
        if options.rs485:
            port.rs485_mode = RS485Settings(
                rts_level_for_tx=options.rs485_rts_on_send,
                rts_level_for_rx=not options.rs485_rts_on_send,
                delay_before_tx=options.rs485_delay_before_ms / 1000,
                delay_before_rx=options.rs485_delay_after_ms / 1000,
            )
        port.reset_input_buffer()
    except (OSError, ValueError, termios.error) as error:
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
        return "in use by another program: end it, or give this line another port"
    if "RS485" in str(error) or "rs485" in str(error):
        return f"{error}: this port has no RS-485 mode of its own, set rs485 = false"
    return str(error)
