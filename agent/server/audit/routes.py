"""`GET /api/v1/audit` and `/api/v1/audit.csv`: the log, for those who may see it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import orjson
from aiohttp import hdrs, web

from agent.server.audit.journal import PAGE_MAX, Audit, Entry, Query
from agent.server.replies import NO_STORE, Refused, json_reply
from agent.server.times import iso, time_ms

HEADER = ("number", "time", "kind", "who", "peer", "what")
LIMIT = 100

_PARAMETERS = frozenset({"before", "from", "to", "kind", "who", "limit"})


class AuditRoutes:
    """Handlers."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    async def entries(self, request: web.Request) -> web.Response:
        """The newest entries, newest first; `next` is the `before` of the page after them."""
        limit = _number(request, "limit", LIMIT)
        await self._audit.settled()
        entries = await self._audit.find(_query(request), max(1, min(limit, PAGE_MAX)))
        after = entries[-1].number if len(entries) == limit else None
        return json_reply({"entries": [each._asdict() for each in entries], "next": after})

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """All entries asked for, newest first."""
        query = _query(request)
        await self._audit.settled()
        disposition = 'attachment; filename="uicps_audit.csv"'
        kind = "text/csv; charset=utf-8; header=present"
        headers = {**NO_STORE, hdrs.CONTENT_TYPE: kind, hdrs.CONTENT_DISPOSITION: disposition}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(csv_text([HEADER]).encode())
        async for entries in self._audit.all(query):
            await response.write(csv_text(map(cells, entries)).encode())
        await response.write_eof()
        return response


def cells(entry: Entry) -> tuple[str, ...]:
    """One row. What strangers sent must not be a formula where a spreadsheet opens it."""
    what = orjson.dumps(entry.what).decode()
    texts = (entry.kind, entry.who, entry.peer, what)
    return (str(entry.number), iso(entry.time_ms), *(_inert(text) for text in texts))


def csv_text(rows: Iterable[Iterable[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _inert(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _query(request: web.Request) -> Query:
    if unknown := request.query.keys() - _PARAMETERS:
        known = ", ".join(sorted(_PARAMETERS))
        raise Refused(400, "invalid_request", f'unknown parameter "{min(unknown)[:64]}"; known: {known}')
    before = _number(request, "before", 0)
    given = request.query
    return Query(
        before or None,
        _time(request, "from"),
        _time(request, "to"),
        given.get("kind", ""),
        given.get("who", ""),
    )


def _number(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused(400, "invalid_request", f'{name}: expected a whole number, found "{text[:64]}"')
    return int(text)


def _time(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    try:
        return None if text is None else time_ms(text)
    except ValueError as error:
        raise Refused(400, "invalid_time", f"{name}: {error}") from None
