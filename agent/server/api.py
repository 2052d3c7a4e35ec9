"""The small JSON routes: what points there are, what is known now, how the agent is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from agent.hub import Hub
from agent.server.live import latest_json
from agent.server.replies import NO_STORE, json_reply
from agent.server.selection import Selection
from agent.server.wire import points_of

Status = Callable[[], Mapping[str, object]]


class Api:
    """Handlers of GET routes. `status` is asked on every call: it must be cheap."""

    def __init__(self, hub: Hub, status: Status) -> None:
        self._hub, self._status = hub, status

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
        return json_reply({"points": [point for group in self._hub.groups for point in points_of(group)]})

    async def latest(self, request: web.Request) -> web.Response:
        body = latest_json(b"", self._hub, Selection())
        return web.Response(body=body, content_type="application/json", headers=NO_STORE)
