"""Looking for devices while the agent runs: one search at a time, in the background.

Rules. Nothing is written to what is found. A host that a line of ours talks to is left out of a network
search (small meters take one connection), and a serial port that a line of ours reads is not searched, unless
the line is to rest meanwhile: then its readings are "not available" until it is taken up again, which it is
whatever becomes of the search.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agent.drivers.serial_port import serial_ports
from agent.drivers.shelf import modbus_profiles
from agent.lines import Lines
from agent.schema import Fault
from agent.server.parts import ScanOrder, ScanRefused
from agent.server.places import port_fault
from agent.server.scanning import RtuScan, TcpScan

if TYPE_CHECKING:
    from agent.commissioning.search import Found, Search

log = logging.getLogger(__name__)

KEPT_MAX = 8
FOUND_MAX = 1000
SCAN_S_MAX = 2 * 3600.0
RESOLVE_S = 2.0
BRIEF = ("host", "port", "settings", "unit_id", "identity", "profiles")
BRIEF_FOUND_MAX = 50


@dataclass(slots=True)
class Scan:
    """One search, running or over."""

    id: int
    order: ScanOrder
    by: str
    started_ms: int
    state: str = "running"  # done, cancelled, failed
    ended_ms: int | None = None
    left_s: float = 0.0
    asking: str = ""
    reason: str = ""
    skipped: dict[str, str] = field(default_factory=dict)  # host: the line that talks to it
    resting: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    search: Search | None = None

    def progress(self, left_s: float, asking: str) -> None:
        self.left_s, self.asking = left_s, asking

    def take(self, found: Found) -> None:
        if len(self.found) < FOUND_MAX:
            self.found.append(found)


class Scans:
    """Entered while `lines` run. `profile_dir`: own profiles, to recognise own devices by."""

    def __init__(self, lines: Lines, profile_dir: Path, now_s: Callable[[], float]) -> None:
        self._lines, self._profile_dir, self._now_s = lines, profile_dir, now_s
        self._scans: deque[Scan] = deque(maxlen=KEPT_MAX)
        self._task: asyncio.Task[None] | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A search that still runs is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def ports(self) -> list[dict[str, Any]]:
        """The serial ports of this box, each with the line that reads it."""
        found = await asyncio.to_thread(serial_ports)
        return [each | {"line": next(iter(self._reading(each["port"])), None)} for each in found]

    async def start(self, order: ScanOrder, by: str) -> dict[str, Any]:
        """Begin to search. ScanRefused says why not."""
        if order.kind == "rtu" and (text := port_fault(order.where, self._lines.ports.values())):
            raise ScanRefused("invalid_request", f"port: {text}")
        if self._task is not None and not self._task.done():
            raise ScanRefused("busy", f"search {self._number} is running: wait for its end, or cancel it")
        lines = self._reading(order.where) if order.kind == "rtu" else []
        if lines and not order.pause:
            text = f"line {lines[0]} reads {order.where}: ask with pause = true to have it rest meanwhile"
            raise ScanRefused("port_in_use", text)
        self._number += 1
        scan = Scan(self._number, order, by, round(self._now_s() * 1000), resting=lines)
        self._scans.appendleft(scan)
        self._task = asyncio.create_task(self._run(scan), name=f"scan {scan.id}")
        return self._shown(scan)

    async def rescan(self, params: Any) -> dict[str, Any]:
        """What the centre asks for: a search by `params` (`network` or the serial `port`, as by REST),
        or without any how the newest is. ValueError: what is wrong, or why not now."""
        if not params:
            return _brief(self.all()[0]) if self._scans else {"state": "none", "found": []}
        serial = isinstance(params, dict) and isinstance(params.get("port"), str)
        order = (RtuScan if serial else TcpScan).model_validate(params).order()
        log.info("the centre has %s searched", order.where)
        try:
            return _brief(await self.start(order, "centre"))
        except ScanRefused as refused:
            raise ValueError(str(refused)) from refused

    def all(self) -> list[dict[str, Any]]:
        """The newest first."""
        return [self._shown(scan) for scan in self._scans]

    def find(self, number: int) -> dict[str, Any] | None:
        """The search of this number, None if there is none (any more)."""
        return next((self._shown(scan) for scan in self._scans if scan.id == number), None)

    async def cancel(self, number: int) -> dict[str, Any] | None:
        """End it; what was found until then stays. None if there is none of this number."""
        if number == self._number and self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        return self.find(number)

    # ---------------------------------------------------------------- the search

    async def _run(self, scan: Scan) -> None:
        try:
            async with asyncio.timeout(SCAN_S_MAX), self._resting(scan):
                await self._search(scan)
            scan.state = "done"
        except asyncio.CancelledError:
            scan.state = "cancelled"
        except OSError as error:  # TimeoutError is one
            scan.state, scan.reason = "failed", str(error) or f"it took more than {SCAN_S_MAX:g} s"
        except Exception:  # a bug in a search must not end the reading of the meters
            log.exception("scan %d", scan.id)
            scan.state, scan.reason = "failed", "a fault of the agent; its log says why"
        finally:
            scan.ended_ms, scan.left_s, scan.asking = round(self._now_s() * 1000), 0.0, ""

    @asynccontextmanager
    async def _resting(self, scan: Scan) -> AsyncIterator[None]:
        if scan.order.kind == "tcp":
            polled = await self._polled(scan.order)
            if scan.order.pause:
                scan.resting = sorted(set(polled.values()))
            else:
                scan.skipped = polled
        async with self._lines.resting(scan.resting, lambda: round(self._now_s() * 1000)):
            yield

    async def _search(self, scan: Scan) -> None:
        # Commissioning is not carried by a box that searches for nothing.
        from agent.commissioning.scan_plan import UNITS, settings_of_devices  # noqa: PLC0415
        from agent.commissioning.search import TCP_UNITS, NetworkSearch, SerialSearch, hosts_of  # noqa: PLC0415

        order = scan.order
        profiles = await asyncio.to_thread(modbus_profiles, self._profile_dir, _left_out)
        if order.kind == "tcp":
            network = NetworkSearch(
                *(profiles, scan.take, scan.progress),
                port=order.port,
                units=order.units or TCP_UNITS,
                wait_s=order.wait_s,
            )
            scan.search = network
            await network.run([host for host in hosts_of(order.where) if host not in scan.skipped])
            return
        serial = SerialSearch(profiles, scan.take, scan.progress, rs485=order.rs485)
        scan.search = serial
        known = (text for profile in profiles.values() for text in profile.serial)
        settings = settings_of_devices(known, order.baudrates)
        await serial.run(order.where, settings, order.units or UNITS, wait_s=order.wait_s)

    def _reading(self, port: str) -> list[str]:
        """The lines that read the serial port."""
        real = os.path.realpath(port)
        return [name for name, own in self._lines.ports.items() if os.path.realpath(own) == real]

    async def _polled(self, order: ScanOrder) -> dict[str, str]:
        """The hosts to be searched that lines of ours talk to, each with its line."""
        from agent.commissioning.search import hosts_of  # noqa: PLC0415

        asked, polled = set(hosts_of(order.where)), dict[str, str]()
        for name, (host, port) in self._lines.hosts.items():
            if port == order.port:
                polled |= dict.fromkeys(asked & await _addresses(host), name)
        return polled

    def _shown(self, scan: Scan) -> dict[str, Any]:
        from agent.commissioning.found import as_data, as_toml  # noqa: PLC0415

        return {
            "id": scan.id,
            **{key: scan.order._asdict()[key] for key in ("kind", "where", "port", "pause")},
            "by": scan.by,
            "state": scan.state,
            "started_ms": scan.started_ms,
            "ended_ms": scan.ended_ms,
            "left_s": round(scan.left_s, 1),
            "asking": scan.asking,
            "reason": scan.reason,
            "skipped": scan.skipped,
            "resting": scan.resting,
            "found": [as_data(each) for each in scan.found],
            "unread": dict(scan.search.unread) if scan.search else {},
            "toml": as_toml(scan.found),
        }


def _brief(scan: dict[str, Any]) -> dict[str, Any]:
    """What fits into an answer by MQTT."""
    found = [{key: each[key] for key in BRIEF} for each in scan["found"][:BRIEF_FOUND_MAX]]
    told = ("id", "kind", "where", "state", "left_s", "reason", "skipped", "resting")
    return {key: scan[key] for key in told} | {"found": found, "found_count": len(scan["found"])}


def _left_out(file: Path, fault: Fault) -> None:
    log.warning("scan: left out: %s (see `profile check %s`)", fault, file)


async def _addresses(host: str) -> set[str]:
    """What `host` is now; nothing, if nobody says in time."""
    found: Sequence[Any] = ()
    with contextlib.suppress(OSError):
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}
