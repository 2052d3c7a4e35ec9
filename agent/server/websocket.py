"""`GET /ws`: who may watch, and the few messages of the protocol `uicps.v1`.

A token comes as `Authorization: Bearer`, as the subprotocol `bearer.<token>` beside `uicps.v1` (the only
way a browser has), or as the first message. Never in the URL: URLs end up in logs and histories.

Client to server: `auth` (any time: renews), `subscribe`, `ping`. Server to client: `welcome`, `readings`,
`authenticated`, `subscribed`, `pong`, `error`. Closed with 4401 when the token is bad or has ended,
4408 when too slow, 1001 when the agent stops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import WSMsgType, hdrs, web

from agent.hub import Hub
from agent.server.identity.gate import CALLER, Caller, Gate, bearer, refused_token, require
from agent.server.identity.permissions import Permission
from agent.server.identity.tokens import TokenError
from agent.server.live import GOING_AWAY, Live, Seat
from agent.server.options import ServerOptions
from agent.server.replies import Refused
from agent.server.selection import EVERYTHING, Selection, select

PROTOCOL = "uicps.v1"
VERSION = 1
UNAUTHORISED = 4401
MESSAGE_BYTES_MAX = 32 * 1024
NEWCOMERS_MAX = 32  # without a token yet: they must not take the seats of those who have one
MESSAGE_PAUSE_S = 0.01
HEARTBEAT_S = 20.0
CLOSE_S_MAX = 5.0
REASON_BYTES_MAX = 123  # RFC 6455, 5.5

_BEARER = "bearer."


class Sockets:
    """All WebSockets of the server. `clock` is Unix time in seconds."""

    def __init__(
        self,
        hub: Hub,
        live: Live,
        gate: Gate,
        options: ServerOptions,
        clock: Callable[[], float] = time.time,
        *,
        refused: Callable[[web.Request, Refused], None] = lambda request, refusal: None,
    ) -> None:
        self.hub, self.live, self.gate, self.options, self.clock = hub, live, gate, options, clock
        self.refused = refused
        self._watchers: set[Watcher] = set()

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """One client, from its first byte to its last."""
        _no_token_in_url(request)
        _same_origin(request)
        token = bearer(request) or _offered(request)
        caller = self.admitted(token) if token is not None else None
        if caller is not None:
            request[CALLER] = caller
        self._room(caller)
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,),
            heartbeat=HEARTBEAT_S,
            timeout=CLOSE_S_MAX,
            max_msg_size=MESSAGE_BYTES_MAX,
            compress=False,
        )
        await socket.prepare(request)
        watcher = Watcher(self, socket, request)
        self._watchers.add(watcher)
        try:
            await watcher.run(caller)
        finally:
            self._watchers.discard(watcher)
        return socket

    def close(self) -> None:
        """End every client: the agent is stopping."""
        for watcher in self._watchers:
            watcher.seat.end(GOING_AWAY, "the agent is stopping")

    def recheck(self) -> None:
        """End whoever may not be here any more: users, sessions or keys have changed."""
        for watcher in self._watchers:
            watcher.recheck()

    def full(self) -> bool:
        """Whether as many clients as may are watching."""
        return self.live.watching >= self.options.clients_max

    def admitted(self, token: str) -> Caller:
        """Who brings `token`, if he may watch; Refused otherwise."""
        try:
            caller = self.gate.check(token)
        except TokenError as error:
            raise refused_token(error) from None
        require(caller, Permission.READ)
        return caller

    def _room(self, caller: Caller | None) -> None:
        newcomers = len(self._watchers) - self.live.watching
        if self.full() or (caller is None and newcomers >= NEWCOMERS_MAX):
            text = f"as many clients as may ({self.options.clients_max}) are watching: try later"
            raise Refused(503, "busy", text, {"Retry-After": "10"})


class Watcher:
    """One client."""

    def __init__(self, sockets: Sockets, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._sockets, self._socket, self._request = sockets, socket, request
        self._transport = request.transport
        self.seat = Seat(sockets.options.client_backlog_kb_max * 1024)
        self._caller: Caller | None = None
        self._expiry: asyncio.TimerHandle | None = None

    async def run(self, caller: Caller | None) -> None:
        """Until either side ends it."""
        if caller is not None:
            self._admit(caller)
        else:
            wait_s = self._sockets.options.auth_wait_s
            self._end_after(wait_s, f"expected a token within {wait_s:g} s")
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]
        either: list[asyncio.Future[Any]] = [*tasks, self.seat.ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._sockets.live.leave(self.seat)
            if self._expiry is not None:
                self._expiry.cancel()
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome

    async def _close(self) -> None:
        self.seat.end(1000, "")
        code, reason = self.seat.ended.result()
        message = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._socket.close(code=code, message=message)
        except TimeoutError:  # it takes no more bytes: not even this
            if self._transport is not None:
                self._transport.abort()

    async def _send(self) -> None:
        while True:
            await self._socket.send_frame(await self.seat.take(), WSMsgType.TEXT)

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                self._answer(message.data)
                await asyncio.sleep(MESSAGE_PAUSE_S)  # a flood of messages must not hold everyone else up
            elif message.type is WSMsgType.BINARY:
                self._error("invalid_message", "expected text, found a binary message")
            else:
                return

    # ---------------------------------------------------------------- the token

    def recheck(self) -> None:
        """End, if what let this client in is good no more."""
        if self._caller is not None and not self._sockets.gate.stands(self._caller):
            self.seat.end(UNAUTHORISED, "the user, his session or the key was changed: log in again")

    def _admit(self, caller: Caller) -> None:
        self._renew(caller)
        head = orjson.dumps({"type": "welcome", "version": VERSION, "time_ms": self._now_ms()})
        self._sockets.live.join(self.seat, head[1:-1] + b",")

    def _renew(self, caller: Caller) -> None:
        self._caller = self._request[CALLER] = caller
        if caller.expires_s is None:
            self._end_never()
            return
        left_s = caller.expires_s - self._sockets.clock()
        self._end_after(left_s, "the access token has expired: renew it and connect again")

    def _end_never(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _end_after(self, wait_s: float, reason: str) -> None:
        self._end_never()
        loop = asyncio.get_running_loop()
        self._expiry = loop.call_later(wait_s, self.seat.end, UNAUTHORISED, reason)

    def _now_ms(self) -> int:
        return int(self._sockets.clock() * 1000)

    # ---------------------------------------------------------------- messages

    def _answer(self, text: str) -> None:
        try:
            said = orjson.loads(text)
        except ValueError:
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("type"), str):
            said = {"type": ""}
        kind = said["type"]
        if kind == "auth":
            self._on_auth(said)
        elif self._caller is None:
            self.seat.end(UNAUTHORISED, 'expected {"type": "auth", "token": "..."} first')
        elif kind == "subscribe":
            self._on_subscribe(said)
        elif kind == "ping":
            self._put({"type": "pong", "time_ms": self._now_ms()})
        elif kind:
            self._error("unknown_type", f'expected auth, subscribe or ping, found "{kind[:64]}"')
        else:
            self._error("invalid_message", 'expected a JSON object with a "type"')

    def _on_auth(self, said: dict[str, Any]) -> None:
        token = said.get("token")
        try:
            caller = self._sockets.admitted(token if isinstance(token, str) else "")
        except Refused as refusal:
            self._sockets.refused(self._request, refusal)
            self._bad_token(refusal.text)
            return
        if self._caller is None:
            if self._sockets.full():
                self.seat.end(1013, "as many clients as may are watching: try later")
                return
            self._admit(caller)
        elif caller.label != self._caller.label:
            self._error("invalid_token", "expected a token of the same user")
        else:
            self._renew(caller)
            left_s = None if caller.expires_s is None else caller.expires_s - int(self._sockets.clock())
            self._put({"type": "authenticated", "expires_in": left_s})

    def _bad_token(self, text: str) -> None:
        """Ends a newcomer; one who is in keeps what the old token gave."""
        if self._caller is None:
            self.seat.end(UNAUTHORISED, text)
        else:
            self._error("invalid_token", text)

    def _on_subscribe(self, said: dict[str, Any]) -> None:
        points = said.get("points", list(EVERYTHING))
        if not isinstance(points, list) or not all(isinstance(each, str) for each in points):
            self._error("invalid_message", 'points: expected a list such as ["meter.*"]')
            return
        try:
            chosen = Selection() if points == ["*"] else select(points, self._sockets.hub.groups)
        except ValueError as error:
            self._error("unknown_point", f"points: {error}")
            return
        self._sockets.live.choose(self.seat, chosen)
        self._put({"type": "subscribed", "points": chosen.patterns})

    def _error(self, code: str, text: str) -> None:
        self._put({"type": "error", "code": code, "message": text})

    def _put(self, message: dict[str, Any]) -> None:
        self.seat.put(orjson.dumps(message))


def _no_token_in_url(request: web.Request) -> None:
    if request.query.keys() & {"token", "access_token"}:
        text = (
            "a token in a URL ends up in logs: send it as Authorization header, subprotocol or first message"
        )
        raise Refused(400, "invalid_request", text)


def _same_origin(request: web.Request) -> None:
    """A page of another site must not speak through the browser of a user of this one."""
    origin = request.headers.get(hdrs.ORIGIN)
    host = request.headers.get(hdrs.HOST, "").lower()
    # Plain HTTP may have a proxy in front of it that speaks TLS to the browser.
    ours = {f"https://{host}"} if request.secure else {f"http://{host}", f"https://{host}"}
    if origin is not None and origin.lower() not in ours:
        raise Refused(403, "forbidden_origin", "expected a page served by this agent")


def _offered(request: web.Request) -> str | None:
    """The token among the subprotocols."""
    offered = [each.strip() for each in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
    token = next((each.removeprefix(_BEARER) for each in offered if each.startswith(_BEARER)), None)
    if token is not None and PROTOCOL not in offered:
        # aiohttp would log what was offered, token and all.
        text = f'expected the subprotocol "{PROTOCOL}" beside the token'
        raise Refused(400, "invalid_request", text)
    return token
