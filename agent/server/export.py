"""`GET /api/v1/export.csv`: chosen points over a chosen period, streamed.

Rules. Memory holds one step of the history and no more. The loop is given back after every few rows,
an export must not delay a reading. A client that goes, or stops taking, ends the work. A disk that
fails midway cuts the connection: half a file must not look like a whole one.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from aiohttp import hdrs, web

from agent.hub import Hub
from agent.model import Reading
from agent.server.options import ServerOptions
from agent.server.replies import NO_STORE, Refused
from agent.server.rows import HEADER, Rows
from agent.server.selection import EVERYTHING, Selection, select
from agent.server.times import iso, time_ms
from agent.store import Store

log = logging.getLogger(__name__)

PERIOD_MS = 3_600_000
ROWS_PER_WRITE = 2000

_PARAMETERS = ("points", "from", "to")


class Period(NamedTuple):
    """`from_ms` <= time < `to_ms`."""

    from_ms: int
    to_ms: int


class Export:
    """See the module. `clock` is Unix time in seconds."""

    def __init__(
        self, hub: Hub, store: Store, options: ServerOptions, clock: Callable[[], float] = time.time
    ) -> None:
        self._hub, self._store, self._options, self._clock = hub, store, options, clock
        self._running = 0

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """The file. 400 if what was asked for cannot be meant, 429 if too many export at once."""
        _only_known(request)
        period = _period(request, int(self._clock() * 1000))
        selection = self._selection(request)
        if self._running >= self._options.exports_max:
            text = f"{self._running} exports are running, as many as may: try again when one is done"
            raise Refused(429, "busy", text, {"Retry-After": "5"})
        self._running += 1
        try:
            return await self._streamed(request, selection, period)
        finally:
            self._running -= 1

    def _selection(self, request: web.Request) -> Selection:
        given = ",".join(request.query.getall("points", EVERYTHING))
        patterns = [each.strip() for each in given.split(",") if each.strip()]
        try:
            return select(patterns, self._hub.groups) if patterns != ["*"] else Selection()
        except ValueError as error:
            raise Refused(400, "unknown_point", f"points: {error}") from None

    async def _streamed(
        self, request: web.Request, selection: Selection, period: Period
    ) -> web.StreamResponse:
        ids = selection.ids(self._hub.groups)
        # It is a generator, and must let go of the file when we stop halfway.
        async with aclosing(self._store.history(ids, *period)) as steps:
            first: list[Reading] = await anext(
                steps, []
            )  # a disk that cannot be read is still a clean refusal
            response = web.StreamResponse(headers=_headers(period))
            await response.prepare(request)
            await response.write(HEADER.encode())
            try:
                await self._write(response, Rows(selection), first, steps)
            except (TimeoutError, OSError) as error:
                _cut(request, error)
                raise ConnectionResetError("export ended before its end") from error
            await response.write_eof()
        return response

    async def _write(
        self,
        response: web.StreamResponse,
        rows: Rows,
        first: list[Reading],
        steps: AsyncIterator[list[Reading]],
    ) -> None:
        readings: list[Reading] | None = first
        while readings is not None:
            for few in _slices(readings, rows):
                async with asyncio.timeout(self._options.stall_s_max):
                    await response.write(rows.text(few).encode())
                await asyncio.sleep(0)
            readings = await anext(steps, None)


def _slices(readings: Sequence[Reading], rows: Rows) -> Iterator[list[Reading]]:
    """`readings` in parts of about ROWS_PER_WRITE rows."""
    few: list[Reading] = []
    count = 0
    for reading in readings:
        few.append(reading)
        count += rows.width(reading.group)
        if count >= ROWS_PER_WRITE:
            yield few
            few, count = [], 0
    if few:
        yield few


def _cut(request: web.Request, error: Exception) -> None:
    """End the connection without the end of the body."""
    if isinstance(error, TimeoutError):
        log.info("export: %s takes no more, giving up", request.remote)
    elif not isinstance(error, ConnectionError):
        log.warning("export: cut short: %s", error)
    if request.transport is not None:
        request.transport.abort()


def _headers(period: Period) -> dict[str, str]:
    stamps = (iso(each).replace("-", "").replace(":", "")[:15] + "Z" for each in period)
    return {
        **NO_STORE,
        hdrs.CONTENT_TYPE: "text/csv; charset=utf-8; header=present",
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="uicps_{"_".join(stamps)}.csv"',
    }


def _period(request: web.Request, now_ms: int) -> Period:
    to_ms = _instant(request, "to", now_ms)
    from_ms = _instant(request, "from", max(0, to_ms - PERIOD_MS))
    if from_ms >= to_ms:
        text = f"expected from < to, found {iso(from_ms)} and {iso(to_ms)}"
        raise Refused(400, "invalid_period", text)
    return Period(from_ms, to_ms)


def _instant(request: web.Request, name: str, otherwise_ms: int) -> int:
    text = request.query.get(name)
    if text is None:
        return otherwise_ms
    try:
        return time_ms(text)
    except ValueError as error:
        raise Refused(400, "invalid_time", f"{name}: {error}") from None


def _only_known(request: web.Request) -> None:
    for name in request.query:
        if name not in _PARAMETERS:
            near = difflib.get_close_matches(name, _PARAMETERS, n=1)
            hint = f', did you mean "{near[0]}"?' if near else f"; known: {', '.join(_PARAMETERS)}"
            raise Refused(400, "invalid_request", f'unknown parameter "{name[:64]}"{hint}')
