"""A small client of the agent's REST and WebSocket (docs/api.md, docs/websocket.md).

`async with Client(url, user, password) as agent` logs in and stays so: `agent.get(...)`, and
`async with agent.talk() as talk` for a WebSocket that renews its token by itself.

Every trouble is an OSError whose text says what to do. The password is sent to the given URL only: a
redirect is not followed.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from agent.supervise import describe

ANSWER_S_MAX = 30.0
RENEW_SHARE = 0.6  # of a token's life: then it is renewed
MESSAGE_BYTES_MAX = 64 * 1024 * 1024

_CLOSE = aiohttp.ClientWSTimeout(ws_close=2.0)


class Answered(ConnectionError):  # noqa: N818 - it is one
    """An answer other than the one asked for: its status, its error code, and what it said."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


class Client:
    """Who logs in: `user` and `password` (and `totp`), or a machine by its API `key`."""

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        *,
        totp: str = "",
        key: str = "",
        ca_file: Path | None = None,
    ) -> None:
        self._url, self._key, self._totp = url.rstrip("/"), key, totp
        proof = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._login = {"Authorization": f"Basic {proof}"}
        self._ca_file = ca_file
        self._tokens: dict[str, Any] = {}
        self._renew_s = float("inf")

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._ca_file)
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        )
        try:
            if not self._key:
                factor = {"json": {"totp": self._totp}} if self._totp else {}
                self._keep(await self._ask("POST", "/token", headers=self._login, **factor))
        except BaseException:
            await self.http.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    @property
    def headers(self) -> dict[str, str]:
        """What says who asks."""
        return {"Authorization": f"Bearer {self._key or self._tokens['access_token']}"}

    async def get(self, path: str) -> Any:
        """The JSON that the agent answers."""
        return await self.ask("GET", path)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that the agent answers to `body`. Answered if it refuses."""
        if time.monotonic() > self._renew_s:
            said = {"refresh_token": self._tokens["refresh_token"]}
            self._keep(await self._ask("POST", "/token/refresh", json=said))
        more = {} if body is None else {"json": body}
        return await self._ask(method, path, headers=self.headers, **more)

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            async with self.http.request(method, self._url + path, allow_redirects=False, **more) as reply:
                data = await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._trouble(error) from error
        if not 200 <= reply.status < 300:
            said = data if isinstance(data, dict) else {}
            text = said.get("error_description", "") or reply.reason
            raise Answered(reply.status, said.get("error", ""), f"{self._url}{path}: {reply.status} {text}")
        return data

    def _keep(self, tokens: Any) -> None:
        if not isinstance(tokens, dict) or "access_token" not in tokens:
            raise self._trouble(ValueError("no token"))
        self._tokens = tokens
        self._renew_s = time.monotonic() + RENEW_SHARE * tokens["expires_in"]

    def _trouble(self, error: Exception) -> OSError:
        if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientSSLError):
            return ConnectionError(
                f"{self._url}: expected an agent, found something that does not answer like one"
            )
        hint = "is the agent running, and is this its URL?"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            hint = "name the authority that signed its certificate with --ca-file"
        elif isinstance(error, aiohttp.ClientSSLError):
            hint = f"does it speak https at all? if it does not, use http://{self._url.partition('://')[2]}"
        elif isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError):
            hint = f"does it speak https? then use https://{self._url.partition('://')[2]}"
        return ConnectionError(f"{self._url}: {describe(error)}: {hint}")

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """A WebSocket that has been welcomed."""
        try:
            async with self.http.ws_connect(
                *(f"{self._url}/ws",), headers=self.headers, max_msg_size=MESSAGE_BYTES_MAX, timeout=_CLOSE
            ) as socket:
                talk = Talk(self, socket, await self._message(socket))
                yield talk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._trouble(error) from error

    async def _message(self, socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise Answered(
                *(socket.close_code or 0, "closed"),
                f"{self._url}: the agent closed the connection: {message.extra or message.data}",
            )
        said: dict[str, Any] = message.json()
        return said


class Talk:
    """One WebSocket: `say` what you want, and iterate over what the agent says."""

    def __init__(
        self, client: Client, socket: aiohttp.ClientWebSocketResponse, welcome: dict[str, Any]
    ) -> None:
        self._client, self._socket = client, socket
        self.welcome = welcome
        self.ahead_ms = welcome["time_ms"] - round(time.time() * 1000)
        self.renewals = 0

    async def say(self, kind: str, **members: Any) -> None:
        """Send a message of type `kind`."""
        await self._socket.send_json({"type": kind, **members})

    async def subscribe(
        self, points: Sequence[str] = ("*",), *, id: str = "live", mode: str = "every", per_s: float = 10.0
    ) -> None:
        """Have `readings` sent."""
        await self.say("subscribe", id=id, points=list(points), mode=mode, per_s=per_s)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next message that is not about the token; Answered if the agent has closed the socket."""
        while True:
            said = await self._client._message(self._socket)
            if said["type"] == "token.expiring" and "refresh_token" in self._client._tokens:
                await self.say("token.refresh", refresh_token=self._client._tokens["refresh_token"])
            elif said["type"] == "token.refreshed":
                self.renewals += 1
                self._client._keep(said)
            else:
                return said
