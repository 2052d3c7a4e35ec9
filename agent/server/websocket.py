"""`GET /ws`: who may be there, and for how long (docs/websocket.md; what may be asked is in conversation.py).

A token comes as `Authorization: Bearer`, as the subprotocol `bearer.<token>` beside `uicps.v1` (the only
way a browser has), or as the first message. Never in the URL: URLs end up in logs and histories.

Before the token ends the client is warned; `token.refresh` renews it and nothing of the stream is lost.
Who does not renew is closed with 4401 after GRACE_S. 4408 is too slow, 1001 that the agent stops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import WSMsgType, hdrs, web

from agent.server.conversation import FAULT, Conversation, Site
from agent.server.identity.gate import CALLER, Caller, Gate, bearer, refused_token, require
from agent.server.identity.permissions import Permission
from agent.server.identity.tokens import Pair, TokenError
from agent.server.live import GOING_AWAY
from agent.server.messages import PROTOCOL, VERSION, Auth, Request, TokenRefresh, Unreadable, parsed
from agent.server.options import ServerOptions
from agent.server.outbox import TOO_SLOW, Outbox
from agent.server.replies import Refused

UNAUTHORISED = 4401
MESSAGE_BYTES_MAX = 32 * 1024
NEWCOMERS_MAX = 32  # without a token yet: they must not take the seats of those who have one
MESSAGE_PAUSE_S = 0.01
HEARTBEAT_S = 20.0
CLOSE_S_MAX = 5.0
REASON_BYTES_MAX = 123  # RFC 6455, 5.5
WARN_S = 60
GRACE_S = 10.0

_BEARER = "bearer."

Renew = Callable[[str], Awaitable[tuple[Pair, bool]]]


class Sockets:
    """All WebSockets of the server. `renew` is `Grants.renewed`; `clock` is Unix time in seconds."""

    def __init__(
        self,
        site: Site,
        gate: Gate,
        renew: Renew,
        options: ServerOptions,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        refused: Callable[[web.Request, Refused], None] = lambda request, refusal: None,
        shut_out: Callable[[str, str], None] = lambda kind, peer: None,
    ) -> None:
        self.site, self.gate, self.renew, self.options = site, gate, renew, options
        self.clock, self.monotonic, self.refused, self.shut_out = clock, monotonic, refused, shut_out
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
            watcher.outbox.end(GOING_AWAY, "the agent is stopping")

    def recheck(self) -> None:
        """End whoever may not be here any more: users, sessions or keys have changed."""
        for watcher in self._watchers:
            watcher.recheck()

    def tick(self) -> None:
        """Warn those whose token is about to end, end those it has left; to be called twice a second."""
        for watcher in self._watchers:
            watcher.tick()

    @property
    def watching(self) -> int:
        """How many clients have been let in."""
        return sum(each.welcomed for each in self._watchers)

    def full(self) -> bool:
        """Whether as many clients as may are watching."""
        return self.watching >= self.options.clients_max

    def admitted(self, token: str) -> Caller:
        """Who brings `token`, if he may watch; Refused otherwise."""
        try:
            caller = self.gate.check(token)
        except TokenError as error:
            raise refused_token(error) from None
        require(caller, Permission.READ)
        return caller

    def _room(self, caller: Caller | None) -> None:
        newcomers = len(self._watchers) - self.watching
        if self.full() or (caller is None and newcomers >= NEWCOMERS_MAX):
            text = f"as many clients as may ({self.options.clients_max}) are watching: try later"
            raise Refused(503, "busy", text, {"Retry-After": "10"})


class Watcher:
    """One client: its socket, its token, its time."""

    def __init__(self, sockets: Sockets, socket: web.WebSocketResponse, request: web.Request) -> None:
        self._sockets, self._socket, self._request = sockets, socket, request
        self._transport = request.transport
        self.outbox = Outbox(sockets.options.client_backlog_kb_max * 1024)
        self._caller: Caller | None = None
        self._warned = False
        self._end_s = sockets.monotonic() + sockets.options.auth_wait_s  # for a newcomer, and in the grace
        self._renewal: asyncio.Task[None] | None = None
        self._conversation = Conversation(sockets.site, self.outbox, self._who, request.remote, self._now_ms)

    @property
    def welcomed(self) -> bool:
        return self._caller is not None

    async def run(self, caller: Caller | None) -> None:
        """Until either side ends it."""
        if caller is not None:
            self._admit(caller)
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._send())]
        either: list[asyncio.Future[Any]] = [*tasks, self.outbox.ended]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._conversation.close()
            if self._renewal is not None:
                tasks.append(self._renewal)
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome

    async def _close(self) -> None:
        self.outbox.end(1000, "")
        code, reason = self.outbox.ended.result()
        if code == TOO_SLOW:
            self._sockets.shut_out("client.slow", self._request.remote or "")
        message = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await self._socket.close(code=code, message=message)
        except TimeoutError:  # it takes no more bytes: not even this
            if self._transport is not None:
                self._transport.abort()

    async def _send(self) -> None:
        while True:
            await self._socket.send_frame(await self.outbox.take(), WSMsgType.TEXT)

    async def _receive(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                self._answer(message.data)
                await asyncio.sleep(MESSAGE_PAUSE_S)  # a flood of messages must not hold everyone else up
            elif message.type is WSMsgType.BINARY:
                self._error(None, "invalid_message", "expected text, found a binary message")
            else:
                return

    # ---------------------------------------------------------------- the token

    def recheck(self) -> None:
        """End, if what let this client in is good no more."""
        if self._caller is not None and not self._sockets.gate.stands(self._caller):
            self.outbox.end(UNAUTHORISED, "the user, his session or the key was changed: log in again")

    def tick(self) -> None:
        """Look at the time."""
        now_s, left_s = self._sockets.monotonic(), self._left_s()
        if self._caller is None:
            if now_s >= self._end_s:
                wait_s = self._sockets.options.auth_wait_s
                self.outbox.end(UNAUTHORISED, f"expected a token within {wait_s:g} s")
        elif left_s is not None and left_s <= 0:
            if self._end_s == float("inf"):
                self._end_s = now_s + GRACE_S
                self._expiring(0)
            elif now_s >= self._end_s:
                self.outbox.end(UNAUTHORISED, "the access token has expired: renew it and connect again")
        elif left_s is not None and left_s <= WARN_S and not self._warned:
            self._warned = True
            self._expiring(int(left_s))

    def _expiring(self, left_s: int) -> None:
        self._put({"type": "token.expiring", "expires_in": left_s})

    def _left_s(self) -> float | None:
        """How long the token is good; None: for ever, or there is none."""
        if self._caller is None or self._caller.expires_s is None:
            return None
        return self._caller.expires_s - self._sockets.clock()

    def _who(self) -> Caller:
        """The client; Refused while its token has run out."""
        left_s = self._left_s()
        if self._caller is None or (left_s is not None and left_s <= 0):
            raise Refused(401, "token_expired", "the access token has expired: renew it with token.refresh")
        return self._caller

    def _admit(self, caller: Caller) -> None:
        self._renewed(caller)
        left_s = self._left_s()
        self._put(
            {
                "type": "welcome",
                "version": VERSION,
                "time_ms": self._now_ms(),
                "user": caller.label,
                "permissions": sorted(caller.permissions),
                "expires_in": None if left_s is None else int(left_s),
            }
        )

    def _renewed(self, caller: Caller) -> None:
        self._caller = self._request[CALLER] = caller
        self._warned, self._end_s = False, float("inf")

    def _now_ms(self) -> int:
        return int(self._sockets.clock() * 1000)

    def _on_auth(self, asked: Auth) -> None:
        if self._caller is not None:
            self._error(asked.id, "invalid_message", "there is a token already: renew it with token.refresh")
            return
        try:
            caller = self._sockets.admitted(asked.token)
        except Refused as refusal:
            self._sockets.refused(self._request, refusal)
            self.outbox.end(UNAUTHORISED, refusal.text)
            return
        if self._sockets.full():
            self.outbox.end(1013, "as many clients as may are watching: try later")
        else:
            self._admit(caller)

    def _on_refresh(self, asked: TokenRefresh) -> None:
        if (asked.token is None) == (asked.refresh_token is None):
            self._error(asked.id, "invalid_message", "expected either token or refresh_token")
        elif asked.token is not None:
            self._stay(asked, asked.token, {})
        elif self._renewal is not None and not self._renewal.done():
            self._error(asked.id, "busy", "a renewal is under way")
        else:
            self._renewal = asyncio.create_task(self._refresh(asked, asked.refresh_token or ""))
            self._renewal.add_done_callback(self._failed)

    async def _refresh(self, asked: TokenRefresh, token: str) -> None:
        try:
            pair, _ = await self._sockets.renew(token)
        except Refused as refusal:
            self._sockets.refused(self._request, refusal)  # whatever its status: it may be a stolen one
            self._error(asked.id, refusal.error, refusal.text)
            return
        self._stay(asked, pair.access, {"access_token": pair.access, "refresh_token": pair.refresh})

    def _failed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.outbox.end(FAULT, "the agent could not answer; its log says why")  # `run` raises it

    def _stay(self, asked: TokenRefresh, token: str, more: dict[str, str]) -> None:
        """Go on as who brings `token`, if he is the same."""
        try:
            caller = self._sockets.admitted(token)
        except Refused as refusal:
            self._refused(asked.id, refusal)
            return
        if self._caller is None or caller.label != self._caller.label:
            self._error(asked.id, "invalid_token", "expected a token of the same user")
            return
        self._renewed(caller)
        left_s = self._left_s()
        self._put(
            {
                "type": "token.refreshed",
                "id": asked.id,
                "expires_in": None if left_s is None else int(left_s),
                **more,
            }
        )

    # ---------------------------------------------------------------- messages

    def _answer(self, text: str) -> None:
        try:
            said = orjson.loads(text)
        except ValueError:
            said = None
        id = said.get("id") if isinstance(said, dict) else None
        id = id if isinstance(id, str | int) and not isinstance(id, bool) else None
        try:
            asked = parsed(said)
        except Unreadable as error:
            if self._caller is None:
                self.outbox.end(UNAUTHORISED, 'expected {"type": "auth", "token": "..."} first')
            else:
                self._error(id, error.code, str(error))
            return
        self._do(asked)

    def _do(self, asked: Request) -> None:
        if isinstance(asked, Auth):
            self._on_auth(asked)
        elif self._caller is None:
            self.outbox.end(UNAUTHORISED, 'expected {"type": "auth", "token": "..."} first')
        elif isinstance(asked, TokenRefresh):
            self._on_refresh(asked)
        else:
            try:
                self._conversation.answer(asked)
            except Refused as refusal:
                self._refused(asked.id, refusal)

    def _refused(self, id: str | int | None, refusal: Refused) -> None:
        if refusal.status in (401, 403):
            self._sockets.refused(self._request, refusal)
        self._error(id, refusal.error, refusal.text)

    def _error(self, id: str | int | None, code: str, text: str) -> None:
        self._put({"type": "error", "id": id, "code": code, "message": text})

    def _put(self, message: dict[str, Any]) -> None:
        self.outbox.put(orjson.dumps(message))


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
