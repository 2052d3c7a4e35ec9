"""Searching a serial port or a network for Modbus devices: who answers, and what it is.

Rules. What is found is told at once (`found`), so a search that is cancelled or loses its line has lost
nothing. How long it will still take is told before every question (`progress`: seconds, and words).
One connection to a host at a time: small meters take no more. Nothing is ever written.
"""

from __future__ import annotations

import asyncio
import math
import termios
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, NamedTuple

from agent.commissioning.identify import Ask, Match, Presence, identification, presence
from agent.commissioning.probing import Exchange, Prober, drive
from agent.commissioning.scan_plan import LIKELY_UNITS, Probe, Settings, probes, total_s
from agent.drivers.modbus.connect import open_link
from agent.drivers.modbus.link import Link
from agent.drivers.modbus.options import ModbusRtuOptions, ModbusTcpOptions
from agent.drivers.modbus.pdu import Table
from agent.drivers.modbus.profile import ModbusProfile
from agent.supervise import describe

PARITY = {"N": "none", "E": "even", "O": "odd"}
TCP_UNITS = (1, 255, *(unit for unit in LIKELY_UNITS if unit != 1))
CONNECT_S, CONNECTIONS_MAX = 1.0, 64
LOSSES_MAX = 3
HOSTS_MAX = 4096
PRESENT = (Presence.DEVICE, Presence.EVERY_ADDRESS, Presence.ONLY_ZEROS, Presence.ONCE)

Progress = Callable[[float, str], None]


def hosts_of(text: str) -> tuple[str, ...]:
    """The hosts of a network, without its own address and that of everyone. ValueError says what is wrong."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected a network like 192.168.1.0/24 or an address, found {text!r}") from None
    if network.num_addresses > HOSTS_MAX:
        most = network.max_prefixlen - (HOSTS_MAX.bit_length() - 1)
        raise ValueError(
            f"{text} has {network.num_addresses} addresses, expected at most {HOSTS_MAX}: "
            f"name a part of it, /{most} or smaller"
        )
    return tuple(map(str, network.hosts()))


class Found(NamedTuple):
    """A device that answers: at `host` and `port`, or on the serial port `host` with `settings`.

    `any_unit`: it was asked at an address that such devices answer to whatever their own is.
    """

    host: str
    port: int
    settings: Settings | None
    unit_id: int
    table: Table
    presence: Presence
    exchange: Exchange
    identity: Mapping[int, str]
    matches: Sequence[Match]
    any_unit: bool = False

    @property
    def where(self) -> str:
        return f"{self.host} {self.settings}" if self.settings else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Search:
    """What is looked for, and who is told. `unread` counts what came to nothing, by reason."""

    profiles: Mapping[str, ModbusProfile]
    found: Callable[[Found], None]
    progress: Progress
    unread: Counter[str] = field(default_factory=Counter)

    async def _examine(self, prober: Prober, sign: Found) -> Found | None:
        """What gave the sign of life: asked again, then what it is."""
        verdict = await drive(presence(sign.unit_id, sign.table), prober.ask)
        if verdict is Presence.SILENT:
            verdict = Presence.ONCE  # the sign itself was an answer
        if verdict not in PRESENT:
            return None
        known = sign._replace(presence=verdict)
        if verdict is not Presence.ONCE:
            matches = await drive(identification(sign.unit_id, self.profiles), prober.ask)
            known = known._replace(matches=matches, identity=await prober.identity(sign.unit_id))
        self.found(known)
        return known


@dataclass(slots=True)
class SerialSearch(Search):
    """A serial port: the likely settings and addresses first. `rs485`: it switches the direction itself."""

    rs485: bool = False

    async def run(
        self, port: str, settings: Sequence[Settings], units: Sequence[int], *, wait_s: float
    ) -> None:
        """To the end of the plan. OSError: the port cannot be had, or has gone."""
        started_s = asyncio.get_running_loop().time()
        whole_s = total_s(settings, units, latency_s=wait_s)
        link, link_settings, known, refused = None, None, list[Found](), set[Settings]()
        try:
            for probe in probes(settings, units, latency_s=wait_s):
                if probe.settings in refused or _is_answered(probe, known):
                    continue
                pace = (asyncio.get_running_loop().time() - started_s) / max(probe.after_s, 1)
                left_s = (whole_s - probe.after_s) * (pace if probe.after_s > 5 else 1)
                self.progress(left_s, f"{probe.settings}, unit {probe.unit_id}")
                if link is None or probe.settings != link_settings:
                    if link:
                        link.close()
                    link, link_settings = await self._open(port, probe.settings, wait_s), probe.settings
                    if link is None:
                        refused.add(probe.settings)
                        continue
                if hit := await self._probe(link, port, probe, wait_s):
                    known += [hit] if hit.presence is not Presence.ONCE else []
        finally:
            if link:
                link.close()

    async def _open(self, port: str, settings: Settings, wait_s: float) -> Link | None:
        """None if the port is there, but cannot be set so: not every adapter has every rate and parity."""
        try:
            return await _open_port(port, settings, wait_s, rs485=self.rs485)
        except OSError as error:
            if self.rs485 or not isinstance(error.__cause__, termios.error | ValueError):
                raise
            self.unread[f"the port cannot be set to {settings}"] += 1
            return None

    async def _probe(self, link: Link, port: str, probe: Probe, wait_s: float) -> Found | None:
        prober = Prober(link, wait_s, is_rtu=True)
        table: Table = "input" if probe.table == "input" else "holding"
        answer = await prober.ask(Ask(probe.unit_id, table, 0, 2))
        if prober.garbled:
            self.unread[f"something garbled came at {probe.settings}"] += 1
        if answer is None:
            return None
        sign = Found(
            port, 0, probe.settings, probe.unit_id, table, Presence.SILENT, prober.exchange, {}, (),
            probe.any_unit,
        )  # fmt: skip
        return await self._examine(prober, sign)


def _is_answered(probe: Probe, known: Sequence[Found]) -> bool:
    """Whether a device that is known would only answer again: with other stop bits, or to everyone's address.

    Two devices with the same address on one wire cannot be told apart by asking anyway.
    """
    for each in known:
        same_rate = each.settings is not None and each.settings.baudrate == probe.settings.baudrate
        if same_rate and (each.unit_id == probe.unit_id or probe.any_unit):
            return True
    return False


async def _open_port(port: str, settings: Settings, wait_s: float, *, rs485: bool) -> Link:
    line: dict[str, Any] = {
        "driver": "modbus-rtu",
        "name": "scan",
        "port": port,
        "timeout_s": max(wait_s, 0.05),
    }
    line |= {"baudrate": settings.baudrate, "bytesize": settings.bytesize, "stopbits": settings.stopbits}
    line |= {"parity": PARITY[settings.parity], "device": [{"name": "any", "profile": "any"}]}
    line["rs485"] = rs485
    return await open_link(ModbusRtuOptions.model_validate(line))


@dataclass(slots=True)
class NetworkSearch(Search):
    """Hosts of a network, many at once, and behind each the unit ids that are likely or asked for."""

    port: int = 502
    units: Sequence[int] = TCP_UNITS
    wait_s: float = 1.0
    connect_s: float = CONNECT_S
    connections_max: int = CONNECTIONS_MAX
    _hosts_left: int = 0
    _units_left: dict[str, int] = field(default_factory=dict)

    async def run(self, hosts: Sequence[str]) -> None:
        """To the last host. Those that cannot be reached are counted in `unread`."""
        waiting, self._hosts_left = iter(hosts), len(hosts)

        async def work() -> None:
            for host in waiting:
                self._tell(f"{host}:{self.port}")
                await self._host(_tcp_options(host, self.port, self.wait_s))
                self._units_left.pop(host, None)
                self._hosts_left -= 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self.connections_max, len(hosts))):
                tasks.create_task(work())

    def _tell(self, text: str) -> None:
        rounds = math.ceil(self._hosts_left / self.connections_max)
        units = max(self._units_left.values(), default=0)
        self.progress(rounds * self.connect_s + units * self.wait_s, text)

    async def _host(self, options: ModbusTcpOptions) -> None:
        """Every unit behind one host; a connection that is lost is opened again, a few times."""
        link, losses = None, 0
        try:
            for at, unit in enumerate(self.units):
                try:
                    link = link or await _connected(options, self.connect_s)
                    self._units_left[options.host] = len(self.units) - at
                    self._tell(f"{options.where}, unit {unit}")
                    hit = await self._unit(link, options, unit)
                except OSError as error:
                    losses, link = losses + 1, None
                    if not at or losses > LOSSES_MAX:
                        self.unread[_reason(error)] += 1
                        return
                    continue
                if hit and hit.presence is Presence.EVERY_ADDRESS:
                    return
        finally:
            if link:
                link.close()

    async def _unit(self, link: Link, options: ModbusTcpOptions, unit: int) -> Found | None:
        prober = Prober(link, self.wait_s, is_rtu=False)
        if await prober.ask(Ask(unit, "holding", 0, 2)) is None:
            return None
        sign = Found(
            options.host, options.port, None, unit, "holding", Presence.SILENT, prober.exchange, {}, ()
        )
        return await self._examine(prober, sign)


def _tcp_options(host: str, port: int, wait_s: float) -> ModbusTcpOptions:
    line: dict[str, Any] = {"driver": "modbus-tcp", "name": "scan", "host": host, "port": port}
    line |= {"timeout_s": max(wait_s, 0.05), "device": [{"name": "any", "profile": "any"}]}
    return ModbusTcpOptions.model_validate(line)


async def _connected(options: ModbusTcpOptions, connect_s: float) -> Link:
    async with asyncio.timeout(connect_s):
        return await open_link(options, silent_requests_max=math.inf)


def _reason(error: OSError) -> str:
    """Few words, the same for every host that has the same trouble."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens at the port"
    if isinstance(cause, TimeoutError):
        return "no answer from the host"
    if isinstance(cause, ConnectionError):
        return "connected, but did not speak Modbus"
    return cause.strerror or describe(cause)
