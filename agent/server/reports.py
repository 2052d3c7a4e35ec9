"""`/api/v1/reports`: those that were made, having one made, and a door for the browser's own window.

A report is opened in a window of its own, which cannot send a token: `open` gives an address that nobody can
guess, good for a while and for that one file. A report is served under a policy that lets no script run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from aiohttp import hdrs, web
from pydantic import Field

from agent.reports.options import Kind, Language
from agent.reports.wish import ReportRefused, Wish
from agent.schema import NAME_PATTERN
from agent.server.asking import Body, body
from agent.server.identity.gate import CALLER
from agent.server.orders import Note
from agent.server.parts import Reports
from agent.server.replies import NO_STORE, Refused, json_reply

DOOR = "/reports/{door}"
DOOR_S = 300.0
DOORS_MAX = 256
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
_TYPES = {"html": "text/html", "csv": "text/csv"}
_LOCAL = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2})?$"


class ReportOrder(Body):
    """What is wanted. `from`, `to`: local times like 2026-11-16 or 2026-11-16T08:30; `month`: 2026-11."""

    kind: Kind
    language: Language = "pt-BR"
    meter: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)] | None = None
    from_: Annotated[str | None, Field(alias="from", pattern=_LOCAL)] = None
    to: Annotated[str | None, Field(pattern=_LOCAL)] = None
    month: Annotated[str | None, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = None


class ReportRoutes:
    """Handlers. `monotonic` is in seconds."""

    def __init__(self, reports: Reports | None, note: Note, monotonic: Callable[[], float]) -> None:
        self._reports, self._note, self._monotonic = reports, note, monotonic
        self._doors: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def all(self, request: web.Request) -> web.Response:
        """Every file, the newest first; and those that were asked for since the start."""
        reports = self._part()
        made = await asyncio.to_thread(reports.shelf.all)
        return json_reply({"reports": [each._asdict() for each in made], "making": reports.makings()})

    async def make(self, request: web.Request) -> web.Response:
        """Have one made; it is in the list when it is."""
        reports, asked = self._part(), await body(request, ReportOrder)
        if asked.month and asked.kind != "energy":
            raise Refused(400, "invalid_request", "month: only energy is of a month; give from and to")
        if (asked.from_ or asked.to) and asked.kind == "energy":
            raise Refused(400, "invalid_request", "from, to: energy is of a month; give month")
        if asked.meter and asked.kind == "commissioning":
            raise Refused(400, "invalid_request", "meter: commissioning is of the whole site")
        given = (asked.meter, asked.from_, asked.to, asked.month)
        wish = Wish(asked.kind, asked.language, *(each or "" for each in given))
        who = request[CALLER].label
        try:
            making = reports.ask(wish, who)
        except ReportRefused as refused:
            raise Refused(429, "busy", str(refused), {"Retry-After": "60"}) from None
        self._note("report.make", who=who, peer=request.remote, asked=wish.asked)
        return json_reply(making, 202)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """The file."""
        name = request.match_info["name"]
        path = await self._path(name)
        self._note("report.fetch", who=request[CALLER].label, peer=request.remote, name=name)
        return await _served(path, download=True)

    async def open(self, request: web.Request) -> web.Response:
        """An address of it for a window of the browser, good for DOOR_S seconds."""
        name = request.match_info["name"]
        await self._path(name)
        door = secrets.token_urlsafe(32)
        self._doors[door] = (name, self._monotonic() + DOOR_S)
        while len(self._doors) > DOORS_MAX:
            self._doors.popitem(last=False)
        self._note("report.open", who=request[CALLER].label, peer=request.remote, name=name)
        return json_reply({"url": DOOR.format(door=door), "expires_s": DOOR_S})

    async def remove(self, request: web.Request) -> web.Response:
        """It goes."""
        name = request.match_info["name"]
        await self._path(name)
        await asyncio.to_thread(self._part().shelf.remove, name)
        self._note("report.remove", who=request[CALLER].label, peer=request.remote, name=name)
        return json_reply({"name": name, "removed": True})

    async def through(self, request: web.Request) -> web.StreamResponse:
        """The file behind a door; it needs no token, the address is one."""
        name, until_s = self._doors.get(request.match_info["door"], ("", 0.0))
        if self._monotonic() >= until_s:
            text = "this address of a report is no longer good: open it again on the page"
            raise Refused(404, "not_found", text, kind="not_found")
        return await _served(await self._path(name), download=False)

    def _part(self) -> Reports:
        if self._reports is None:
            raise Refused(503, "unavailable", "this agent makes no reports")
        return self._reports

    async def _path(self, name: str) -> Path:
        path = await asyncio.to_thread(self._part().shelf.find, name)
        if path is None:
            raise Refused(404, "not_found", "there is no report of this name", kind="not_found")
        return path


async def _served(path: Path, *, download: bool) -> web.Response:
    try:
        data = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        raise Refused(404, "not_found", "this report has just gone", kind="not_found") from None
    kind = "attachment" if download or path.suffix == ".csv" else "inline"
    headers = {
        **NO_STORE,
        hdrs.CONTENT_DISPOSITION: f'{kind}; filename="{path.name}"',
        "Content-Security-Policy": POLICY,
    }
    return web.Response(body=data, content_type=_TYPES[path.suffix[1:]], charset="utf-8", headers=headers)
