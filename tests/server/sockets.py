"""A client of the WebSocket, word by word."""

from __future__ import annotations

import asyncio
import socket as socketlib
from typing import Any, Union, cast

import orjson
from aiohttp import ClientWebSocketResponse, WSMsgType
from pydantic import TypeAdapter

from agent.server.messages import ANSWERS
from tests.server.conftest import Site

ANSWERS_ADAPTER: TypeAdapter[Any] = TypeAdapter(Union[ANSWERS])  # noqa: UP007 - a union of a tuple


async def said(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """The next message."""
    message = await socket.receive(timeout=10)
    assert message.type is WSMsgType.TEXT, message
    found: dict[str, Any] = orjson.loads(message.data)
    ANSWERS_ADAPTER.validate_python(found)  # nothing is said that is not described
    return found


async def closed(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """How it was closed; messages before that are skipped."""
    while True:
        message = await socket.receive(timeout=10)
        if message.type is WSMsgType.CLOSE:
            return message.data, message.extra or ""
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return socket.close_code, ""


async def token_of(site: Site) -> str:
    token: str = (await site.login())["access_token"]
    return token


async def enter(site: Site) -> ClientWebSocketResponse:
    """A client that has been welcomed."""
    socket = await site.http.ws_connect("/ws", headers=await site.bearer())
    assert (await said(socket))["type"] == "welcome"
    return socket


async def subscribe(socket: ClientWebSocketResponse, **how: Any) -> list[dict[str, Any]]:
    """The image that a subscription begins with."""
    await socket.send_json({"type": "subscribe", **how})
    assert (await said(socket))["type"] == "subscribed"
    image = await said(socket)
    assert image["image"] is True
    return list(image["readings"])


async def refusal(site: Site, path: str = "/ws", **given: Any) -> dict[str, Any]:
    """Status and body of a handshake that fails."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    headers.update(given.get("headers", {}))
    async with site.http.get(path, headers=headers) as reply:
        return {"status": reply.status, **await reply.json()}


def narrow(site: Site, socket: ClientWebSocketResponse) -> asyncio.Transport:
    """Have the kernel hold next to nothing between the only client and the server; the client's transport."""
    assert socket._response.connection is not None
    (watcher,) = site.server.sockets._watchers
    client = cast(asyncio.Transport, socket._response.connection.transport)  # uvloop's is none by its class
    for each in (client, watcher._transport):
        assert each is not None
        pipe = each.get_extra_info("socket")
        pipe.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_SNDBUF, 16384)
        pipe.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 16384)
    return client
