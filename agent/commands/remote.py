"""Live readings and the status of a running agent, over its HTTP and WebSocket (docs/api.md).

Every trouble with it is an OSError whose text says what to do. The password is sent to the given URL
only: a redirect is not followed.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from agent.hub import Listener
from agent.model import NAN, Device, Group, Kind, Point, Quality, Reading
from agent.supervise import describe

ANSWER_S_MAX = 30.0
RENEW_SHARE = 0.6  # of a token's life: then it is renewed
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class Remote:
    """`async with Remote(url, user, password) as agent:` logs in. `groups`: of the chosen devices."""

    def __init__(
        self, url: str, user: str, password: str, *, devices: Sequence[str] = (), ca_file: Path | None = None
    ) -> None:
        self._url, self._login = url.rstrip("/"), aiohttp.BasicAuth(user, password, "utf-8")
        self._devices, self._ca_file = devices, ca_file
        self._tokens: dict[str, Any] = {}
        self._ahead_ms = 0
        self.groups: Sequence[Group] = []

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(cafile=self._ca_file)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context), timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        )
        try:
            self._tokens = await self._ask("POST", "/token", auth=self._login)
            if not isinstance(self._tokens, dict) or "access_token" not in self._tokens:
                raise self._trouble(ValueError("no token"))  # noqa: TRY301
            self.groups = _groups((await self.get("/api/v1/points"))["points"], self._devices)
        except BaseException:
            await self._http.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str) -> Any:
        """The JSON that the agent answers."""
        return await self._ask("GET", path, headers=self._bearer())

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the agent answers to `body`."""
        return await self._ask("POST", path, headers=self._bearer(), json=body)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens['access_token']}"}

    async def _ask(self, method: str, path: str, **more: Any) -> Any:
        try:
            async with self._http.request(method, self._url + path, allow_redirects=False, **more) as reply:
                data = await reply.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._trouble(error) from error
        if reply.status != 200:
            text = data.get("error_description", "") if isinstance(data, dict) else ""
            raise ConnectionError(f"{self._url}{path}: {reply.status} {text or reply.reason}")
        return data

    def _trouble(self, error: Exception) -> OSError:
        if isinstance(error, ValueError):
            return ConnectionError(
                f"{self._url}: expected an agent, found something that does not answer like one"
            )
        hint = "is the agent running, and is this its URL?"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            hint = "name the authority that signed its certificate with --ca-file"
        elif isinstance(error, aiohttp.ClientSSLError):
            hint = "does it speak https at all?"
        return ConnectionError(f"{self._url}: {describe(error)}: {hint}")

    async def run(self, publish: Listener) -> None:
        """Publish what the agent publishes until cancelled; OSError as soon as it cannot."""
        try:
            async with self._http.ws_connect(
                f"{self._url}/ws", headers=self._bearer(), max_msg_size=MESSAGE_BYTES_MAX, timeout=_CLOSE
            ) as socket:
                await self._follow(socket, publish)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._trouble(error) from error

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse, publish: Listener) -> None:
        if self._devices:
            await socket.send_json({"type": "subscribe", "points": [f"{each}.*" for each in self._devices]})
        groups = {(group.device.name, group.name): group for group in self.groups}
        renew_s = time.monotonic() + RENEW_SHARE * self._tokens["expires_in"]
        while True:
            try:
                message = await socket.receive(timeout=max(renew_s - time.monotonic(), 0.1))
            except TimeoutError:
                await self._renew(socket)
                renew_s = time.monotonic() + RENEW_SHARE * self._tokens["expires_in"]
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise ConnectionError(
                    f"{self._url}: the agent closed the connection: {message.extra or message.data}"
                )
            self._heard(message.json(), groups, publish)

    async def _renew(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        body = {"refresh_token": self._tokens["refresh_token"]}
        self._tokens = await self._ask("POST", "/token/refresh", json=body)
        await socket.send_json({"type": "auth", "token": self._tokens["access_token"]})

    def _heard(self, said: dict[str, Any], groups: dict[tuple[str, str], Group], publish: Listener) -> None:
        if said["type"] == "welcome":
            self._ahead_ms = said["time_ms"] - round(time.time() * 1000)
        readings = [
            _reading(each, group)
            for each in said.get("readings", ())
            if (group := groups.get((each["device"], each["group"])))
        ]
        if readings:
            publish(readings)

    def now_ms(self) -> int:
        """The agent's time, which its readings are stamped with."""
        return round(time.time() * 1000) + self._ahead_ms

    def words(self, device: str, point: str) -> str:
        """The agent does not tell the registers."""
        return ""


_CLOSE = aiohttp.ClientWSTimeout(ws_close=2.0)


def _groups(points: Sequence[dict[str, Any]], devices: Sequence[str]) -> list[Group]:
    """The groups of the points that `/api/v1/points` lists; OSError names a device that is not there."""
    known = {point["device"] for point in points}
    if unknown := [each for each in devices if each not in known]:
        raise OSError(f"no device is named {unknown[0]!r}; known: {', '.join(sorted(known))}")
    gathered: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for point in points:
        if not devices or point["device"] in devices:
            gathered.setdefault((point["device"], point["group"]), []).append(point)
    return [_group(name, each) for (_, name), each in gathered.items()]


def _group(name: str, points: Sequence[dict[str, Any]]) -> Group:
    first = points[0]
    device = Device(first["device"], first["type"], first["label"])
    made = tuple(
        Point(each["point"], each["unit"], Kind(each["kind"]), {int(k): v for k, v in each["states"].items()})
        for each in points
    )
    return Group(device, name, made, first["interval_ms"])


def _reading(said: dict[str, Any], group: Group) -> Reading:
    values = [said["values"].get(point.name) for point in group.points]
    numbers = [NAN if value is None else float(value) for value in values]
    return Reading(group, said["time_ms"], numbers, Quality[said["quality"].upper()])
