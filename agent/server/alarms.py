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
from agent.server.asking import Instant, Query, query
from agent.server.audit import Audit
from agent.server.identity.gate import CALLER
from agent.server.replies import Refused, json_reply
from agent.server.times import TIME_MS_MAX, time_ms

LIMIT, LIMIT_MAX = 100, 1000
BODY = "body"

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


class EventsQuery(Query):
    """Of the alarm `id`, or of all; numbers below `before`, times in [from, to), `limit` at a time."""

    id: Annotated[str, Field(max_length=160)] = ""
    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    before: Annotated[int, Field(ge=0, le=2**53)] = 0
    limit: Annotated[int, Field(ge=1, le=LIMIT_MAX)] = LIMIT


Asked = TypeVar("Asked", bound=BaseModel)


class AlarmRoutes:
    """Handlers."""

    def __init__(self, alarms: Alarms, audit: Audit) -> None:
        self._alarms, self._audit = alarms, audit

    async def active(self, request: web.Request) -> web.Response:
        """Every alarm that is not normal, the most urgent first; `left_out`: how many more there are."""
        found = [alarm.as_json() for alarm in self._alarms.active()]
        return json_reply({"alarms": found, "left_out": self._alarms.left_out})

    async def history(self, request: web.Request) -> web.Response:
        """Events, newest first; `next` is the `before` of the page after them."""
        asked = query(request, EventsQuery)
        events = await self._alarms.history(
            0 if asked.from_ is None else time_ms(asked.from_),
            TIME_MS_MAX if asked.to is None else time_ms(asked.to),
            limit=asked.limit,
            before=asked.before or None,
            name=asked.id,
        )
        after = events[-1].number if len(events) == asked.limit else None
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
