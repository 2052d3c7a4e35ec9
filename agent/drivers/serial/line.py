"""Driver `serial-lines`: a serial port on which modules talk by themselves.

The port is opened in a thread (a USB adapter may take seconds) and read when the kernel says that
there is something; nothing is ever written. Whatever arrives is counted by its fate, and the first
of each kind of trouble is said in the log. The port that vanishes is an OSError: the line is
supervised and opened again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from agent.drivers.command import ReadOnly
from agent.drivers.profile import DeviceOptions
from agent.drivers.serial.decode import Decoded, Decoder, Refused
from agent.drivers.serial.profile import BinaryFrame, SerialProfile
from agent.drivers.serial_port import READ_BYTES, open_port
from agent.model import NAN, Device, Group, Quality, Reading
from agent.schema import Name, Options
from agent.supervise import Episode

log = logging.getLogger(__name__)

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


class _Module:
    """One device: its groups, and when each was last heard."""

    def __init__(self, options: SerialDeviceOptions, profile: SerialProfile) -> None:
        device = Device(options.name, options.profile, options.label)
        self.groups = [
            Group(device, group.name, tuple(point.point() for point in group.point), 0)
            for group in profile.group
        ]
        self.silence_s = options.silence_s
        self.heard_s = [0.0] * len(self.groups)
        self.frames = 0
        self.troubles = [Episode(log, f"device {options.name}, group {group.name}") for group in self.groups]


class SerialLines(ReadOnly):
    """Driver `serial-lines`; `run` opens the port anew each time."""

    def __init__(
        self,
        options: SerialLinesOptions,
        profiles: Mapping[str, SerialProfile],
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = options.name
        self.counters: Counter[str] = Counter()
        self.episode = Episode(log, f"line {options.name} ({options.port})")
        self._options, self._now_s = options, now_s
        self._profile = profiles[options.device[0].profile]
        self._modules = {device.id: _Module(device, self._profile) for device in options.device}
        self._refusals: dict[str, Episode] = {}
        self._decoder = Decoder(self._profile)
        self._last_bytes_s = 0.0
        self._is_open = False

    @property
    def groups(self) -> Sequence[Group]:
        return [group for module in self._modules.values() for group in module.groups]

    @property
    def stretch(self) -> float:
        """NaN: the modules decide when they speak."""
        return NAN

    def statistics(self) -> dict[str, Any]:
        """Plain data for people: what became of what was heard, and the frames of each module."""
        return {
            "line": self.name,
            "where": f"{self._options.port} {self._options.baudrate}",
            "connected": self._is_open,
            "counters": dict(self.counters),
            "devices": {
                module.groups[0].device.name: {"frames": module.frames} for module in self._modules.values()
            },
        }

    async def run(self, publish: Callable[[Sequence[Reading]], None]) -> None:
        """Listen until the port is gone (OSError); all groups are then published as bad."""
        loop = asyncio.get_running_loop()
        port = await open_port(self._options)
        gone: asyncio.Future[None] = loop.create_future()
        self._decoder = Decoder(self._profile, self.counters)
        self._start_listening(loop.time())
        fd = port.fileno()
        self._is_open = True
        try:
            loop.add_reader(fd, self._readable, fd, gone, publish)
            while not gone.done():
                await asyncio.wait([gone], timeout=1)
                self._publish_silence(publish, loop.time())
            gone.result()
        finally:
            self._is_open = False
            loop.remove_reader(fd)
            port.close()
            publish([group.bad(self._now_ms()) for group in self.groups])

    def _now_ms(self) -> int:
        return round(self._now_s() * 1000)

    def _start_listening(self, now_s: float) -> None:
        self.counters["connections"] += 1
        self._last_bytes_s = now_s
        for module in self._modules.values():
            module.heard_s = [now_s] * len(module.groups)

    def _readable(
        self, fd: int, gone: asyncio.Future[None], publish: Callable[[Sequence[Reading]], None]
    ) -> None:
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

    def _heard(self, data: bytes, publish: Callable[[Sequence[Reading]], None]) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._last_bytes_s > GAP_S and isinstance(self._profile.frame, BinaryFrame):
            self._decoder.forget()
        self._last_bytes_s = now_s
        self.counters["bytes"] += len(data)
        before = {counter: self.counters[counter] for counter in FRAME_TROUBLES}
        results = self._decoder.feed(data)
        for counter, text in FRAME_TROUBLES.items():
            if self.counters[counter] > before[counter]:
                self._refused(Refused(counter, text))
        for result in results:
            if isinstance(result, Refused):
                self._refused(result)
            elif reading := self._reading(result, now_s):
                publish((reading,))

    def _refused(self, refused: Refused) -> None:
        episode = self._refusals.setdefault(refused.counter, Episode(log, f"line {self.name}"))
        episode.failed(f"{refused.text} (others like it: counter '{refused.counter}')")

    def _reading(self, decoded: Decoded, now_s: float) -> Reading | None:
        """The reading of a frame, dated by its arrival; None if it is of nobody we know."""
        module = self._modules.get(decoded.id) or self._modules.get("")
        if module is None:
            self.counters["unknown_device"] += 1
            known = ", ".join(sorted(self._modules)[:8])
            text = f"expected the id of a device ({known}), found {decoded.id[:40]!r}"
            self._refused(Refused("unknown_device", text))
            return None
        module.heard_s[decoded.group] = now_s
        module.frames += 1
        module.troubles[decoded.group].ended()
        self.episode.ended()
        return Reading(module.groups[decoded.group], self._now_ms(), decoded.values, Quality.GOOD)

    def _publish_silence(self, publish: Callable[[Sequence[Reading]], None], now_s: float) -> None:
        for module in self._modules.values():
            for at, group in enumerate(module.groups):
                if now_s - module.heard_s[at] > module.silence_s:
                    module.heard_s[at] = now_s
                    module.troubles[at].failed(f"nothing heard for {module.silence_s:g} s")
                    publish((group.bad(self._now_ms()),))
