"""The small JSON routes: what points there are, what is known now, how the agent and its parts are."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from agent import __version__
from agent.hub import Hub
from agent.server.asking import Instant, Query, period, query
from agent.server.live import latest_json
from agent.server.replies import NO_STORE, Refused, json_reply
from agent.server.selection import Selection, select
from agent.server.wire import points_of
from agent.store import Store

DAY_MS = 86_400_000
LEDGER_DAYS_MAX = 31

Status = Callable[[], Mapping[str, object]]


class PointsQuery(Query):
    """`points`: ids or patterns, separated by commas."""

    points: Annotated[str, Field(max_length=30_000)] = "*"


class LedgerQuery(Query):
    """The last day, if left out."""

    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None


class Api:
    """Handlers of GET routes. `status` is asked on every call: it must be cheap."""

    def __init__(
        self, hub: Hub, store: Store, status: Status, clock: Callable[[], float] = time.time
    ) -> None:
        self._hub, self._store, self._status, self._clock = hub, store, status, clock

    async def healthz(self, request: web.Request) -> web.Response:
        """For a probe, without a login: no more than whether, and if not, why."""
        status = self._status()
        if status.get("healthy", True):
            return json_reply({"status": "ok"})
        reasons = status.get("reasons")
        shown = [str(each) for each in reasons] if isinstance(reasons, list | tuple) else []
        return json_reply({"status": "unhealthy", "reasons": shown}, 503)

    async def status(self, request: web.Request) -> web.Response:
        return json_reply(dict(self._status()))

    async def points(self, request: web.Request) -> web.Response:
        selection = self._selection(request)
        chosen = [point for group in self._hub.groups for point in points_of(group)]
        wanted = set(selection.ids(self._hub.groups))
        return json_reply({"points": [point for point in chosen if point["id"] in wanted]})

    async def latest(self, request: web.Request) -> web.Response:
        body = latest_json(b"", self._hub, self._selection(request))
        return web.Response(body=body, content_type="application/json", headers=NO_STORE)

    def _selection(self, request: web.Request) -> Selection:
        patterns = [each.strip() for each in query(request, PointsQuery).points.split(",") if each.strip()]
        try:
            return Selection() if patterns == ["*"] else select(patterns, self._hub.groups)
        except ValueError as error:
            raise Refused(400, "unknown_point", f"points: {error}") from None

    async def lines(self, request: web.Request) -> web.Response:
        """Each with its statistics."""
        return json_reply({"lines": self._status().get("lines", [])})

    async def uplinks(self, request: web.Request) -> web.Response:
        """Each with its state and backlog."""
        return json_reply({"uplinks": self._status().get("uplinks", [])})

    async def ledger(self, request: web.Request) -> web.Response:
        """What became of every reading."""
        asked = query(request, LedgerQuery)
        from_ms, to_ms = period(asked.from_, asked.to, int(self._clock() * 1000), DAY_MS)
        if to_ms - from_ms > LEDGER_DAYS_MAX * DAY_MS:
            raise Refused(400, "invalid_period", f"expected at most {LEDGER_DAYS_MAX} days at a time")
        rows: list[dict[str, Any]] = [asdict(row) for row in await self._store.ledger.rows(from_ms, to_ms)]
        return json_reply({"rows": rows})

    async def version(self, request: web.Request) -> web.Response:
        found = {"python": platform.python_version(), "platform": platform.platform()}
        return json_reply({"version": __version__, **found})
