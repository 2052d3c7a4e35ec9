"""Driver `serial-lines`: a serial port on which modules talk by themselves.

The port is opened in a thread (a USB adapter may take seconds) and read when the kernel says that
there is something; nothing is ever written. Whatever arrives is counted by its fate, and the first
of each kind of trouble is said in the log. The port that vanishes is an OSError: the line is
supervised and opened again.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import Field, model_validator

from agent.drivers.listening import Gone, Listening, Publish, Speaker
from agent.drivers.profile import DeviceOptions
from agent.drivers.serial.decode import Decoded, Decoder, Refused
from agent.drivers.serial.profile import BinaryFrame, SerialProfile
from agent.drivers.serial_port import READ_BYTES, open_port
from agent.model import Quality, Reading
from agent.schema import Name, Options

FRAME_TROUBLES = {
    "checksum_errors": "a frame fails its check: noise, or other serial settings?",
    "overflow": "a line longer than bytes_max: other serial settings, or another end?",
}
GAP_S = 0.5  # the bytes of one binary frame never come so far apart


class SerialDeviceOptions(DeviceOptions):
    """A module. `id` is what its frames call it; needed only where several share the wire."""

    id: str = ""
    silence_s: Annotated[float, Field(ge=1, le=86400)] = 60.0


class SerialLinesOptions(Options):
    """One serial port. All its devices have one profile: a wire has one frame format."""

    driver: Literal["serial-lines"]
    name: Name
    port: Annotated[str, Field(min_length=1)]
    baudrate: Annotated[int, Field(ge=50, le=4_000_000)] = 9600
    bytesize: Annotated[int, Field(ge=5, le=8)] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stopbits: Annotated[int, Field(ge=1, le=2)] = 1
    device: Annotated[list[SerialDeviceOptions], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _devices_are_told_apart(self) -> SerialLinesOptions:
        profiles = sorted({device.profile for device in self.device})
        if len(profiles) > 1:
            raise ValueError(f"device: expected one profile for all of a wire, found {', '.join(profiles)}")
        ids = [device.id for device in self.device]
        if len(ids) > 1 and (len(set(ids)) < len(ids) or "" in ids):
            raise ValueError("device: expected an id of its own for each of several devices")
        return self


def wire_faults(options: SerialLinesOptions, profiles: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """What is wrong between the devices of a wire and their profile, as key path and text."""
    for at, device in enumerate(options.device):
        profile = profiles.get(device.profile)
        if device.id and isinstance(profile, SerialProfile) and profile.id is None:
            text = f'expected "": the profile {device.profile} does not say where a frame carries an id'
            yield f"device[{at}].id", text


class _Module(Speaker):
    """One device."""

    def __init__(self, options: SerialDeviceOptions, profile: SerialProfile) -> None:
        super().__init__(options, profile.group, options.silence_s)
        self.counters["frames"] = 0


class SerialLines(Listening):
    """Driver `serial-lines`; `run` opens the port anew each time."""

    def __init__(
        self,
        options: SerialLinesOptions,
        profiles: Mapping[str, SerialProfile],
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._options, self._profile = options, profiles[options.device[0].profile]
        self._modules = {device.id: _Module(device, self._profile) for device in options.device}
        where = f"{options.port} {options.baudrate}"
        super().__init__(options.name, where, list(self._modules.values()), now_s=now_s)
        self._decoder = Decoder(self._profile)
        self._last_bytes_s = 0.0

    @asynccontextmanager
    async def _opened(self, publish: Publish) -> AsyncIterator[Gone]:
        """All groups are bad when the port is left."""
        loop = asyncio.get_running_loop()
        port = await open_port(self._options)
        gone: Gone = loop.create_future()
        self._decoder = Decoder(self._profile, self.counters, self._say_missing)
        self.counters["connections"] += 1
        self._last_bytes_s = self._monotonic_s()
        fd = port.fileno()
        try:
            loop.add_reader(fd, self._readable, fd, gone, publish)
            yield gone
        finally:
            loop.remove_reader(fd)
            port.close()
            publish(self._bad(self.groups))

    def _readable(self, fd: int, gone: Gone, publish: Publish) -> None:
        """Called by the loop; what goes wrong here, a bug too, ends `run` by way of `gone`."""
        if gone.done():
            return
        try:
            data = os.read(fd, READ_BYTES)
            if not data:
                raise OSError(errno.EIO, "was the adapter unplugged?")  # noqa: TRY301
            self._heard(data, publish)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            gone.set_exception(ConnectionError(f"the port has gone: {error.strerror or error}"))
        except Exception as error:
            gone.set_exception(error)

    def _heard(self, data: bytes, publish: Publish) -> None:
        now_s = self._monotonic_s()
        if now_s - self._last_bytes_s > GAP_S and isinstance(self._profile.frame, BinaryFrame):
            self._decoder.forget()
        self._last_bytes_s = now_s
        self.counters["bytes"] += len(data)
        before = {counter: self.counters[counter] for counter in FRAME_TROUBLES}
        results = self._decoder.feed(data)
        for counter, text in FRAME_TROUBLES.items():
            if self.counters[counter] > before[counter]:
                self._refused(counter, text)
        for result in results:
            if isinstance(result, Refused):
                self._refused(result.counter, result.text)
            elif reading := self._reading(result, now_s):
                publish((reading,))

    def _reading(self, decoded: Decoded, now_s: float) -> Reading | None:
        """The reading of a frame, dated by its arrival; None if it is of nobody we know."""
        module = self._modules.get(decoded.id) or self._modules.get("")
        if module is None:
            self.counters["unknown_device"] += 1
            known = ", ".join(sorted(self._modules)[:8])
            text = f"expected the id of a device ({known}), found {decoded.id[:40]!r}"
            self._refused("unknown_device", text)
            return None
        module.counters["frames"] += 1
        module.voices[decoded.group].heard(now_s)
        self.episode.ended()
        group = module.groups[decoded.group]
        if all(map(math.isnan, decoded.values)):
            return group.bad(self._now_ms())
        return Reading(group, self._now_ms(), decoded.values, Quality.GOOD)

    def _say_missing(self, name: str, missing: Sequence[str]) -> None:
        if module := self._modules.get(name) or self._modules.get(""):
            self.counters["missing_point"] += len(missing)
            module.lacks(missing)
