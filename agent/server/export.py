"""`GET /api/v1/export.csv`: chosen points over a chosen period, streamed; and how much that will be.

Rules. The file is made by a process of its own; here it is only passed on, piece by piece as the client takes
it: an export must not delay a reading. A client that goes, or stops taking, ends that process. What fails
midway cuts the connection: half a file must not look like a whole one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Annotated, Literal, NamedTuple

from aiohttp import hdrs, web
from pydantic import AfterValidator, Field

from agent.export import process
from agent.export.order import Order
from agent.export.process import Pieces
from agent.export.style import Style
from agent.hub import Hub
from agent.model import Group
from agent.server.asking import Instant, Query, period, query
from agent.server.messages import Aggregate
from agent.server.options import ServerOptions
from agent.server.replies import NO_STORE, Refused, json_reply
from agent.server.selection import Selection, select
from agent.server.times import iso, zone
from agent.store import Store

log = logging.getLogger(__name__)

PERIOD_MS = 3_600_000
MS_PER_INTERVAL_UNKNOWN = 1000
LONG_ROW_BYTES, WIDE_CELL_BYTES, TIME_BYTES = 76, 7, 26


def _is_zone(name: str) -> str:
    zone(name)
    return name


class ExportQuery(Query):
    """`points`: ids or patterns, separated by commas. `step`: seconds, then one `aggregate` a step."""

    points: Annotated[str, Field(max_length=30_000)] = "*"
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    step: Annotated[float, Field(ge=1, le=366 * 86400)] | None = None
    aggregate: Aggregate = "mean"
    layout: Literal["long", "wide"] = "long"
    tz: Annotated[str, Field(max_length=64), AfterValidator(_is_zone)] = "UTC"
    decimal: Literal["point", "comma"] = "point"
    gzip: bool = False


class Wanted(NamedTuple):
    """What is to be exported, with what was asked for besides. `step_ms` 0: every reading."""

    selection: Selection
    ids: list[str]
    from_ms: int
    to_ms: int
    step_ms: int
    asked: ExportQuery


class Estimate(NamedTuple):
    """About how much an export will be. `bytes` before compression."""

    points: int
    values: int
    rows: int
    bytes: int


class Export:
    """See the module. `clock` is Unix time in seconds; `shut_out(kind, peer)` is told who was too slow."""

    def __init__(
        self,
        hub: Hub,
        store: Store,
        options: ServerOptions,
        clock: Callable[[], float] = time.time,
        shut_out: Callable[[str, str], None] = lambda kind, peer: None,
    ) -> None:
        self._hub, self._store, self._options, self._clock = hub, store, options, clock
        self._shut_out = shut_out
        self._running = 0

    async def csv(self, request: web.Request) -> web.StreamResponse:
        """The file. 400 if what was asked for cannot be meant, 429 if too many export at once."""
        wanted = self._wanted(request)
        if self._running >= self._options.exports_max:
            text = f"{self._running} exports are running, as many as may: try again when one is done"
            raise Refused(429, "busy", text, {"Retry-After": "5"})
        self._running += 1
        try:
            return await self._streamed(request, wanted)
        finally:
            self._running -= 1

    async def estimate(self, request: web.Request) -> web.Response:
        """How much `csv` with the same parameters would be, for a progress bar."""
        wanted = self._wanted(request)
        return json_reply((await self.estimated(wanted))._asdict())

    def _wanted(self, request: web.Request) -> Wanted:
        asked = query(request, ExportQuery)
        from_ms, to_ms = period(asked.from_, asked.to, int(self._clock() * 1000), PERIOD_MS)
        patterns = [each.strip() for each in asked.points.split(",") if each.strip()]
        try:
            selection = select(patterns, self._hub.groups) if patterns != ["*"] else Selection()
        except ValueError as error:
            raise Refused(400, "unknown_point", f"points: {error}") from None
        ids = selection.ids(self._hub.groups)
        return Wanted(selection, ids, from_ms, to_ms, round((asked.step or 0) * 1000), asked)

    # ---------------------------------------------------------------- the file

    async def _streamed(self, request: web.Request, wanted: Wanted) -> web.StreamResponse:
        order = await self._order(wanted)
        async with aclosing(self._pieces(order)) as pieces:
            first = await anext(pieces)  # until here it is a clean refusal
            response = web.StreamResponse(headers=_headers(wanted))
            await response.prepare(request)
            try:
                await self._put(response, first)
                async for piece in pieces:
                    await self._put(response, piece)
            except (TimeoutError, OSError, RuntimeError) as error:
                if isinstance(error, TimeoutError):
                    self._shut_out("client.slow", request.remote or "")
                _cut(request, error)
                return response  # aiohttp finds out that there is nobody to end it for
            await response.write_eof()
        return response

    async def _order(self, wanted: Wanted) -> Order:
        asked, period_ms = wanted.asked, (wanted.from_ms, wanted.to_ms)
        groups = ((group, at) for group in self._hub.groups for at in wanted.selection.columns(group))
        return Order(
            str(self._store.file),
            await self._store.moment(wanted.ids, period_ms),
            [(group.point_ids[at], group.points[at].unit) for group, at in groups],
            *period_ms,
            wanted.step_ms,
            asked.aggregate,
            Style(asked.layout, "" if asked.tz == "UTC" else asked.tz, asked.decimal == "comma"),
            asked.gzip,
        )

    async def _pieces(self, order: Order) -> Pieces:
        try:
            async with aclosing(process.pieces(order)) as pieces:
                async for piece in pieces:
                    yield piece
        except process.Unreadable as error:
            self._store.note(error.error)
            raise

    async def _put(self, response: web.StreamResponse, piece: bytes) -> None:
        async with asyncio.timeout(self._options.stall_s_max):
            await response.write(piece)

    def _chosen(self, wanted: Wanted) -> list[tuple[Group, int]]:
        """The groups, and how many of their points are wanted."""
        counted = ((group, len(wanted.selection.columns(group))) for group in self._hub.groups)
        return [(group, count) for group, count in counted if count]

    # ---------------------------------------------------------------- how much

    async def estimated(self, wanted: Wanted) -> Estimate:
        """From what the ledger has of each device and hour."""
        now_ms = int(self._clock() * 1000)
        readings: dict[str, float] = {}
        for row in await self._store.ledger.rows(wanted.from_ms, wanted.to_ms):
            share = _share(row.hour_ms, (wanted.from_ms, wanted.to_ms), now_ms)
            readings[row.device] = readings.get(row.device, 0.0) + row.acquired * share
        rates = {group: 1 / (group.interval_ms or MS_PER_INTERVAL_UNKNOWN) for group in self._hub.groups}
        devices: dict[str, float] = {}
        for group, rate in rates.items():
            devices[group.device.name] = devices.get(group.device.name, 0.0) + rate
        values = rows = 0.0
        for group, count in self._chosen(wanted):
            own = readings.get(group.device.name, 0.0) * rates[group] / devices[group.device.name]
            if wanted.step_ms:
                own = min(own, (wanted.to_ms - wanted.from_ms) / wanted.step_ms)
            values += own * count
            rows = max(rows, own) if wanted.step_ms else rows + own
        if wanted.asked.layout == "long":
            return Estimate(len(wanted.ids), round(values), round(values), round(values * LONG_ROW_BYTES))
        cells = rows * len(wanted.ids)
        size = rows * TIME_BYTES + values * (WIDE_CELL_BYTES - 1) + cells
        return Estimate(len(wanted.ids), round(values), round(rows), round(size))


def _share(hour_ms: int, period_ms: tuple[int, int], now_ms: int) -> float:
    """How much of what came in an hour is of the period; the present hour is not over yet."""
    end_ms = hour_ms + PERIOD_MS
    if hour_ms < now_ms < end_ms:
        end_ms = now_ms
    both_ms = min(period_ms[1], end_ms) - max(period_ms[0], hour_ms)
    return max(0.0, min(1.0, both_ms / (end_ms - hour_ms)))


def _cut(request: web.Request, error: Exception) -> None:
    """End the connection without the end of the body."""
    if isinstance(error, TimeoutError):
        log.info("export: %s takes no more, giving up", request.remote)
    elif not isinstance(error, ConnectionError):
        level = logging.ERROR if isinstance(error, RuntimeError) else logging.WARNING
        log.log(level, "export: cut short: %s", error)
    if request.transport is not None:
        request.transport.abort()


def _headers(wanted: Wanted) -> dict[str, str]:
    ends = (wanted.from_ms, wanted.to_ms)
    stamps = (iso(each).replace("-", "").replace(":", "")[:15] + "Z" for each in ends)
    name = f"uicps_{'_'.join(stamps)}.csv{'.gz' if wanted.asked.gzip else ''}"
    kind = "application/gzip" if wanted.asked.gzip else "text/csv; charset=utf-8; header=present"
    return {
        **NO_STORE,
        hdrs.CONTENT_TYPE: kind,
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{name}"',
    }
