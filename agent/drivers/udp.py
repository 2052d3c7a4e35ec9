"""UDP telemetry modules that send JSON: `{"id": "...", "seq": 7, "ts": 1700000000000, "values": {...}}`.

`id` names the module, `seq` counts its datagrams, `ts` (Unix ms, optional) is when it sampled,
`values` holds numbers or booleans by key. A datagram that is not so is counted by its fault and
dropped; it never disturbs the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, model_validator

from agent.drivers.profile import POINTS_PER_GROUP_MAX, DeviceOptions, PointOptions
from agent.model import NAN, Device, Group, Quality, Reading
from agent.schema import Name, Options, Port
from agent.supervise import Episode

log = logging.getLogger(__name__)

DATAGRAM_BYTES_MAX = 8192
RECENT_DATAGRAMS = 64
LOST_IN_A_ROW_MAX = 10_000


class JsonPoint(PointOptions):
    """A value of the datagram: `key` in its `values`, the point's own name if not given."""

    key: str = ""


class JsonGroup(Options):
    name: Name
    point: Annotated[list[JsonPoint], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


class JsonProfile(Options):
    """What a module sends. One group: a datagram is a reading."""

    driver: Literal["udp-json"]
    title: str
    source: Annotated[list[str], Field(min_length=1)]
    group: Annotated[list[JsonGroup], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _keys_are_unique(self) -> JsonProfile:
        for names in (
            [point.name for point in self.group[0].point],
            [point.key or point.name for point in self.group[0].point],
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"expected each point and key once, found twice: {', '.join(twice)}")
        return self


class UdpDeviceOptions(DeviceOptions):
    """A module. `id` is what it calls itself in its datagrams, `name` if not given."""

    id: str = ""
    silence_s: Annotated[float, Field(ge=1, le=86400)] = 60.0


class UdpJsonOptions(Options):
    """One UDP socket that any number of modules send to."""

    driver: Literal["udp-json"]
    name: Name
    host: Annotated[str, Field(min_length=1)] = "0.0.0.0"  # noqa: S104 - modules are on the LAN
    port: Port
    skew_s_max: Annotated[float, Field(ge=1, le=10 * 365 * 86400)] = 7 * 86400.0
    device: Annotated[list[UdpDeviceOptions], Field(min_length=1, max_length=1000)]


class _RefusedError(ValueError):
    """A datagram that cannot be used; `counter` says why in one word."""

    def __init__(self, counter: str, text: str) -> None:
        super().__init__(text)
        self.counter = counter


class _Module:
    """What is known of one module: its points and the datagrams it sent lately."""

    def __init__(self, options: UdpDeviceOptions, profile: JsonProfile) -> None:
        declared = profile.group[0]
        device = Device(options.name, options.profile, options.label)
        self.group = Group(device, declared.name, tuple(point.point() for point in declared.point), 0)
        self.index = {point.key or point.name: at for at, point in enumerate(declared.point)}
        self.silence_s = options.silence_s
        self.heard_s = 0.0
        self.trouble = Episode(log, f"device {options.name}")
        self.unknown_key = Episode(log, f"device {options.name}")
        self._recent: deque[tuple[int, int | None]] = deque(maxlen=RECENT_DATAGRAMS)
        self._last_seq: int | None = None

    def is_repeated(self, seq: int, ts: int | None) -> bool:
        """Whether this very datagram came lately; if not, it is remembered."""
        if (seq, ts) in self._recent:
            return True
        self._recent.append((seq, ts))
        return False

    def lost_before(self, seq: int) -> int:
        """Datagrams missing between the newest and this one; 0 after a restart or a late arrival."""
        last, self._last_seq = self._last_seq, seq
        if last is None or not 1 < seq - last <= LOST_IN_A_ROW_MAX:
            return 0
        return seq - last - 1


class UdpJson:
    """Driver `udp-json`."""

    def __init__(
        self,
        options: UdpJsonOptions,
        profiles: Mapping[str, JsonProfile],
        *,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.name = options.name
        self.counters: Counter[str] = Counter()
        self.episode = Episode(log, f"line {options.name} (udp {options.host}:{options.port})")
        self._options, self._now_s = options, now_s
        self._modules = {
            device.id or device.name: _Module(device, profiles[device.profile]) for device in options.device
        }
        self._refusals: dict[str, Episode] = {}

    @property
    def groups(self) -> Sequence[Group]:
        return [module.group for module in self._modules.values()]

    async def run(self, publish: Callable[[Sequence[Reading]], None]) -> None:
        """Listen for ever; OSError if the socket cannot be had."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(lambda data, sender: self._heard(data, sender, publish)),
            local_addr=(self._options.host, self._options.port),
        )
        self.episode.ended()
        started_s = loop.time()
        for module in self._modules.values():
            module.heard_s = started_s
        try:
            while True:
                await asyncio.sleep(1)
                self._publish_silence(publish, loop.time())
        finally:
            transport.close()

    def _heard(
        self, data: bytes, sender: tuple[str, int], publish: Callable[[Sequence[Reading]], None]
    ) -> None:
        self.counters["datagrams"] += 1
        try:
            reading = self.decode(data)
        except _RefusedError as refused:
            self.counters[refused.counter] += 1
            episode = self._refusals.setdefault(refused.counter, Episode(log, f"line {self.name}"))
            episode.failed(f"from {sender[0]}: {refused} (others like it: counter '{refused.counter}')")
            return
        publish((reading,))

    def decode(self, data: bytes) -> Reading:
        """The reading that a datagram carries. Raises a ValueError that says what is wrong with it."""
        message = _parse(data)
        module = self._modules.get(message["id"])
        if module is None:
            known = ", ".join(sorted(self._modules)[:8])
            raise _RefusedError(
                "unknown_device", f"expected the id of a device ({known}), found {message['id']!r}"
            )
        seq, ts = message["seq"], message["ts"]
        if module.is_repeated(seq, ts):
            raise _RefusedError("repeated", f"seq {seq} of {message['id']!r} came before")
        self.counters["lost"] += module.lost_before(seq)
        module.heard_s = asyncio.get_running_loop().time()
        module.trouble.ended()
        time_ms, quality = self._time(ts)
        return Reading(module.group, time_ms, self._values(module, message["values"]), quality)

    def _values(self, module: _Module, sent: Mapping[str, float]) -> list[float]:
        values = [NAN] * len(module.group.points)
        for key, value in sent.items():
            at = module.index.get(key)
            if at is None:
                self.counters["unknown_key"] += 1
                module.unknown_key.failed(
                    f"sends {key[:40]!r}, unknown to its profile; its other values are kept"
                )
            else:
                values[at] = value
        return values

    def _time(self, ts: int | None) -> tuple[int, Quality]:
        """The module's own time if it is believable, else the time of arrival, marked uncertain."""
        now_ms = round(self._now_s() * 1000)
        if ts is None:
            return now_ms, Quality.GOOD
        if abs(now_ms - ts) > self._options.skew_s_max * 1000:
            self.counters["clock_wrong"] += 1
            return now_ms, Quality.UNCERTAIN
        return ts, Quality.GOOD

    def _publish_silence(self, publish: Callable[[Sequence[Reading]], None], now_s: float) -> None:
        for module in self._modules.values():
            if now_s - module.heard_s > module.silence_s:
                module.heard_s = now_s
                module.trouble.failed(f"nothing heard for {module.silence_s:g} s")
                publish((module.group.bad(round(self._now_s() * 1000)),))


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._heard(data, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("udp: %r", exc)  # an ICMP answer to an earlier send; the socket stays good


def _parse(data: bytes) -> dict[str, Any]:
    """The four fields of a datagram, checked."""
    if len(data) > DATAGRAM_BYTES_MAX:
        raise _RefusedError("malformed", f"expected at most {DATAGRAM_BYTES_MAX} bytes, found {len(data)}")
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _RefusedError("malformed", f"expected JSON, found {data[:40]!r}: {error}") from None
    if not isinstance(message, dict):
        raise _RefusedError("malformed", f"expected a JSON object, found {data[:40]!r}")
    name, seq, ts, values = (message.get(key) for key in ("id", "seq", "ts", "values"))
    if not isinstance(name, str):
        raise _RefusedError("malformed", f"id: expected a text, found {name!r}")
    if type(seq) is not int or seq < 0:
        raise _RefusedError("malformed", f"seq: expected a whole number from 0 on, found {seq!r}")
    if ts is not None and type(ts) is not int:
        raise _RefusedError("malformed", f"ts: expected whole Unix milliseconds, found {ts!r}")
    if not isinstance(values, dict):
        raise _RefusedError("malformed", f"values: expected an object, found {values!r}")
    return {"id": name, "seq": seq, "ts": ts, "values": {k: _number(k, v) for k, v in values.items()}}


def _number(key: str, value: object) -> float:
    if value is None:
        return NAN
    if isinstance(value, int | float) and math.isfinite(number := float(value)):
        return number
    raise _RefusedError("malformed", f"values.{key}: expected a number, found {value!r}")
