"""ThingsBoard's REST side: one account, its tokens, and patience.

Rules.
1. What is safe to ask twice is asked again after a time-out, a lost connection, 429 or 5xx, with a
   back-off, `ATTEMPTS_MAX` times. What is not (a POST that makes something) is asked again only when it
   was certainly not done (429, or no connection); otherwise the caller looks what became of it.
2. An access token that has run out is renewed once for all who wait, by the refresh token or else by the
   password, which is read from its file each time.
3. Nothing secret is in an error: it names the method and the path.
4. Redirects are not followed: they could carry the password to another host.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import orjson
from yarl import URL

from agent.supervise import Backoff, describe

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
ATTEMPTS_MAX = 5
ANSWER_BYTES_MAX = 32 * 1024 * 1024
PAGE_SIZE = 100
PAGES_MAX = 1000
TEXT_CHARS_MAX = 200
AGAIN = frozenset({429, 500, 502, 503, 504})

Params = Mapping[str, str | int]


class RestError(OSError):
    """An answer other than the one asked for; `status` 0: there was none."""

    def __init__(self, where: str, status: int, text: str) -> None:
        super().__init__(f"{where}: {status or 'no answer'}: {text}" if text else f"{where}: {status}")
        self.status = status


class _Answer(NamedTuple):
    status: int
    body: bytes


class Rest:
    """See the module; entered to be used. `password` reads the secret from where it is kept."""

    def __init__(
        self,
        url: str,
        user: str,
        password: Callable[[], str],
        *,
        ca_file: Path | None = None,
        timeout_s: float = TIMEOUT_S,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._base, self._user, self._password = URL(url), user, password
        self._ca_file, self._timeout_s = ca_file, timeout_s
        self._backoff, self._sleep = backoff or Backoff(0.5, 8.0), sleep
        self._token = self._refresh_token = ""
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """OSError if the CA file cannot be used. Nothing is asked yet."""
        try:
            tls = ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ssl.SSLError) as error:
            raise OSError(f"{self._ca_file}: expected certificates in PEM: {error}") from error
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=8),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str, params: Params | None = None) -> Any:
        """The JSON at `path`. RestError with its `status` for anything but 200."""
        return await self._ask("GET", path, params, None, repeatable=True)

    async def find(self, path: str, params: Params | None = None) -> Any:
        """The JSON at `path`, or None where there is nothing."""
        try:
            return await self.get(path, params)
        except RestError as error:
            if error.status == 404:
                return None
            raise

    async def pages(self, path: str, params: Params | None = None) -> AsyncIterator[Any]:
        """Every item of a list that is answered in pages."""
        for page in range(PAGES_MAX):
            answer = await self.get(path, {**(params or {}), "pageSize": PAGE_SIZE, "page": page})
            for item in answer["data"]:
                yield item
            if not answer["hasNext"]:
                return
        raise RestError(f"GET {path}", 0, f"expected at most {PAGES_MAX * PAGE_SIZE} items")

    async def post(self, path: str, body: Any, *, repeatable: bool = False) -> Any:
        """Save `body`; what came back, None if nothing did."""
        return await self._ask("POST", path, None, body, repeatable=repeatable)

    async def delete(self, path: str, params: Params | None = None) -> None:
        """Delete; what is not there is deleted."""
        try:
            await self._ask("DELETE", path, params, None, repeatable=True)
        except RestError as error:
            if error.status != 404:
                raise

    async def _ask(
        self, method: str, path: str, params: Params | None, body: Any, *, repeatable: bool
    ) -> Any:
        token = self._token or await self._renew("")
        answer = await self._patient(method, path, params, body, token, repeatable=repeatable)
        if answer.status == 401:
            token = await self._renew(token)
            answer = await self._patient(method, path, params, body, token, repeatable=repeatable)
        return _content(f"{method} {path}", answer)

    async def _patient(
        self, method: str, path: str, params: Params | None, body: Any, token: str, *, repeatable: bool
    ) -> _Answer:
        """The last answer of up to ATTEMPTS_MAX; rule 1. RestError if there was none."""
        where, attempt = f"{method} {path}", 0
        while True:
            attempt += 1
            try:
                answer = await self._once(method, path, params, body, token)
                again = answer.status == 429 or (repeatable and answer.status in AGAIN)
                if not again or attempt == ATTEMPTS_MAX:
                    return answer
                reason: object = answer.status
            except aiohttp.ClientConnectorCertificateError as error:
                raise RestError(where, 0, f"its certificate is not trusted: {error}") from error
            except (aiohttp.ClientError, TimeoutError) as error:
                unsent = isinstance(error, aiohttp.ClientConnectorError)
                if not (repeatable or unsent) or attempt == ATTEMPTS_MAX:
                    raise RestError(where, 0, describe(error)) from error
                reason = describe(error)
            wait_s = self._backoff.wait_s(attempt)
            log.debug("%s: %s; again in %.1f s", where, reason, wait_s)
            await self._sleep(wait_s)

    async def _once(self, method: str, path: str, params: Params | None, body: Any, token: str) -> _Answer:
        headers = {"Accept": "application/json"}
        if token:
            headers["X-Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.request(
            method,
            self._base.joinpath(path.lstrip("/"), encoded=True),
            params=params,
            data=None if body is None else orjson.dumps(body),
            headers=headers,
            allow_redirects=False,
        ) as reply:
            return _Answer(reply.status, await _bounded(reply, f"{method} {path}"))

    async def _renew(self, old: str) -> str:
        """A token other than `old`, which was refused."""
        async with self._renewing:
            if self._token == old:
                self._token = ""
                await self._refresh() if self._refresh_token else await self._login()
            return self._token

    async def _refresh(self) -> None:
        token, self._refresh_token = self._refresh_token, ""
        answer = await self._auth("/api/auth/token", {"refreshToken": token})
        if answer.status == 200:
            self._take("/api/auth/token", answer)
        else:
            await self._login()

    async def _login(self) -> None:
        password = await asyncio.to_thread(self._password)
        answer = await self._auth("/api/auth/login", {"username": self._user, "password": password})
        if answer.status == 401:
            text = f"user {self._user} or the password is wrong, or the account is locked"
            raise RestError("POST /api/auth/login", 401, text)
        self._take("/api/auth/login", answer)

    async def _auth(self, path: str, body: Any) -> _Answer:
        return await self._patient("POST", path, None, body, "", repeatable=True)

    def _take(self, path: str, answer: _Answer) -> None:
        tokens = _content(f"POST {path}", answer)
        if not isinstance(tokens, dict) or not isinstance(tokens.get("token"), str):
            raise RestError(f"POST {path}", answer.status, "expected a token: is this ThingsBoard?")
        if tokens.get("scope"):
            text = f"user {self._user} needs a second factor: use an account of its own for the agent"
            raise RestError(f"POST {path}", answer.status, text)
        self._token, self._refresh_token = tokens["token"], tokens.get("refreshToken") or ""


async def _bounded(reply: aiohttp.ClientResponse, where: str) -> bytes:
    parts, size = [], 0
    async for part in reply.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            reply.close()
            raise RestError(where, reply.status, f"expected at most {ANSWER_BYTES_MAX} bytes")
    return b"".join(parts)


def _content(where: str, answer: _Answer) -> Any:
    """The JSON of an answer, None if it is empty; RestError if it is not 200 or not JSON."""
    if answer.status != 200:
        raise RestError(where, answer.status, _reason(answer))
    if not answer.body:
        return None
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise RestError(where, 200, "expected JSON: is rest_url the address of ThingsBoard?") from error


def _reason(answer: _Answer) -> str:
    """What the platform says of a refusal: JSON with a message, plain text, or nothing."""
    if 300 <= answer.status < 400:
        return "it answers with another address: put that one into rest_url"
    try:
        said = orjson.loads(answer.body)
        text = str(said["message"]) if isinstance(said, dict) and "message" in said else str(said)
    except orjson.JSONDecodeError:
        text = answer.body.decode("utf-8", "replace")
    text = "".join(each if each.isprintable() else " " for each in text).strip()
    return text[:TEXT_CHARS_MAX]
