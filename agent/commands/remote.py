"""Live readings and the status of a running agent, over its HTTP and WebSocket (docs/api.md).

Every trouble with it is an OSError whose text says what to do. The password is sent to the given URL
only: a redirect is not followed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.client import Client
from agent.hub import Listener
from agent.model import NAN, Device, Group, Kind, Point, Quality, Reading


class Remote:
    """`async with Remote(url, user, password) as agent:` logs in. `groups`: of the chosen devices."""

    def __init__(
        self, url: str, user: str, password: str, *, devices: Sequence[str] = (), ca_file: Path | None = None
    ) -> None:
        self._client = Client(url, user, password, ca_file=ca_file)
        self._devices = devices
        self._ahead_ms = 0
        self.groups: Sequence[Group] = []

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._client)
            self.groups = _groups((await self.get("/api/v1/points"))["points"], self._devices)
            self._closing = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def get(self, path: str) -> Any:
        """The JSON that the agent answers."""
        return await self._client.get(path)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the agent answers to `body`."""
        return await self._client.ask("POST", path, body)

    async def run(self, publish: Listener) -> None:
        """Publish what the agent publishes until cancelled; OSError as soon as it cannot."""
        groups = {(group.device.name, group.name): group for group in self.groups}
        async with self._client.talk() as talk:
            self._ahead_ms = talk.ahead_ms
            await talk.subscribe([f"{each}.*" for each in self._devices] or ["*"])
            async for message in talk:
                self._heard(message, groups, publish)

    def _heard(self, said: dict[str, Any], groups: dict[tuple[str, str], Group], publish: Listener) -> None:
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
