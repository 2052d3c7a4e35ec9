"""Driver `sma-speedwire`: SMA energy meters and Home Managers, by multicast or unicast.

A meter sends about one datagram a second to a multicast group, or to the addresses set in it. The
group is joined on the interface that the configuration names; a switch may forget that we are in it,
so it is joined anew whenever a meter falls silent. Datagrams of other kinds are passed over and
counted; a meter that nobody configured is named in the log with its serial number, ready to copy.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import math
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from agent.drivers.listening import Gone, Listening, Publish, Speaker
from agent.drivers.profile import POINTS_PER_GROUP_MAX, DeviceOptions, PointOptions, Said, Sources
from agent.drivers.sma.datagram import Datagram, NotForUsError, decode
from agent.model import NAN, Quality, Reading
from agent.schema import Name, Options, Port

log = logging.getLogger(__name__)

_IP_MULTICAST_ALL = 49  # linux/in.h; Python has no name for it
_SIOCGIFADDR = 0x8915
Item = Annotated[str, Field(pattern=r"^\d{1,3}\.\d{1,3}\.\d{1,3}$")]


class SmaPoint(PointOptions):
    """value = (`item` + `plus` - `minus`) / `divisor`; an item is `index.type.tariff`, like "1.4.0"."""

    item: Item
    plus: Item | Literal[""] = ""
    minus: Item | Literal[""] = ""
    divisor: Annotated[int, Field(ge=1)] = 1


class SmaGroup(Options):
    """Published at most every `interval_s`; 0: with every datagram."""

    name: Name
    interval_s: Annotated[float, Field(ge=0, le=86400)] = 0.0
    point: Annotated[list[SmaPoint], Field(min_length=1, max_length=POINTS_PER_GROUP_MAX)]


class SmaProfile(Options):
    """A datasheet of a Speedwire meter."""

    driver: Literal["sma-speedwire"]
    title: Said
    source: Sources
    group: Annotated[list[SmaGroup], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _points_are_unique(self) -> SmaProfile:
        names = [point.name for group in self.group for point in group.point]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"expected each point once, found twice: {', '.join(twice)}")
        return self


class SmaDeviceOptions(DeviceOptions):
    """A meter. `serial_number` and `susy_id` are in its datagrams and on its label; 0: any."""

    serial_number: Annotated[int, Field(ge=0, le=0xFFFFFFFF)] = 0
    susy_id: Annotated[int, Field(ge=0, le=0xFFFF)] = 0
    silence_s: Annotated[float, Field(ge=1, le=86400)] = 10.0

    def is_of(self, datagram: Datagram) -> bool:
        """Whether this meter sent it."""
        return self.serial_number in (0, datagram.serial_number) and self.susy_id in (0, datagram.susy_id)


class SmaSpeedwireOptions(Options):
    """One UDP socket. `multicast_group` "": unicast only; `interface`: a name or an IPv4 address of ours."""

    driver: Literal["sma-speedwire"]
    name: Name
    multicast_group: str = "239.12.255.254"
    interface: Annotated[str, Field(max_length=64)] = ""
    port: Port = 9522
    device: Annotated[list[SmaDeviceOptions], Field(min_length=1, max_length=100)]

    @field_validator("multicast_group")
    @classmethod
    def _is_a_group(cls, text: str) -> str:
        if text and not _ipv4(text).is_multicast:
            raise ValueError(f'expected a group from 224.0.0.0 to 239.255.255.255, or "", found {text}')
        return text

    @model_validator(mode="after")
    def _meters_are_told_apart(self) -> SmaSpeedwireOptions:
        serials = [(device.serial_number, device.susy_id) for device in self.device]
        if len(serials) > 1 and (len(set(serials)) < len(serials) or (0, 0) in serials):
            raise ValueError("device: expected a serial_number of its own for each of several meters")
        return self


class _Meter(Speaker):
    """One meter: its groups, and when each is next to be published. A datagram has them all."""

    def __init__(self, options: SmaDeviceOptions, profile: SmaProfile) -> None:
        super().__init__(
            *(options, profile.group, options.silence_s),
            together=True,
            interval_ms=lambda at: round(profile.group[at].interval_s * 1000),
        )
        self.options, self.declared = options, profile.group
        self.due_s = [0.0] * len(self.groups)
        self.ticker_ms: int | None = None
        self.counters["datagrams"] = 0

    def readings(self, datagram: Datagram, time_ms: int, now_s: float) -> list[Reading]:
        """The groups that are due, from this datagram; the grid of a group does not drift."""
        readings = []
        for at, declared in enumerate(self.declared):
            if now_s < self.due_s[at]:
                continue
            self.due_s[at] = _next_due(self.due_s[at], declared.interval_s, now_s)
            values = [_value(datagram.items, point) for point in declared.point]
            if missing := _missing(declared, datagram.items):
                self.lacks(missing)
            if all(map(math.isnan, values)):
                readings.append(self.groups[at].bad(time_ms))
            else:
                readings.append(Reading(self.groups[at], time_ms, values, Quality.GOOD))
        return readings


def _next_due(due_s: float, interval_s: float, now_s: float) -> float:
    if interval_s <= 0:
        return 0.0
    return due_s + interval_s * (int((now_s - due_s) / interval_s) + 1) if due_s else now_s + interval_s


def _missing(declared: SmaGroup, items: Mapping[str, int]) -> list[str]:
    """The points that `items` have not all for."""
    return [point.name for point in declared.point if not set(_items(point)) <= items.keys()]


def _items(point: SmaPoint) -> list[str]:
    return [name for name in (point.item, point.plus, point.minus) if name]


def _value(items: Mapping[str, int], point: SmaPoint) -> float:
    if any(name not in items for name in _items(point)):
        return NAN
    raw = items[point.item] + items.get(point.plus, 0) - items.get(point.minus, 0)
    return raw / point.divisor


class SmaSpeedwire(Listening):
    """Driver `sma-speedwire`."""

    def __init__(
        self,
        options: SmaSpeedwireOptions,
        profiles: Mapping[str, SmaProfile],
        *,
        now_s: Callable[[], float] = time.time,
        rejoin: Callable[[socket.socket, SmaSpeedwireOptions], None] | None = None,
    ) -> None:
        """`rejoin`: called when a meter fell silent; leaves the group and joins it anew if not given."""
        self._rejoin = rejoin or _rejoin
        self._options = options
        # A meter named by both its numbers goes before one that takes any.
        self._meters = sorted(
            (_Meter(device, profiles[device.profile]) for device in options.device),
            key=lambda meter: (meter.options.serial_number == 0) + (meter.options.susy_id == 0),
        )
        where = f"udp {options.port} {options.multicast_group or 'unicast'}"
        super().__init__(options.name, where, self._meters, now_s=now_s)
        self._socket: socket.socket | None = None

    @asynccontextmanager
    async def _opened(self, publish: Publish) -> AsyncIterator[Gone]:
        """All groups are bad when the socket is left."""
        loop = asyncio.get_running_loop()
        listening = self._socket = _listen(self._options)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(lambda data, sender: self._heard(data, sender, publish)), sock=listening
        )
        try:
            yield loop.create_future()
        finally:
            self._socket = None
            transport.close()
            publish(self._bad(self.groups))

    def _fell_silent(self) -> None:
        if self._socket is not None:
            self._rejoin(self._socket, self._options)

    def _heard(self, data: bytes, sender: str, publish: Publish) -> None:
        self.counters["datagrams"] += 1
        try:
            datagram = decode(data)
        except NotForUsError as error:
            self.counters["other_protocol"] += 1
            log.debug("line %s: from %s: passed over: %s", self.name, sender, error)
        except ValueError as error:
            self._counted("malformed", f"from {sender}: {error}")
        else:
            if readings := self.readings(datagram, self._monotonic_s()):
                publish(readings)

    def readings(self, datagram: Datagram, now_s: float) -> list[Reading]:
        """What a datagram says of a configured meter; nothing for another's, or one that came before."""
        meter = next((meter for meter in self._meters if meter.options.is_of(datagram)), None)
        if meter is None:
            text = f"expected a configured meter, found serial_number = {datagram.serial_number}"
            self._counted("unknown_device", f"{text}, susy_id = {datagram.susy_id}")
            return []
        if meter.ticker_ms == datagram.ticker_ms:  # two interfaces, or a switch that doubles
            self.counters["repeated"] += 1
            return []
        meter.ticker_ms = datagram.ticker_ms
        meter.counters["datagrams"] += 1
        meter.voices[0].heard(now_s)
        self.episode.ended()
        return meter.readings(datagram, self._now_ms(), now_s)

    def _counted(self, counter: str, text: str) -> None:
        self.counters[counter] += 1
        self._refused(counter, text)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, str], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._heard(data, addr[0])

    def error_received(self, exc: Exception) -> None:
        log.debug("speedwire: %r", exc)


def _listen(options: SmaSpeedwireOptions) -> socket.socket:
    """The bound socket, in its group. Others on this host may listen to the same group."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Without this a socket also gets the groups that other programs joined.
        listening.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        host = "0.0.0.0" if options.multicast_group else _address(options.interface)  # noqa: S104 - the group decides
        listening.bind((host, options.port))
        _join(listening, options)
    except OSError:
        listening.close()
        raise
    return listening


def _join(listening: socket.socket, options: SmaSpeedwireOptions, *, anew: bool = False) -> None:
    """Be in the group; `anew`: leave it first, so that the switches hear of us again."""
    if not options.multicast_group:
        return
    interface = _address(options.interface)
    request = socket.inet_aton(options.multicast_group) + socket.inet_aton(interface)
    try:
        if anew:
            listening.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, request)
        listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    except OSError as error:
        where = f"interface {options.interface}" if options.interface else "the default interface"
        raise OSError(
            error.errno, f"cannot join {options.multicast_group} on {where}: {error.strerror}"
        ) from error


def _rejoin(listening: socket.socket, options: SmaSpeedwireOptions) -> None:
    _join(listening, options, anew=True)


def _address(interface: str) -> str:
    """An interface's IPv4 address; OSError names the interfaces that there are."""
    if not interface:
        return "0.0.0.0"  # noqa: S104 - the system chooses
    try:
        return str(IPv4Address(interface))
    except ValueError:
        pass
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError as error:
            known = ", ".join(name for _, name in socket.if_nameindex())
            raise OSError(
                error.errno,
                f"interface {interface}: no such interface, or without an address; known: {known}",
            ) from error
    return socket.inet_ntoa(answer[20:24])


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError(f"expected an IPv4 address, found {text!r}") from None
