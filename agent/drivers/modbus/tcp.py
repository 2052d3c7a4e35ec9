"""The Modbus TCP line: one connection, one request at a time, any number of devices behind it."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException
from pymodbus.pdu import ExceptionResponse

from agent.drivers.modbus.codec import Decode
from agent.drivers.modbus.plan import Block
from agent.drivers.modbus.profile import ModbusProfile
from agent.drivers.poll import Job, poll
from agent.drivers.profile import DeviceOptions
from agent.model import NAN, Device, Group, Quality, Reading
from agent.schema import Name, Options, Port
from agent.supervise import Episode, heed_cancellation

log = logging.getLogger(__name__)
# pymodbus logs every time-out as an error; this driver counts them and says what matters itself.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

EXCEPTION_NAMES = {
    1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "device failure",
    5: "acknowledge", 6: "device busy", 8: "memory parity error", 10: "gateway path unavailable",
    11: "gateway target device failed to respond",
}  # fmt: skip


class ModbusDeviceOptions(DeviceOptions):
    """A device behind the line. `interval_s` replaces the intervals of its profile."""

    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    interval_s: Annotated[float, Field(ge=0.01, le=86400)] | None = None


class ModbusTcpOptions(Options):
    """One TCP connection to a meter or to a gateway with several devices behind it."""

    driver: Literal["modbus-tcp"]
    name: Name
    host: Annotated[str, Field(min_length=1)]
    port: Port = 502
    timeout_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    device: Annotated[list[ModbusDeviceOptions], Field(min_length=1, max_length=1000)]


class _How(NamedTuple):
    """How to read one group: its requests, and a decoder for each of its values."""

    unit_id: int
    blocks: tuple[Block, ...]
    decoders: Sequence[Decode]


class ModbusTcp:
    """Driver `modbus-tcp`; `run` is entered again after every loss of the connection."""

    def __init__(
        self,
        options: ModbusTcpOptions,
        profiles: Mapping[str, ModbusProfile],
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = options.name
        self.counters: Counter[str] = Counter()
        self.episode = Episode(log, f"line {options.name} ({options.host}:{options.port})")
        self._options, self._now_s = options, now_s
        self._jobs = [job for device in options.device for job in _jobs(device, profiles[device.profile])]
        self._troubles = {job.group: Episode(log, f"device {job.group.device.name}") for job in self._jobs}

    @property
    def groups(self) -> Sequence[Group]:
        return [job.group for job in self._jobs]

    async def run(self, publish: Callable[[Sequence[Reading]], None]) -> None:
        """Poll until the connection is lost (OSError); all groups are then published as bad."""
        client = AsyncModbusTcpClient(
            self._options.host,
            port=self._options.port,
            timeout=self._options.timeout_s,
            retries=0,
            reconnect_delay=0,
            name=self.name,
        )
        try:
            if not await client.connect():
                raise ConnectionError("cannot connect: is it powered, is the address right?")
            self.counters["connections"] += 1
            await poll(self._jobs, lambda job: self._read(client, job), publish)
        except ConnectionException as error:
            raise ConnectionError(str(error)) from error
        finally:
            client.close()
            publish([group.bad(self._now_ms()) for group in self.groups])

    def _now_ms(self) -> int:
        return round(self._now_s() * 1000)

    async def _read(self, client: AsyncModbusTcpClient, job: Job[_How]) -> Reading:
        """One reading, stamped midway between its first and its last answer."""
        values = [NAN] * len(job.group.points)
        first_s = last_s = 0.0
        answered = 0
        try:
            for block in job.how.blocks:
                registers = await self._request(client, job, block)
                last_s = self._now_s()
                first_s = first_s or last_s
                if registers is None:
                    continue
                answered += 1
                for span in block.spans:
                    decode = job.how.decoders[span.slot]
                    values[span.slot] = decode(registers, span.address - block.address)
        except TimeoutError as error:
            self.counters["timeouts"] += 1
            self._troubles[job.group].failed(error)
            if not client.connected:
                raise ConnectionError("no answer to several requests in a row") from None
        if not answered:
            return job.group.bad(self._now_ms())
        if answered < len(job.how.blocks):
            quality = Quality.UNCERTAIN
        else:
            quality = Quality.GOOD
            self._troubles[job.group].ended()
            self.episode.ended()
        return Reading(job.group, round((first_s + last_s) * 500), values, quality)

    async def _request(
        self, client: AsyncModbusTcpClient, job: Job[_How], block: Block
    ) -> Sequence[int] | None:
        """The registers of one block, None if the device refuses it; TimeoutError if it is silent."""
        self.counters["requests"] += 1
        read = client.read_holding_registers if block.table == "holding" else client.read_input_registers
        where = f"{block.table} registers {block.address}-{block.end - 1} of unit {job.how.unit_id}"
        try:
            answer = await read(block.address, count=block.width, device_id=job.how.unit_id)
        except ConnectionException:
            raise
        except ModbusException as error:
            heed_cancellation()
            raise TimeoutError(f"{where}: no answer in {self._options.timeout_s} s") from error
        heed_cancellation()
        if isinstance(answer, ExceptionResponse):
            self.counters["exceptions"] += 1
            code = answer.exception_code
            reason = f"exception {code}, {EXCEPTION_NAMES.get(code, 'unknown')}"
            self._troubles[job.group].failed(f"{where}: {reason}")
            return None
        if len(answer.registers) != block.width:
            self.counters["malformed"] += 1
            found = len(answer.registers)
            self._troubles[job.group].failed(f"{where}: expected {block.width} registers, found {found}")
            return None
        registers: Sequence[int] = answer.registers
        return registers


def _jobs(options: ModbusDeviceOptions, profile: ModbusProfile) -> list[Job[_How]]:
    device = Device(options.name, options.profile, options.label)
    jobs: list[Job[_How]] = []
    for group in profile.group:
        interval_ms = round((options.interval_s or group.interval_s) * 1000)
        points = tuple(point.point() for point in group.point)
        how = _How(options.unit_id, profile.blocks(group), profile.decoders(group))
        jobs.append(Job(Group(device, group.name, points, interval_ms), how))
    return jobs
