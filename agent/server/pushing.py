"""Readings from outside by REST: `POST /api/v1/devices/{device}/readings`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from aiohttp import hdrs, web
from pydantic import Field

from agent.intake import Intake, NotTaken, Sample
from agent.model import Quality
from agent.server.asking import Body, body
from agent.server.messages import Instant
from agent.server.replies import Refused, json_reply
from agent.server.times import time_ms

READINGS_MAX = 1000
VALUES_MAX = 1000
_STATUS: Mapping[str, int] = {
    "unknown_device": 404,
    "not_pushed": 409,
    "invalid_readings": 422,
    "too_many": 429,
    "clock_untrusted": 503,
    "not_available": 503,
}


class PushedReading(Body):
    """`values` by point; null: not available. `time`: Unix ms or ISO 8601 with an offset; left out: now."""

    time: Instant | None = None
    quality: Literal["good", "uncertain"] = "good"
    values: Annotated[dict[Annotated[str, Field(max_length=64)], float | None], Field(max_length=VALUES_MAX)]


class Pushed(Body):
    """All of it is taken, or nothing."""

    readings: Annotated[list[PushedReading], Field(min_length=1, max_length=READINGS_MAX)]


class Pushing:
    """Handlers. `intake` None: nobody can hand in anything."""

    def __init__(self, intake: Intake | None) -> None:
        self._intake = intake

    async def push(self, request: web.Request) -> web.Response:
        asked = await body(request, Pushed)
        if self._intake is None:
            raise Refused(503, "not_available", "this agent takes no readings from outside")
        samples = [_sample(at, each) for at, each in enumerate(asked.readings)]
        try:
            taken = self._intake.take(request.match_info["device"], samples)
        except NotTaken as refusal:
            raise _refused(refusal) from None
        return json_reply({"readings": taken})


def _refused(refusal: NotTaken) -> Refused:
    headers: dict[str, str] = {}
    if refusal.wait_s:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(refusal.wait_s))
    kind = "not_found" if refusal.code == "unknown_device" else ""
    return Refused(_STATUS[refusal.code], refusal.code, str(refusal), headers, kind=kind)


def _sample(at: int, pushed: PushedReading) -> Sample:
    when = pushed.time
    try:
        instant_ms = time_ms(when) if isinstance(when, str) else when
    except ValueError as error:
        raise Refused(400, "invalid_time", f"readings[{at}].time: {error}") from None
    return Sample(instant_ms, pushed.values, Quality[pushed.quality.upper()])
