"""`/api/openapi.json` and `/api/docs`: the description of the API, for machines and for people. No token: it
says nothing about this very agent."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from aiohttp import web

from agent.server.openapi import document, page
from agent.server.route import Route


class Described:
    """Handlers. Made when first asked for."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._json = self._page = b""

    async def json(self, request: web.Request) -> web.Response:
        self._json = self._json or orjson.dumps(document(self._routes))
        return web.Response(body=self._json, content_type="application/json")

    async def page(self, request: web.Request) -> web.Response:
        self._page = self._page or page(document(self._routes)).encode()
        return web.Response(body=self._page, content_type="text/html", charset="utf-8")
