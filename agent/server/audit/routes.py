"""`GET /api/v1/audit` and `/api/v1/audit.csv`: the log, for those who may see it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Annotated

import orjson
from aiohttp import hdrs, web
from pydantic import Field

from agent.server.asking import Instant, query
from agent.server.asking import Query as Parameters
from agent.server.audit.journal import PAGE_MAX, Audit, Entry, Query
from agent.server.replies import NO_STORE, json_reply
from agent.server.times import iso, time_ms

HEADER = ("number", "time", "kind", "who", "peer", "what")
LIMIT = 100


class AuditQuery(Parameters):
    """Numbers below `before`, times in [from, to), `kind` as a beginning; `limit` at a time."""

    before: Annotated[int, Field(ge=0, le=2**53)] = 0
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    kind: Annotated[str, Field(max_length=64)] = ""
    who: Annotated[str, Field(max_length=128)] = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = LIMIT


class AuditRoutes:
    """Handlers."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    async def entries(self, request: web.Request) -> web.Response:
        """The newest entries, newest first; `next` is the `before` of the page after them."""
        wanted, limit = _query(request)
        await self._audit.settled()
        entries = await self._audit.find(wanted, limit)
        after = entries[-1].number if len(entries) == limit else None
        return json_reply({"entries": [each._asdict() for each in entries], "next": after})

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """All entries asked for, newest first."""
        wanted, _ = _query(request)
        await self._audit.settled()
        disposition = 'attachment; filename="uicps_audit.csv"'
        kind = "text/csv; charset=utf-8; header=present"
        headers = {**NO_STORE, hdrs.CONTENT_TYPE: kind, hdrs.CONTENT_DISPOSITION: disposition}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(csv_text([HEADER]).encode())
        async for entries in self._audit.all(wanted):
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


def _query(request: web.Request) -> tuple[Query, int]:
    """Which entries, and how many at a time."""
    asked = query(request, AuditQuery)
    from_ms, to_ms = (None if each is None else time_ms(each) for each in (asked.from_, asked.to))
    return Query(asked.before or None, from_ms, to_ms, asked.kind, asked.who), asked.limit
