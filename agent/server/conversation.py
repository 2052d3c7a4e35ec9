"""What a client that was let in may ask on its WebSocket, and what it is answered (docs/websocket.md).

Rules. A request never holds up the live stream: what takes time is a task, of which a client has few. What
changes something is noted. Whose token has run out may watch for the rest of the grace, and ask for nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import orjson

from agent.alarms import Alarm, Alarms
from agent.dispatch import ENDED, Command, Dispatch
from agent.dispatch import Refused as CommandRefused
from agent.hub import Hub
from agent.schedule import Jobs
from agent.server import past
from agent.server.identity.gate import Caller, require
from agent.server.identity.permissions import Permission
from agent.server.live import Live, Subscription
from agent.server.messages import (
    Cancel,
    Follow,
    History,
    Id,
    Order,
    Ping,
    Release,
    Request,
    Stream,
    Subscribe,
    Unfollow,
    Unsubscribe,
)
from agent.server.orders import Orders
from agent.server.outbox import Outbox
from agent.server.past import Period
from agent.server.replies import Refused
from agent.server.selection import Selection, select
from agent.server.times import time_ms
from agent.store import Store

log = logging.getLogger(__name__)

FAULT = 1011
SUBSCRIPTIONS_MAX = 16
HISTORIES_MAX = 4
ORDERS_FOLLOWED_MAX = 100


class Site:
    """What all conversations are about. Without dispatch, alarms or jobs there are none to speak of."""

    def __init__(
        self,
        hub: Hub,
        store: Store,
        live: Live,
        orders: Orders | None,
        alarms: Alarms | None,
        *,
        jobs: Jobs | None = None,
    ) -> None:
        self.hub, self.store, self.live = hub, store, live
        self.orders, self.alarms, self.jobs = orders, alarms, jobs


class Conversation:
    """With one client. `close` ends all of it."""

    def __init__(
        self,
        site: Site,
        outbox: Outbox,
        caller: Callable[[], Caller],
        peer: str | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._site, self._outbox, self._caller, self._peer, self._now_ms = site, outbox, caller, peer, now_ms
        self._subscriptions: dict[Id, Subscription] = {}
        self._histories: dict[Id, asyncio.Task[None]] = {}
        self._cancelled: set[Id] = set()
        self._orders: dict[int, Id] = {}
        self._streams: dict[Stream, Callable[[], None]] = {}
        self._deaf: Callable[[], None] | None = None

    async def close(self) -> None:
        """Forget the client. Its commands stay: they are leases, and end by themselves."""
        for subscription in self._subscriptions.values():
            self._site.live.leave(subscription)
        for stop in (*self._streams.values(), *([self._deaf] if self._deaf else [])):
            stop()
        for task in self._histories.values():
            task.cancel()
        await asyncio.gather(*self._histories.values(), return_exceptions=True)

    def answer(self, asked: Request) -> None:
        """Do what `asked` says; Refused says why not."""
        match asked:
            case Subscribe():
                self._subscribe(asked)
            case Unsubscribe():
                self._unsubscribe(asked)
            case Ping():
                self._put({"type": "pong", "id": asked.id, "time_ms": self._now_ms()})
            case History():
                self._history(asked)
            case Cancel():
                self._cancel(asked)
            case Order():
                self._order(asked)
            case Release():
                self._release(asked)
            case Follow():
                self._follow(asked)
            case Unfollow():
                self._unfollow(asked)

    # ---------------------------------------------------------------- live

    def _subscribe(self, asked: Subscribe) -> None:
        selection = self._selected(asked.points)
        old = self._subscriptions.pop(asked.id, None)
        if old is not None:
            self._site.live.leave(old)
        elif len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise Refused(
                429, "too_many", f"expected at most {SUBSCRIPTIONS_MAX} subscriptions: unsubscribe one"
            )
        new = Subscription(self._outbox, asked.id, selection, asked.mode, 1 / asked.per_s)
        self._subscriptions[asked.id] = new
        self._put(
            {
                "type": "subscribed",
                "id": asked.id,
                "points": selection.patterns,
                "mode": asked.mode,
                "per_s": asked.per_s if asked.mode == "latest" else None,
                "count": len(selection.ids(self._site.hub.groups)),
            }
        )
        self._site.live.join(new)

    def _unsubscribe(self, asked: Unsubscribe) -> None:
        old = self._subscriptions.pop(asked.id, None)
        if old is None:
            raise Refused(404, "unknown_id", "there is no subscription of this id")
        self._site.live.leave(old)
        self._put({"type": "unsubscribed", "id": asked.id})

    def _selected(self, points: list[str]) -> Selection:
        try:
            return Selection() if points == ["*"] else select(points, self._site.hub.groups)
        except ValueError as error:
            raise Refused(400, "unknown_point", f"points: {error}") from None

    # ---------------------------------------------------------------- history

    def _history(self, asked: History) -> None:
        require(self._caller(), Permission.EXPORT)
        if asked.id in self._histories:
            raise Refused(409, "id_in_use", "a history of this id is running: cancel it, or use another id")
        if len(self._histories) >= HISTORIES_MAX:
            raise Refused(429, "too_many", f"expected at most {HISTORIES_MAX} histories at a time")
        selection = self._selected(asked.points)
        period = _period(asked)
        task = asyncio.create_task(self._tell_history(asked, selection, period))
        self._histories[asked.id] = task
        task.add_done_callback(lambda task: self._told(asked.id, task))

    def _told(self, id: Id, task: asyncio.Task[None]) -> None:
        self._histories.pop(id, None)
        self._cancelled.discard(id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("server: history", exc_info=error)
            self._outbox.end(FAULT, "the agent could not answer; its log says why")

    async def _tell_history(self, asked: History, selection: Selection, period: Period) -> None:
        ids = selection.ids(self._site.hub.groups)
        step = (round((asked.step_s or 0) * 1000), asked.aggregate)
        count = 0
        try:
            async with aclosing(past.pieces(self._site.store, asked.id, ids, period, step)) as pieces:
                async for piece in pieces:
                    count += piece.values
                    await self._outbox.offer(piece.message)
                    if asked.id in self._cancelled:
                        break
        except OSError as error:
            self._error(asked.id, "storage_unavailable", str(error))
            return
        await self._outbox.offer(orjson.dumps({"type": "history.end", "id": asked.id, "count": count}))

    def _cancel(self, asked: Cancel) -> None:
        if asked.id not in self._histories:
            raise Refused(404, "unknown_id", "there is no history of this id: it may have ended")
        self._cancelled.add(asked.id)

    # ---------------------------------------------------------------- commands

    def _order(self, asked: Order) -> None:
        require(self._caller(), Permission.COMMAND)
        orders = self._need(self._site.orders)
        if self._deaf is None:
            self._deaf = orders.dispatch.listen(self._heard)
        try:
            command = orders.submit(self._caller(), self._peer, asked.point, asked.value, asked.lease_s)
        except CommandRefused as refused:
            self._put({"type": "command", "id": asked.id, "state": "refused", "reason": str(refused)})
            return
        while len(self._orders) >= ORDERS_FOLLOWED_MAX:
            del self._orders[next(iter(self._orders))]
        self._orders[command.id] = asked.id
        self._put({"type": "command", "id": asked.id, **orders.shown(command)})

    def _heard(self, command: Command) -> None:
        """News of a command, perhaps one of this client's."""
        known = self._orders.get(command.id)
        if known is None or self._site.orders is None:
            return
        if command.state in ENDED:
            del self._orders[command.id]
        self._put({"type": "command", "id": known, **self._site.orders.shown(command)})

    def _release(self, asked: Release) -> None:
        require(self._caller(), Permission.COMMAND)
        released = self._need(self._site.orders).release(self._caller(), self._peer, asked.point)
        self._put({"type": "released", "id": asked.id, "point": asked.point, "released": released})

    # ---------------------------------------------------------------- streams

    def _follow(self, asked: Follow) -> None:
        if (stop := self._streams.pop(asked.stream, None)) is not None:
            stop()
        begin = {
            "commands": self._follow_commands,
            "alarms": self._follow_alarms,
            "jobs": self._follow_jobs,
        }[asked.stream]
        stop, image = begin()
        self._streams[asked.stream] = stop
        self._following(asked.id)
        self._put({"type": asked.stream, "image": True, asked.stream: image})

    def _unfollow(self, asked: Unfollow) -> None:
        if (stop := self._streams.pop(asked.stream, None)) is not None:
            stop()
        self._following(asked.id)

    def _following(self, id: Id | None) -> None:
        self._put({"type": "following", "id": id, "streams": sorted(self._streams)})

    def _follow_commands(self) -> tuple[Callable[[], None], list[Any]]:
        orders = self._need(self._site.orders)
        dispatch: Dispatch = orders.dispatch

        def heard(command: Command) -> None:
            self._put({"type": "commands", "commands": [orders.shown(command)]})

        return dispatch.listen(heard), [orders.shown(each) for each in dispatch.commands]

    def _follow_alarms(self) -> tuple[Callable[[], None], list[Any]]:
        alarms = self._need(self._site.alarms)

        def heard(change: Any, alarm: Alarm) -> None:
            self._put({"type": "alarms", "alarms": [alarm.as_json()]})

        return alarms.listen(heard), [each.as_json() for each in alarms.active()]

    def _follow_jobs(self) -> tuple[Callable[[], None], list[Any]]:
        jobs: Jobs = self._need(self._site.jobs)

        def heard(job: dict[str, Any]) -> None:
            self._put({"type": "jobs", "jobs": [job]})

        return jobs.listen(heard), jobs.status()

    # ---------------------------------------------------------------- saying

    def _need(self, part: Any) -> Any:
        if part is None:
            raise Refused(503, "not_available", "this agent has nothing of the kind")
        return part

    def _error(self, id: Id | None, code: str, text: str) -> None:
        self._put({"type": "error", "id": id, "code": code, "message": text})

    def _put(self, message: dict[str, Any]) -> None:
        self._outbox.put(orjson.dumps(message))


def _period(asked: History) -> Period:
    try:
        found = [time_ms(each) if isinstance(each, str) else each for each in (asked.from_, asked.to)]
    except ValueError as error:
        raise Refused(400, "invalid_time", str(error)) from None
    if found[0] >= found[1]:
        raise Refused(400, "invalid_period", f"expected from < to, found {found[0]} and {found[1]}")
    return Period(*found)
