"""`GET /metrics`: everything as Prometheus reads it (text format 0.0.4). Pure but for the handler.

Every number of the status is a metric `uicps_...`; each point is a series of `uicps_value`, with its age and
quality beside it. What is not available is left out, as Prometheus wants it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aiohttp import web

from agent.hub import Hub
from agent.server.replies import NO_STORE

KIND = "text/plain; version=0.0.4; charset=utf-8"
DEPTH_MAX = 4

_WRONG = re.compile(r"[^a-zA-Z0-9_]+")

Series = tuple[str, Mapping[str, str], float]


class Metrics:
    """`status` as `/api/v1/status` answers it."""

    def __init__(
        self, hub: Hub, status: Callable[[], Mapping[str, object]], clock: Callable[[], float] = time.time
    ) -> None:
        self._hub, self._status, self._clock = hub, status, clock

    async def metrics(self, request: web.Request) -> web.Response:
        series = [*_of_points(self._hub, self._clock() * 1000), *_of_status("uicps", self._status(), {}, 0)]
        headers = {**NO_STORE, "Content-Type": KIND}
        return web.Response(body=text(series).encode(), headers=headers)


def text(series: Iterable[Series]) -> str:
    """All series of a name together, as the format demands."""
    by_name: dict[str, list[str]] = {}
    for name, labels, value in series:
        if math.isfinite(value):
            shown = ",".join(f'{key}="{_escaped(each)}"' for key, each in labels.items())
            by_name.setdefault(name, []).append(
                f"{name}{{{shown}}} {value!r}" if shown else f"{name} {value!r}"
            )
    lines = (f"# TYPE {name} untyped\n" + "\n".join(own) for name, own in by_name.items())
    return "\n".join(lines) + "\n"


def _of_points(hub: Hub, now_ms: float) -> Iterator[Series]:
    for group, reading in hub.latest.items():
        labels = {"device": group.device.name, "group": group.name}
        yield "uicps_reading_age_seconds", labels, max(0.0, (now_ms - reading.time_ms) / 1000)
        yield "uicps_reading_quality", labels, float(reading.quality)
        for point, value in zip(group.points, reading.values, strict=True):
            more = {"device": group.device.name, "point": point.name, "unit": point.unit}
            yield "uicps_value", more, float(value)


def _of_status(name: str, found: object, labels: Mapping[str, str], depth: int) -> Iterator[Series]:
    """Every number in `found`; a list of named things becomes a label."""
    if isinstance(found, bool | int | float):
        yield name, labels, float(found)
    elif depth < DEPTH_MAX and isinstance(found, Mapping):
        for key, each in found.items():
            yield from _of_status(f"{name}_{_WRONG.sub('_', str(key))}", each, labels, depth + 1)
    elif depth < DEPTH_MAX and isinstance(found, list | tuple):
        for each in found:
            if isinstance(each, Mapping) and "name" in each:
                own = {**labels, name.removeprefix("uicps_").removesuffix("s"): str(each["name"])}
                yield from _of_status(name.removesuffix("s"), each, own, depth + 1)


def _escaped(text: Any) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
