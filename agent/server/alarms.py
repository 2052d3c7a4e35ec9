"""`/api/v1/alarms`: what is active, what happened, and a person's word on it.

Who acknowledges or shelves is also in the audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, Field

from agent.alarms import Alarm, AlarmRefused, Alarms
from agent.schema import FaultyFile, Options, validate
from agent.server.audit import Audit
from agent.server.identity.gate import CALLER, Gate
from agent.server.identity.permissions import Permission
from agent.server.replies import Refused, json_reply
from agent.server.times import TIME_MS_MAX, time_ms

LIMIT, LIMIT_MAX = 100, 1000
BODY = "body"

_PARAMETERS = frozenset({"from", "to", "before", "limit", "id"})
_Id = Annotated[str, Field(min_length=1, max_length=160)]


class Acknowledge(Options):
    """With `raised_ms`, as it was shown: refused if the alarm was raised again since."""

    id: _Id
    raised_ms: int | None = None


class Shelve(Options):
    id: _Id
    for_s: Annotated[float, Field(gt=0, le=1e7)]
    reason: Annotated[str, Field(max_length=200)] = ""


class Unshelve(Options):
    id: _Id


Asked = TypeVar("Asked", bound=BaseModel)


class AlarmRoutes:
    """Handlers, and the routes to them."""

    def __init__(self, alarms: Alarms, audit: Audit) -> None:
        self._alarms, self._audit = alarms, audit

    def routes(self, gate: Gate) -> list[web.RouteDef]:
        needs, may = gate.needs, Permission
        return [
            web.get("/api/v1/alarms", needs(may.READ, self.active)),
            web.get("/api/v1/alarms/history", needs(may.READ, self.history)),
            web.post("/api/v1/alarms/acknowledge", needs(may.ACKNOWLEDGE, self.acknowledge)),
            web.post("/api/v1/alarms/shelve", needs(may.ACKNOWLEDGE, self.shelve)),
            web.post("/api/v1/alarms/unshelve", needs(may.ACKNOWLEDGE, self.unshelve)),
        ]

    async def active(self, request: web.Request) -> web.Response:
        """Every alarm that is not normal, the most urgent first; `left_out`: how many more there are."""
        found = [alarm.as_json() for alarm in self._alarms.active()]
        return json_reply({"alarms": found, "left_out": self._alarms.left_out})

    async def history(self, request: web.Request) -> web.Response:
        """Events, newest first; `next` is the `before` of the page after them."""
        query = request.query
        if unknown := query.keys() - _PARAMETERS:
            known = ", ".join(sorted(_PARAMETERS))
            raise Refused(400, "invalid_request", f'unknown parameter "{min(unknown)[:64]}"; known: {known}')
        limit = max(1, min(_number(request, "limit", LIMIT), LIMIT_MAX))
        events = await self._alarms.history(
            _time(request, "from", 0),
            _time(request, "to", TIME_MS_MAX),
            limit=limit,
            before=_number(request, "before", 0) or None,
            name=query.get("id", ""),
        )
        after = events[-1].number if len(events) == limit else None
        return json_reply({"events": [event.as_json() for event in events], "next": after})

    async def acknowledge(self, request: web.Request) -> web.Response:
        asked = await _asked(request, Acknowledge)
        who = request[CALLER].label
        return self._done(
            request, asked, lambda: self._alarms.acknowledge(asked.id, who, raised_ms=asked.raised_ms)
        )

    async def shelve(self, request: web.Request) -> web.Response:
        asked = await _asked(request, Shelve)
        who = request[CALLER].label
        return self._done(
            request, asked, lambda: self._alarms.shelve(asked.id, asked.for_s, who, asked.reason)
        )

    async def unshelve(self, request: web.Request) -> web.Response:
        asked = await _asked(request, Unshelve)
        who = request[CALLER].label
        return self._done(request, asked, lambda: self._alarms.unshelve(asked.id, who))

    def _done(self, request: web.Request, asked: BaseModel, do: Callable[[], Alarm]) -> web.Response:
        try:
            alarm = do()
        except AlarmRefused as refused:
            raise Refused(409, "not_possible", str(refused)) from None
        kind = f"alarm.{request.path.rpartition('/')[2]}"
        self._audit.note(kind, who=request[CALLER].label, peer=request.remote, **asked.model_dump())
        return json_reply(alarm.as_json())


async def _asked(request: web.Request, model: type[Asked]) -> Asked:
    """The body as a `model`; 400 with all that is wrong with it."""
    try:
        said = orjson.loads(await request.read() or b"{}")
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Refused(400, "invalid_request", "expected a JSON object")
    try:
        return validate(model, said, BODY)
    except FaultyFile as faulty:
        raise Refused(400, "invalid_request", str(faulty)) from None


def _number(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise Refused(400, "invalid_request", f'{name}: expected a whole number, found "{text[:64]}"')
    return int(text)


def _time(request: web.Request, name: str, otherwise_ms: int) -> int:
    text = request.query.get(name)
    try:
        return otherwise_ms if text is None else time_ms(text)
    except ValueError as error:
        raise Refused(400, "invalid_time", f"{name}: {error}") from None
