"""Commands and alarms by REST: `/api/v1/commands`, `/api/v1/alarms`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, NoReturn

from aiohttp import web
from pydantic import Field

from agent.dispatch import LEASE_S_MAX, LEASE_S_MIN
from agent.dispatch import Refused as CommandRefused
from agent.server.asking import Body, Instant, Query, body, period, query
from agent.server.identity.gate import CALLER
from agent.server.orders import Note, Orders
from agent.server.parts import Alarms, Parts
from agent.server.replies import Refused, json_reply
from agent.server.selection import PATTERN_CHARS_MAX

DAY_MS = 86_400_000
NAME_CHARS_MAX = 200


class Order(Body):
    """`lease_s`: how long the command holds if nobody renews it. `wait_s`: answer with what became of it, if
    that is known by then."""

    point: Annotated[str, Field(max_length=PATTERN_CHARS_MAX)]
    value: float
    lease_s: Annotated[float, Field(ge=LEASE_S_MIN, le=LEASE_S_MAX)]
    wait_s: Annotated[float, Field(ge=0, le=20)] = 0.0


class Shelving(Body):
    for_s: Annotated[float, Field(ge=60, le=366 * 86400)]
    reason: Annotated[str, Field(max_length=200)] = ""


class AlarmQuery(Query):
    """`limit` counts events."""

    from_: Annotated[Instant | None, Field(alias="from")] = None
    to: Instant | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class Steering:
    """Handlers. `orders` None: there is nothing to command."""

    def __init__(
        self, orders: Orders | None, parts: Parts, note: Note, clock: Callable[[], float] = time.time
    ) -> None:
        self._orders, self._parts, self._note, self._clock = orders, parts, note, clock

    async def commands(self, request: web.Request) -> web.Response:
        orders = self._need_orders()
        live, ended = orders.dispatch.commands, reversed(orders.dispatch.ended)
        return json_reply({"live": [*map(orders.shown, live)], "ended": [*map(orders.shown, ended)]})

    async def submit(self, request: web.Request) -> web.Response:
        asked, orders = await body(request, Order), self._need_orders()
        try:
            command = orders.submit(request[CALLER], request.remote, asked.point, asked.value, asked.lease_s)
        except CommandRefused as refused:
            raise Refused(422, "command_refused", str(refused)) from None
        if asked.wait_s:
            command = await orders.dispatch.settled(command, asked.wait_s)
        return json_reply(orders.shown(command), 201)

    async def release(self, request: web.Request) -> web.Response:
        point = request.match_info["point"]
        released = self._need_orders().release(request[CALLER], request.remote, point[:PATTERN_CHARS_MAX])
        return json_reply({"point": point, "released": released})

    def _need_orders(self) -> Orders:
        if self._orders is None:
            raise Refused(503, "not_available", "this agent commands nothing")
        return self._orders

    # ---------------------------------------------------------------- alarms

    async def alarms(self, request: web.Request) -> web.Response:
        return json_reply({"alarms": [each.as_json() for each in self._need_alarms().active()]})

    async def alarm_events(self, request: web.Request) -> web.Response:
        asked = query(request, AlarmQuery)
        from_ms, to_ms = period(asked.from_, asked.to, int(self._clock() * 1000), DAY_MS)
        events = await self._need_alarms().history(from_ms, to_ms, limit=asked.limit)
        return json_reply({"events": [each.as_json() for each in events]})

    async def acknowledge(self, request: web.Request) -> web.Response:
        name, who = self._of_alarm(request)
        try:
            alarm = self._need_alarms().acknowledge(name, who)
        except self._parts.alarm_refused as error:
            self._refuse(error)
        self._note("alarm.acknowledge", who=who, peer=request.remote, alarm=name)
        return json_reply(alarm.as_json())

    async def shelve(self, request: web.Request) -> web.Response:
        asked = await body(request, Shelving)
        name, who = self._of_alarm(request)
        try:
            alarm = self._need_alarms().shelve(name, asked.for_s, who, asked.reason)
        except self._parts.alarm_refused as error:
            self._refuse(error)
        self._note("alarm.shelve", who=who, peer=request.remote, alarm=name, **asked.model_dump())
        return json_reply(alarm.as_json())

    async def unshelve(self, request: web.Request) -> web.Response:
        name, who = self._of_alarm(request)
        try:
            alarm = self._need_alarms().unshelve(name, who)
        except self._parts.alarm_refused as error:
            self._refuse(error)
        self._note("alarm.unshelve", who=who, peer=request.remote, alarm=name)
        return json_reply(alarm.as_json())

    def _of_alarm(self, request: web.Request) -> tuple[str, str]:
        return request.match_info["alarm"][:NAME_CHARS_MAX], request[CALLER].label

    def _refuse(self, error: Exception) -> NoReturn:
        raise Refused(409, "alarm_refused", str(error)) from None

    def _need_alarms(self) -> Alarms:
        if self._parts.alarms is None:
            raise Refused(503, "not_available", "this agent has no alarms")
        return self._parts.alarms
