"""A serial port as the loop sees it: a file that never blocks, which a link writes to and hears from."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Protocol

import serial
from serial.rs485 import RS485Settings

from agent.drivers.modbus.options import ModbusRtuOptions
from agent.drivers.serial_port import READ_BYTES, open_port

WRITE_BYTES_MAX = 4096


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
    port = await open_port(options, lambda port: _set_rs485(port, options))
    return SerialWire(port, listener)


def _set_rs485(port: serial.Serial, options: ModbusRtuOptions) -> None:
    """Let the port switch the direction itself, if it is asked to."""
    if options.rs485:
        port.rs485_mode = RS485Settings(
            rts_level_for_tx=options.rs485_rts_on_send,
            rts_level_for_rx=not options.rs485_rts_on_send,
            delay_before_tx=options.rs485_delay_before_ms / 1000,
            delay_before_rx=options.rs485_delay_after_ms / 1000,
        )
