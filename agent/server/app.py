"""The LAN server: composes users, tokens, live, export and page behind one listening socket.

`status()` is the service's word about itself, asked on `/healthz` and `/api/v1/status`. It may hold
anything; these keys mean something here: `healthy` (bool), `reasons` (texts, why not), and for the
page's status line `readings_per_s`, `stored_readings`, `backlog_readings` (numbers).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.typedefs import Handler
from argon2 import PasswordHasher

from agent.hub import Hub
from agent.server import replies, site
from agent.server.api import Api, Status
from agent.server.export import Export
from agent.server.live import Live
from agent.server.login import Login, authorised
from agent.server.options import ServerOptions
from agent.server.tokens import Tokens, signing_key
from agent.server.users import Users
from agent.server.websocket import Sockets
from agent.store import Store

IDENTITY_FILE = "identity.db"
KEY_FILE = "token-keys.json"
BODY_BYTES_MAX = 16 * 1024
SHUTDOWN_S_MAX = 6.0

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address to reach, not to listen at


class TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a log record is worth a line: what strangers send that is not HTTP is not."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, BadHttpMessage)


logging.getLogger("aiohttp.server").addFilter(_worth_a_line)


class Server:
    """Listens while entered. `folder` holds the users and the signing key."""

    def __init__(
        self,
        options: ServerOptions,
        hub: Hub,
        store: Store,
        folder: Path,
        status: Status,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self._options, self._hub, self._store, self._folder, self._status = (
            options,
            hub,
            store,
            folder,
            status,
        )
        self._clock, self._monotonic = clock, monotonic
        self.users = Users(folder / IDENTITY_FILE, hasher=hasher, clock=clock)
        self._live = Live(hub)

    async def __aenter__(self) -> Self:
        """Listen. OSError says what is in the way: the port, the key file, the users' file."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.users)
            runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=SHUTDOWN_S_MAX)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await self._listen(runner, stack)
            self._live.open()
            stack.callback(self._live.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say goodbye to the WebSockets, give running answers SHUTDOWN_S_MAX, close."""
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        return self._url

    async def _listen(self, runner: web.AppRunner, stack: AsyncExitStack) -> None:
        host, port = self._options.host, self._options.port
        answers = runner.server
        if answers is None:
            raise RuntimeError("the runner was not set up")

        def protocol() -> asyncio.Protocol:
            full = len(answers.connections) >= self._options.connections_max
            return TurnedAway() if full else answers()

        try:
            listener = await asyncio.get_running_loop().create_server(protocol, host, port, backlog=128)
        except OSError as error:
            raise OSError(
                f"server: cannot listen at {host} port {port}: {error.strerror or error}; "
                "choose another [server] host or port, or stop what uses it"
            ) from error
        stack.callback(listener.close)
        address, port = listener.sockets[0].getsockname()[:2]
        address = _ANY.get(address, address)
        self._url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"

    def _app(self) -> web.Application:
        options = self._options
        tokens = Tokens(
            signing_key(self._folder / KEY_FILE),
            timedelta(minutes=options.access_token_minutes),
            timedelta(days=options.refresh_token_days),
            self._clock,
        )
        login = Login(self.users, tokens, self._monotonic)
        sockets = Sockets(self._hub, self._live, tokens, options, self._clock)
        export = Export(self._hub, self._store, options, self._clock)
        api = Api(self._hub, self._status)

        async def farewell(app: web.Application) -> None:
            sockets.close()

        app = web.Application(middlewares=[replies.refusals], client_max_size=BODY_BYTES_MAX)
        app.on_response_prepare.append(replies.guard)
        app.on_shutdown.append(farewell)
        app.add_routes(
            [
                web.post("/token", login.token),
                web.post("/token/refresh", login.refresh),
                web.get("/healthz", api.healthz),
                web.get("/ws", sockets.connect, allow_head=False),
                web.get("/api/v1/status", _with_token(tokens, api.status)),
                web.get("/api/v1/points", _with_token(tokens, api.points)),
                web.get("/api/v1/latest", _with_token(tokens, api.latest)),
                web.get("/api/v1/export.csv", _with_token(tokens, export.csv), allow_head=False),
                *site.routes(),
            ]
        )
        return app


def _with_token(tokens: Tokens, handler: Handler) -> Handler:
    """`handler` for those who bring an access token."""

    async def checked(request: web.Request) -> web.StreamResponse:
        authorised(request, tokens)
        return await handler(request)

    return checked
