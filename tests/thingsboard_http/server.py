"""A ThingsBoard of the tests: its REST side on a real socket, surprises included, each switchable.

What it answers is what ThingsBoard CE 4.3 answers, as far as the agent asks: tokens that expire, pages,
names that are unique (those of dashboards are not), versions, time series as strings with a default
limit of 100, newest first. `surprise` makes the next matching requests go wrong.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import orjson
from aiohttp import web

from tests.thingsboard_http.alarms import AlarmRoutes
from tests.thingsboard_http.model import Centre, Refusal, ref

USER, PASSWORD = "tenant@thingsboard.org", "tenant's secret"
LIMIT_DEFAULT = 100


@dataclass
class Surprise:
    """What happens to the next `times` requests that match, after `skip` of them went well.

    `status` answers that; `hang` never answers; `cut` closes the connection. With `after` the request is
    carried out first: the answer is lost, not the deed.
    """

    method: str = ".*"
    path: str = ".*"
    status: int = 0
    text: str = ""
    plain: bool = False
    hang: bool = False
    cut: bool = False
    after: bool = False
    times: int = 1
    skip: int = 0

    def takes(self, request: web.Request) -> bool:
        fits = re.fullmatch(self.method, request.method) and re.fullmatch(self.path, request.path)
        if not fits or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class FakeThingsBoard:
    """`centre` is what it holds; `requests` what it was asked, as (method, path, query)."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.centre = Centre(clock)
        self.alarms = AlarmRoutes(self.centre)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.logins: list[str] = []
        self.access_s, self.refresh_s = 9000.0, 604_800.0
        self.two_factors = False
        self.answer_bytes_extra = 0
        self.url = ""
        self._clock = clock
        self._tokens: dict[str, tuple[str, float]] = {}
        self._surprises: list[Surprise] = []
        self._hanging = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def at(
        cls, port: int = 0, *, tls: ssl.SSLContext | None = None, clock: Callable[[], float] = time.time
    ) -> AsyncIterator[Self]:
        """One that listens on loopback."""
        fake = cls(clock)
        runner = web.AppRunner(fake._app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        fake.url = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
        try:
            yield fake
        finally:
            fake._hanging.set()
            await runner.cleanup()

    def surprise(self, **what: Any) -> Surprise:
        """Let something go wrong; see `Surprise`."""
        self._surprises.append(Surprise(**what))
        return self._surprises[-1]

    def expire_tokens(self, kind: str = "access") -> None:
        """All tokens of that kind are old now."""
        self._tokens = {
            token: (of, 0.0 if of == kind else until) for token, (of, until) in self._tokens.items()
        }

    @property
    def writes(self) -> list[tuple[str, str]]:
        """What was asked that changes anything."""
        return [
            (method, path)
            for method, path, _ in self.requests
            if method != "GET" and not path.startswith("/api/auth/")
        ]

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._door], client_max_size=16 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/api/auth/login", self._login),
                web.post("/api/auth/token", self._refresh),
                web.get("/api/auth/user", self._user),
                web.post("/api/device", self._save("DEVICE")),
                web.post("/api/device-with-credentials", self._save_with_credentials),
                web.get("/api/device/{id}", self._get("DEVICE")),
                web.get("/api/device/{id}/credentials", self._credentials),
                web.post("/api/device/credentials", self._save_credentials),
                web.get("/api/tenant/devices", self._list("DEVICE", "deviceName")),
                web.post("/api/deviceProfile", self._save("DEVICE_PROFILE")),
                web.get("/api/deviceProfileInfos", self._list("DEVICE_PROFILE")),
                web.post("/api/asset", self._save("ASSET")),
                web.get("/api/tenant/assets", self._list("ASSET", "assetName")),
                web.post("/api/dashboard", self._save("DASHBOARD")),
                web.get("/api/dashboard/{id}", self._get("DASHBOARD")),
                web.delete("/api/dashboard/{id}", self._delete),
                web.get("/api/tenant/dashboards", self._list("DASHBOARD")),
                web.post("/api/relation", self._relate),
                web.get("/api/relations", self._relations),
                web.delete("/api/relation", self._unrelate),
                web.post("/api/plugins/telemetry/{type}/{id}/attributes/{scope}", self._save_attributes),
                web.get("/api/plugins/telemetry/{type}/{id}/values/attributes/{scope}", self._attributes),
                web.get("/api/plugins/telemetry/{type}/{id}/values/timeseries", self._timeseries),
                web.get("/api/plugins/telemetry/{type}/{id}/keys/timeseries", self._keys),
                *self.alarms.routes(),
            ]
        )
        return app

    @web.middleware
    async def _door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        await request.read()
        surprise = next((each for each in self._surprises if each.takes(request)), None)
        try:
            if surprise and not surprise.after:
                return await self._go_wrong(surprise, request)
            if not request.path.startswith("/api/auth/") or request.path == "/api/auth/user":
                self._check_token(request)
            answer: web.StreamResponse = await handler(request)
        except Refusal as refusal:
            answer = _error(refusal.status, refusal.code, str(refusal))
        return await self._go_wrong(surprise, request) if surprise else answer

    async def _go_wrong(self, surprise: Surprise, request: web.Request) -> web.StreamResponse:
        if surprise.hang:
            await self._hanging.wait()
        if (surprise.cut or surprise.hang) and request.transport:
            request.transport.abort()
        if surprise.plain:
            return web.Response(status=surprise.status or 500, text=surprise.text)
        code = {401: 11, 403: 20, 404: 32, 409: 35, 429: 33}.get(surprise.status, 2)
        return _error(surprise.status or 500, code, surprise.text or "surprise")

    # -- who is asking

    def _check_token(self, request: web.Request) -> None:
        header = request.headers.get("X-Authorization") or request.headers.get("Authorization", "")
        kind, until = self._tokens.get(header.removeprefix("Bearer "), ("", 0.0))
        if not kind:
            raise Refusal(401, 10, "Authentication failed")
        if kind != "access" or until <= self._clock():
            raise Refusal(401, 11, "Token has expired")

    def _issue(self) -> web.Response:
        now_s = self._clock()
        access, refresh = f"jwt-{uuid.uuid4()}", f"refresh-{uuid.uuid4()}"
        self._tokens[access] = ("access", now_s + self.access_s)
        self._tokens[refresh] = ("refresh", now_s + self.refresh_s)
        scope = "PRE_VERIFICATION_TOKEN" if self.two_factors else None
        return _json({"token": access, "refreshToken": None if self.two_factors else refresh, "scope": scope})

    async def _login(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.logins.append("login")
        if (body.get("username"), body.get("password")) != (USER, PASSWORD):
            raise Refusal(401, 10, "Invalid username or password")
        return self._issue()

    async def _refresh(self, request: web.Request) -> web.Response:
        self.logins.append("refresh")
        kind, until = self._tokens.get((await request.json())["refreshToken"], ("", 0.0))
        if kind != "refresh" or until <= self._clock():
            raise Refusal(401, 11, "Token has expired")
        return self._issue()

    async def _user(self, request: web.Request) -> web.Response:
        return _json({"authority": "TENANT_ADMIN", "email": USER})

    # -- entities

    def _save(self, kind: str) -> Any:
        async def save(request: web.Request) -> web.Response:
            token = request.query.get("accessToken")
            return _json(self.centre.save(kind, await request.json(), token))

        return save

    async def _save_with_credentials(self, request: web.Request) -> web.Response:
        body = await request.json()
        credentials = body["credentials"]
        if credentials["credentialsType"] != "ACCESS_TOKEN":
            raise Refusal(400, 31, "only access tokens here")
        return _json(self.centre.save("DEVICE", body["device"], credentials["credentialsId"]))

    def _get(self, kind: str) -> Any:
        async def get(request: web.Request) -> web.Response:
            return _json(self.centre.get(kind, request.match_info["id"]))

        return get

    async def _delete(self, request: web.Request) -> web.Response:
        self.centre.delete(request.match_info["id"])
        return web.Response()

    def _list(self, kind: str, by_name: str = "") -> Any:
        async def entities(request: web.Request) -> web.Response:
            if by_name and (name := request.query.get(by_name)) is not None:
                return _json(self.centre.named(kind, name))
            found = self.centre.search(kind, request.query.get("textSearch", ""))
            return _json(_page(found, int(request.query["pageSize"]), int(request.query["page"])))

        return entities

    async def _credentials(self, request: web.Request) -> web.Response:
        return _json(self.centre.credentials_of(request.match_info["id"]))

    async def _save_credentials(self, request: web.Request) -> web.Response:
        return _json(self.centre.save_credentials(await request.json()))

    async def _relate(self, request: web.Request) -> web.Response:
        self.centre.relate(await request.json())
        return web.Response()

    async def _relations(self, request: web.Request) -> web.Response:
        query = request.query
        return _json(
            [
                relation
                for relation in self.centre.relations.values()
                if relation["from"] == ref(query["fromType"], query["fromId"])
                and query.get("relationType") in (None, relation["type"])
            ]
        )

    async def _unrelate(self, request: web.Request) -> web.Response:
        query = request.query
        self.centre.unrelate(query["fromId"], query["relationType"], query["toId"])
        return web.Response()

    # -- attributes and time series

    async def _save_attributes(self, request: web.Request) -> web.Response:
        scope = request.match_info["scope"]
        if scope not in ("SERVER_SCOPE", "SHARED_SCOPE"):
            return web.Response(status=400, text="Invalid attribute scope")
        self.centre.attributes.setdefault((request.match_info["id"], scope), {}).update(await request.json())
        return web.Response()

    async def _attributes(self, request: web.Request) -> web.Response:
        held = self.centre.attributes.get((request.match_info["id"], request.match_info["scope"]), {})
        keys = request.query["keys"].split(",") if "keys" in request.query else list(held)
        return _json([{"lastUpdateTs": 0, "key": key, "value": held[key]} for key in keys if key in held])

    async def _timeseries(self, request: web.Request) -> web.Response:
        self.centre.any(request.match_info["id"])
        series = self.centre.series.get(request.match_info["id"], {})
        query = request.query
        strict = query.get("useStrictDataTypes") == "true"
        if "startTs" not in query:
            raise Refusal(400, 31, "only ranges here")
        start, end = int(query["startTs"]), int(query["endTs"])
        limit, newest_first = int(query.get("limit", LIMIT_DEFAULT)), query.get("orderBy", "DESC") == "DESC"
        answer: dict[str, Any] = {}
        for key in query["keys"].split(","):
            rows = [(ts, value) for ts, value in series.get(key, {}).items() if start <= ts < end]
            rows.sort(reverse=newest_first)
            if rows:
                answer[key] = [
                    {"ts": ts, "value": value if strict else str(value)} for ts, value in rows[:limit]
                ]
        if self.answer_bytes_extra:
            answer["extra"] = "x" * self.answer_bytes_extra
        return _json(answer)

    async def _keys(self, request: web.Request) -> web.Response:
        return _json(sorted(self.centre.series.get(request.match_info["id"], {})))


def _page(found: list[Any], size: int, page: int) -> dict[str, Any]:
    pages = -(-len(found) // size)
    data = found[page * size : (page + 1) * size]
    return {"data": data, "totalPages": pages, "totalElements": len(found), "hasNext": page + 1 < pages}


def _json(data: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(data), status=status, content_type="application/json")


def _error(status: int, code: int, text: str) -> web.Response:
    return _json(
        {"status": status, "message": text, "errorCode": code, "timestamp": 1_690_000_000_000}, status
    )


__all__ = ["PASSWORD", "USER", "FakeThingsBoard", "Surprise"]
