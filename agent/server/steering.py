"""Commands by REST: `/api/v1/commands`."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from agent.dispatch import LEASE_S_MAX, LEASE_S_MIN
from agent.dispatch import Refused as CommandRefused
from agent.server.asking import Body, body
from agent.server.identity.gate import CALLER
from agent.server.orders import Orders
from agent.server.replies import Refused, json_reply
from agent.server.selection import PATTERN_CHARS_MAX


class Order(Body):
    """`lease_s`: how long the command holds if nobody renews it. `wait_s`: answer with what became of it, if
    that is known by then."""

    point: Annotated[str, Field(max_length=PATTERN_CHARS_MAX)]
    value: float
    lease_s: Annotated[float, Field(ge=LEASE_S_MIN, le=LEASE_S_MAX)]
    wait_s: Annotated[float, Field(ge=0, le=20)] = 0.0


class Steering:
    """Handlers. `orders` None: there is nothing to command."""

    def __init__(self, orders: Orders | None) -> None:
        self._orders = orders

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
