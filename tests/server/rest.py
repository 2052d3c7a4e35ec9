"""Asking the REST API in tests: each answer is held to the shape that the description promises."""

from __future__ import annotations

import re
from typing import Any

import orjson

from agent.server import Role
from agent.server.route import Route
from agent.server.shapes import Fault
from tests.server.conftest import Site


class Asking:
    """`await ask("GET", "/points")`, with a token."""

    def __init__(self, site: Site, token: str) -> None:
        self._site, self._token = site, token

    async def __call__(
        self, method: str, path: str, body: Any = None, *, status: int = 200, headers: Any = None
    ) -> dict[str, Any]:
        more: dict[str, Any] = {} if body is None else {"json": body}
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        async with self._site.http.request(method, f"/api/v1{path}", headers=sent, **more) as reply:
            text = await reply.read()
            assert reply.status == status, text
            self.etag = reply.headers.get("ETag", "")
        found: dict[str, Any] = orjson.loads(text)
        self._check(method, path.partition("?")[0], status, text)
        return found

    def _check(self, method: str, path: str, status: int, text: bytes) -> None:
        if status >= 400:
            Fault.model_validate_json(text)
            return
        route = self._route(method, f"/api/v1{path}")
        assert status == route.status
        if route.answer is not None and not isinstance(route.answer, str):
            route.answer.model_validate_json(text)

    def _route(self, method: str, path: str) -> Route:
        for route in self._site.server.routes:
            if route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), path):
                return route
        raise AssertionError(f"{method} {path} is not in the table")


async def admin(site: Site, role: Role = Role.ADMIN) -> Asking:
    """As ana, in this role."""
    if role is not Role.VIEWER:
        await site.server.users.set_role("ana", role)
        await site.server.office.standing.refresh()
    return Asking(site, (await site.login())["access_token"])
