"""Searches for devices by REST: `/api/v1/scans`. One at a time; its state is asked for until it is over."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Any

from aiohttp import web
from pydantic import AfterValidator, Field

from agent.server.asking import Body, body
from agent.server.identity.gate import CALLER
from agent.server.orders import Note
from agent.server.parts import ScanOrder, ScanRefused, Scans
from agent.server.replies import Refused, json_reply

HOSTS_MAX = 4096


def _network(text: str) -> str:
    """Of private addresses: this box is no instrument to search the world with."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected a network like 192.168.1.0/24 or an address, found {text!r}") from None
    if not (network.is_private or network.is_link_local):
        raise ValueError(f"expected private addresses, like 192.168.1.0/24, found {text!r}")
    if network.num_addresses > HOSTS_MAX:
        raise ValueError(
            f"expected at most {HOSTS_MAX} addresses, found {network.num_addresses}: a part of it"
        )
    return text


WaitMs = Annotated[int, Field(ge=10, le=10_000)]
TcpUnit = Annotated[int, Field(ge=0, le=255)]
RtuUnit = Annotated[int, Field(ge=1, le=247)]
Baudrate = Annotated[int, Field(ge=300, le=4_000_000)]


class TcpScan(Body):
    """Modbus TCP in a network. `units` left out: the likely ones. `pause`: also hosts that lines talk to, and
    they rest meanwhile; else these are left out."""

    network: Annotated[str, Field(max_length=64), AfterValidator(_network)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    units: Annotated[list[TcpUnit], Field(max_length=256)] | None = None
    wait_ms: WaitMs = 1000
    pause: bool = False

    def order(self) -> ScanOrder:
        units, wait_s = tuple(self.units or ()), self.wait_ms / 1000
        return ScanOrder("tcp", self.network, self.port, units, wait_s=wait_s, pause=self.pause)


class RtuScan(Body):
    """Modbus RTU on a serial port. `baudrates`, `units` left out: all that devices use. `pause`: a line that
    reads the port rests meanwhile; else it is refused."""

    port: Annotated[str, Field(max_length=256)]
    baudrates: Annotated[list[Baudrate], Field(max_length=16)] | None = None
    units: Annotated[list[RtuUnit], Field(max_length=247)] | None = None
    wait_ms: WaitMs = 150
    rs485: bool = False
    pause: bool = False

    def order(self) -> ScanOrder:
        return ScanOrder(
            *("rtu", self.port, 0, tuple(self.units or ()), tuple(self.baudrates or ())),
            wait_s=self.wait_ms / 1000,
            rs485=self.rs485,
            pause=self.pause,
        )


class Scanning:
    """Handlers. `scans` None: nothing can be searched."""

    def __init__(self, scans: Scans | None, note: Note) -> None:
        self._scans, self._note = scans, note

    async def ports(self, request: web.Request) -> web.Response:
        return json_reply({"ports": await self._need().ports()})

    async def all(self, request: web.Request) -> web.Response:
        return json_reply({"scans": self._need().all()})

    async def one(self, request: web.Request) -> web.Response:
        return json_reply(_there(request, self._need().find(_number(request))))

    async def tcp(self, request: web.Request) -> web.Response:
        return await self._start(request, (await body(request, TcpScan)).order())

    async def rtu(self, request: web.Request) -> web.Response:
        return await self._start(request, (await body(request, RtuScan)).order())

    async def cancel(self, request: web.Request) -> web.Response:
        found = _there(request, await self._need().cancel(_number(request)))
        self._note("scan.cancel", who=request[CALLER].label, peer=request.remote, scan=found["id"])
        return json_reply(found)

    async def _start(self, request: web.Request, order: ScanOrder) -> web.Response:
        who = request[CALLER].label
        try:
            scan = await self._need().start(order, who)
        except ScanRefused as refusal:
            status = 400 if refusal.code == "invalid_request" else 409
            raise Refused(status, refusal.code, str(refusal)) from None
        self._note("scan.start", who=who, peer=request.remote, scan=scan["id"], order=order._asdict())
        return json_reply(scan, 201)

    def _need(self) -> Scans:
        if self._scans is None:
            raise Refused(503, "not_available", "this agent searches for nothing")
        return self._scans


def _number(request: web.Request) -> int:
    text = request.match_info["scan"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _there(request: web.Request, scan: dict[str, Any] | None) -> dict[str, Any]:
    if scan is None:
        text = f'there is no search "{request.match_info["scan"][:16]}" (any more)'
        raise Refused(404, "unknown_scan", text, kind="not_found")
    return scan
