"""What a configuration says of a Modbus line: over TCP, on a serial port, or RTU frames over TCP."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.drivers.modbus.link import Pace
from agent.drivers.profile import CommandedDeviceOptions
from agent.schema import Host, Name, Options, Port

SILENCE_CHARACTERS = 3.5
SILENCE_S_MIN = 0.00175  # of the standard, above 19200 baud
Baudrate = Annotated[int, Field(ge=300, le=4_000_000)]
DelayMs = Annotated[float, Field(ge=0, le=60_000)]
Seconds = Annotated[float, Field(ge=0.05, le=60)]


class ModbusDeviceOptions(CommandedDeviceOptions):
    """A device behind the line. `interval_s` replaces its profile's intervals, `timeout_s` the line's."""

    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    interval_s: Annotated[float, Field(ge=0.01, le=86400)] | None = None
    timeout_s: Seconds | None = None


class RtuDeviceOptions(ModbusDeviceOptions):
    """On an RTU line unit 0 is everyone, and nobody answers."""

    unit_id: Annotated[int, Field(ge=1, le=255)] = 1


class _LineOptions(Options):
    name: Name
    delay_ms: DelayMs = 0.0
    connect_delay_ms: DelayMs = 0.0


class ModbusTcpOptions(_LineOptions):
    """One TCP connection to a meter or to a gateway with several devices behind it."""

    driver: Literal["modbus-tcp"]
    host: Host
    port: Port = 502
    timeout_s: Seconds = 1.0
    device: Annotated[list[ModbusDeviceOptions], Field(min_length=1, max_length=1000)]

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pace(self) -> Pace:
        return Pace(delay_s=self.delay_ms / 1000, connect_delay_s=self.connect_delay_ms / 1000)


class ModbusRtuTcpOptions(_LineOptions):
    """A serial server that passes RTU frames as they are. `baudrate` is that of the line behind it."""

    driver: Literal["modbus-rtu-tcp"]
    host: Host
    port: Port
    baudrate: Baudrate = 9600
    timeout_s: Seconds = 1.0
    device: Annotated[list[RtuDeviceOptions], Field(min_length=1, max_length=247)]

    @property
    def where(self) -> str:
        return f"RTU at {self.host}:{self.port}"

    @property
    def pace(self) -> Pace:
        return rtu_pace(self.baudrate, 11, None, self.delay_ms, self.connect_delay_ms)


class ModbusRtuOptions(_LineOptions):
    """A serial port. `timeout_s` is for the device's thinking; the time of the bytes is added to it."""

    driver: Literal["modbus-rtu"]
    port: Annotated[str, Field(min_length=1)]
    baudrate: Baudrate = 9600
    bytesize: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Literal[1, 2] = 1
    timeout_s: Seconds = 0.5
    silence_ms: DelayMs | None = None
    rs485: bool = False
    rs485_rts_on_send: bool = True
    rs485_delay_before_ms: DelayMs = 0.0
    rs485_delay_after_ms: DelayMs = 0.0
    device: Annotated[list[RtuDeviceOptions], Field(min_length=1, max_length=247)]

    @property
    def where(self) -> str:
        return f"{self.port} {self.baudrate} {self.bytesize}{self.parity[0].upper()}{self.stopbits}"

    @property
    def pace(self) -> Pace:
        bits = 1 + self.bytesize + (self.parity != "none") + self.stopbits
        return rtu_pace(self.baudrate, bits, self.silence_ms, self.delay_ms, self.connect_delay_ms)


ModbusLineOptions = ModbusTcpOptions | ModbusRtuOptions | ModbusRtuTcpOptions


def rtu_pace(
    baudrate: int, bits: int, silence_ms: float | None, delay_ms: float, connect_delay_ms: float
) -> Pace:
    """The times of a line whose characters have `bits` bits, start and stop included."""
    byte_s = bits / baudrate
    silence_s = max(SILENCE_CHARACTERS * byte_s, SILENCE_S_MIN) if silence_ms is None else silence_ms / 1000
    return Pace(byte_s, silence_s, delay_ms / 1000, connect_delay_ms / 1000)
